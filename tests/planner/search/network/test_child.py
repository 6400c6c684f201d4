"""Children answer, stop when asked, die when they do not, and never stay."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from planner.search.network.child import Child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_answer_comes_back_whole() -> None:
    child = Child(lambda: [list(range(300_000))], 10.0)
    assert child.wait(time.monotonic() + 10.0)
    assert child.answer == list(range(300_000))


def test_a_failing_child_answers_nothing() -> None:
    child: Child[None] = Child(lambda: [sys.exit(3)], 10.0)
    assert child.wait(time.monotonic() + 10.0)
    assert child.answer is None


def test_waiting_ends_before_the_work() -> None:
    child = Child(lambda: [time.sleep(30.0)], 30.0)
    assert not child.wait(time.monotonic() + 0.05)
    child.kill()
    assert child.done


def test_a_child_that_does_not_stop_is_killed_and_what_it_said_last_counts() -> None:
    def stubborn() -> Iterator[str]:
        signal.signal(signal.SIGVTALRM, signal.SIG_IGN)
        yield "first"
        yield "second"
        while True:
            time.sleep(0.01)

    begun = time.monotonic()
    child = Child(stubborn, 0.1, 0.2)
    assert child.wait(begun + 10.0)
    assert child.answer == "second"
    assert time.monotonic() - begun < 3.0


def test_a_child_that_is_asked_may_still_answer() -> None:
    def polite() -> Iterator[str]:
        asked: list[int] = []
        signal.signal(signal.SIGVTALRM, lambda *_: asked.append(1))
        while not asked:
            time.sleep(0.01)
        yield "stopped"

    child = Child(polite, 0.1, 5.0)
    assert child.wait(time.monotonic() + 10.0)
    assert child.answer == "stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="the signal of a parent's end is Linux's")
def test_no_child_outlives_its_parent() -> None:
    code = (
        "import os, sys, time; from planner.search.network.child import Child\n"
        "c = Child(lambda: [time.sleep(60)], 60.0); print(c._pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    end = time.monotonic() + 5.0
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(pid)
