"""What was measured in the box: links fitted on two and four hosts tell of three, six and eight."""

from pathlib import Path

import compare_hosts
import pytest
from cluster_runs import ANY, HOSTS, JOBS, SEEN, SETTINGS, Key, medians, record, recorded

from hardware_profiles.schema import HardwareProfile

MEASURED = medians(recorded())


def test_runs_accumulate(tmp_path: Path) -> None:
    file, key = tmp_path / "runs.csv", Key("slow", 2, "all_reduce", 1024)
    record([(key, 0.25)], file)
    record([(key, 0.5), (key._replace(hosts=4), 1.0)], file)
    record([(key, 9.0)], file)
    assert recorded(file) == {key: [0.25, 0.5, 9.0], key._replace(hosts=4): [1.0]}
    assert medians(recorded(file))[key] == 0.5


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_count_was_measured(setting: str) -> None:
    for what in ("all_reduce", *JOBS):
        counts = {k.hosts for k in MEASURED if k.what == what and k.setting in (setting, ANY)}
        assert counts == set(HOSTS[1:] if what == "all_reduce" else HOSTS), what


pytestmark = pytest.mark.xdist_group("hosts")  # one process fits for all


@pytest.fixture(scope="module")
def profiles() -> dict[str, HardwareProfile]:
    """Profiles from what two and four hosts showed; of the others they know nothing."""
    seen = {key: seconds for key, seconds in MEASURED.items() if key.hosts in SEEN}
    return compare_hosts.hosts_profiles(seen)


@pytest.mark.parametrize("setting", SETTINGS)
def test_two_and_four_hosts_tell_of_three_six_and_eight(profiles, setting: str) -> None:
    rows = compare_hosts.exchanges(setting, profiles[setting], MEASURED)
    assert {row.hosts for row in rows} == {2, 3, 4, 6, 8}
    assert compare_hosts.median_error(rows) < 0.25


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_fitted_rate_is_the_configured_one(profiles, setting: str) -> None:
    (link,) = profiles[setting].network
    assert link.bytes_per_s.value == pytest.approx(SETTINGS[setting].bytes_per_s, rel=0.1)
    # a ring step waits for a word that the receiver is ready, then for the data: two delays
    assert 2.0 <= link.latency_s.value / SETTINGS[setting].delay_s <= 3.0


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("job", JOBS)
def test_the_best_count_is_within_a_step_of_the_measured_one(
    profiles, setting: str, job: str
) -> None:
    found = compare_hosts.choice(setting, job, profiles[setting], MEASURED)
    assert found.steps_apart <= 1


def test_who_is_best_and_what_the_other_costs() -> None:
    found = compare_hosts.Choice({1: 4.0, 2: 3.0, 3: 2.0, 8: 2.5}, {1: 4.0, 2: 2.0, 3: 3.0, 8: 1.0})
    assert found.best == (3, 8)
    assert found.steps_apart == 3
    assert found.regret == pytest.approx(0.25)
