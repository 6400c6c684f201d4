"""Hosts in namespaces: what can be told of them whatever the load, and that they leave nothing."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest
import verify_links
from cluster_box import CPU_GROUPS, Box, Refused, Setting, box

# hosts are forked; other tests may have loaded JAX, which warns of that
pytestmark = pytest.mark.filterwarnings("ignore:os.fork")
RANK = Path(verify_links.__file__).with_name("host_rank.py")
SETTING = Setting(25e6, 2e-3, 0.0)
SIZE = 1 << 18


@pytest.fixture(scope="module")
def up():
    try:
        with box(2, SETTING) as hosts:
            yield hosts
    except Refused as why:
        pytest.skip(f"no cluster in a box on this machine: {why}")


def test_a_host_has_a_name_an_address_and_no_way_out(up: Box) -> None:
    look = "import socket as s; print(s.gethostname(), s.gethostbyname(s.gethostname()))"
    assert [text.split() for text in up.run([[sys.executable, "-c", look]] * 2)] == [
        ["host0", "10.231.7.1"],
        ["host1", "10.231.7.2"],
    ]
    out = "import socket as s; print(s.socket(2, s.SOCK_DGRAM).connect_ex(('192.0.2.1', 9)))"
    assert int(up.run([[sys.executable, "-c", out]])[0]) == errno.ENETUNREACH


def test_nothing_is_faster_than_its_link(up: Box) -> None:
    delay_s, rate = verify_links.measure(up)
    assert delay_s >= SETTING.delay_s
    assert rate <= 1.02 * SETTING.bytes_per_s


def test_two_jax_processes_reduce_over_the_link(up: Box, tmp_path: Path) -> None:
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"all_reduce_bytes": [SIZE], "limit_s": 0.2}))
    ranks = [[sys.executable, str(RANK), str(i), "2", str(task)] for i in range(2)]
    for printed in up.run(ranks):
        (seconds,) = json.loads(printed.splitlines()[-1]).values()
        # a ring of two sends half of the message twice, one after the other
        assert seconds >= 2 * SETTING.delay_s + SIZE / SETTING.bytes_per_s


def test_a_failing_host_is_named(up: Box) -> None:
    with pytest.raises(RuntimeError, match=r"host 1 ended with 3:\noh no"):
        up.run([["true"], ["sh", "-c", "echo oh no >&2; exit 3"]])


def test_all_is_gone_after_an_error() -> None:
    found: list[Box] = []
    try:
        with box(2, Setting(25e6, 1e-3, 0.5)) as hosts:
            found.append(hosts)
            assert all(group.is_dir() for group in hosts.groups)
            hosts.start(1, ["sleep", "60"])
            raise ZeroDivisionError
    except Refused as why:
        pytest.skip(f"no shares of the processor on this machine: {why}")
    except ZeroDivisionError:
        pass
    assert found[0].groups and not CPU_GROUPS.joinpath(found[0].groups[0].parent.name).exists()
    for holder in found[0].holders:
        with pytest.raises(ProcessLookupError):
            os.kill(holder, 0)


def test_without_the_right_to_it_the_refusal_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(Refused, match="needs a C compiler"), box(2, SETTING):
        pass
