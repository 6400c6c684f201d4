"""Work in a forked process that can be asked to stop, and is killed if it does not.

The child shares the parent's memory as it was at the fork, so nothing is copied to it; its answers
come back through a pipe, each in place of the one before: what a killed child said last, counts.
A child never outlives its parent: it gets a signal when the parent ends (Linux), and a limit on
its own processor time everywhere.

Knows processes; nothing of what is worked on. Only systems with `fork` (not Windows).
"""

import contextlib
import ctypes
import io
import os
import pickle
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

__all__ = ["Child"]

T = TypeVar("T")
_GRACE_S = 1.0
_PARENT_DIED = 1  # PR_SET_PDEATHSIG


class Child(Generic[T]):
    """`work` in a child: asked to stop after `limit_s` of wall time, killed `grace_s` later."""

    def __init__(
        self, work: Callable[[], Iterable[T]], limit_s: float, grace_s: float = _GRACE_S
    ) -> None:
        self._ask_at = time.monotonic() + limit_s
        self._kill_at = self._ask_at + grace_s
        self._parts: list[bytes] = []
        self._read, write = os.pipe()
        parent = os.getpid()
        with warnings.catch_warnings():
            # threads of numpy sleep, and the child never calls JAX, which warns where it is loaded
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            self._pid = os.fork()
        if self._pid == 0:
            os.close(self._read)
            _run(work, write, parent, limit_s + grace_s)
        os.close(write)
        self._asked = False
        self.done = False
        self.answer: T | None = None

    def wait(self, until: float) -> bool:
        """Wait for the end of the work, at most until a time of `time.monotonic`; True: done.

        `answer` then holds the last answer, or None where there was none.
        """
        while not self.done:
            now = time.monotonic()
            if now >= self._ask_at and not self._asked:
                self._signal(signal.SIGVTALRM)
                self._asked = True
            if now >= self._kill_at:
                self.kill()
                return True
            event = self._kill_at if self._asked else self._ask_at
            ready, _, _ = select.select([self._read], [], [], max(0.0, min(until, event) - now))
            if ready:
                self._take()
            elif time.monotonic() >= until:
                return False
        return True

    def stop(self) -> None:
        """Ask the work to stop now."""
        self._ask_at = min(self._ask_at, time.monotonic())
        self._kill_at = min(self._kill_at, self._ask_at + _GRACE_S)

    def kill(self) -> None:
        """End the child at once."""
        if not self.done:
            self._signal(signal.SIGKILL)
            while not self.done:
                self._take()

    def _take(self) -> None:
        part = os.read(self._read, 1 << 20)
        if part:
            self._parts.append(part)
            return
        os.close(self._read)
        os.waitpid(self._pid, 0)
        self.done = True
        said = io.BytesIO(b"".join(self._parts))
        with contextlib.suppress(pickle.UnpicklingError, EOFError):
            while True:
                self.answer = pickle.load(said)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)


def _run(work: Callable[[], Iterable[object]], write: int, parent: int, limit_s: float) -> None:
    """Be the child: work, answer as often as there is something to say, end."""
    import resource  # not on Windows, which must still import this module

    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
        if os.getppid() != parent:
            return
        limit = int(time.process_time() + limit_s) + 2
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        with os.fdopen(write, "wb", buffering=0) as pipe:
            for answer in work():
                rest = memoryview(pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))
                while rest:
                    rest = rest[pipe.write(rest) :]
        code = 0
    finally:
        os._exit(code)
