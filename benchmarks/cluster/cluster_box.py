"""A cluster in a box: hosts with shaped links between them, on one machine.

A host is a network namespace with its own host name and one interface, whose packets leave at a
configured rate and arrive after a configured delay (`links.c`), and a share of the processor
(a control group). Knows nothing of what runs in the hosts, of JAX or of the planner.

Parts: `Setting`, `Refused`, `Box` (hosts that are up), `box` (starts and ends them).
"""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

__all__ = ["Box", "Refused", "Setting", "address", "box"]

SOURCE = Path(__file__).with_name("links.c")
MTU = 9000
PERIOD_S = 0.02
"""Period of a host's share of the processor: it works for its share of it, then it waits."""
CPU_GROUPS = Path("/sys/fs/cgroup/cpu")
PR_SET_PDEATHSIG = 1


class Refused(Exception):
    """Why there can be no cluster in a box here."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the hosts are given.

    Parameters
    ----------
    bytes_per_s : what a host's link sends
    delay_s     : one way
    cores       : of the machine's processor, each host
    """

    bytes_per_s: float
    delay_s: float
    cores: float

    @property
    def name(self) -> str:
        """The setting in a few letters, such as 200mbit-1ms."""
        return f"{self.bytes_per_s * 8e-6:g}mbit-{self.delay_s * 1e3:g}ms"


def address(host: int) -> str:
    """Return the address of a host."""
    return f"10.231.7.{host + 1}"


@dataclass(frozen=True)
class Box:
    """Hosts that are up; `run` starts one process in each of the first few.

    A process is held to its host's share of the processor once it has written 0 to the file that
    the variable SHARE names: starting up is not what is measured, and would take minutes.
    """

    setting: Setting
    holders: tuple[int, ...]
    groups: tuple[Path, ...]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.holders)

    def start(
        self, host: int, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command in a host; it is ended with the box, and dies with this process."""
        enter = ["nsenter", f"--target={self.holders[host]}", "--net", "--uts", "--mount"]
        share = {"SHARE": str(self.groups[host] / "cgroup.procs")} if self.groups else {}

        def prepare() -> None:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        rank = subprocess.Popen(
            [*enter, "--wd=" + os.getcwd(), *command],
            env={**os.environ, **(environment or {}), **share},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )
        self.started.append(rank)
        return rank

    def run(
        self,
        commands: Sequence[Sequence[str]],
        environment: Mapping[str, str] | None = None,
        limit_s: float = 90.0,
    ) -> list[str]:
        """Run `commands[i]` in host i, all at once, and return what each printed.

        Raises
        ------
        RuntimeError
            Where one fails or the time is over; all others are then ended.
        """
        ranks = [self.start(i, command, environment) for i, command in enumerate(commands)]
        end = time.monotonic() + limit_s
        try:
            printed = []
            for host, rank in enumerate(ranks):
                out, errors = rank.communicate(timeout=max(0.1, end - time.monotonic()))
                if rank.returncode:
                    last = errors[-2000:]
                    raise RuntimeError(f"host {host} ended with {rank.returncode}:\n{last}")
                printed.append(out)
            return printed
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the hosts had not ended after {limit_s:g} s") from None
        finally:
            self.end()

    def end(self) -> None:
        """End all that was started in the hosts."""
        for rank in self.started:
            rank.kill()
        for rank in self.started:
            rank.communicate()
        self.started.clear()


@contextmanager
def box(count: int, setting: Setting) -> Iterator[Box]:
    """Hosts 0 to `count` - 1, up and linked; gone when the block ends, however it ends.

    Raises
    ------
    Refused
        Without Linux namespaces, a compiler, util-linux, or the right to use them.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        stack.enter_context(_ended_in_order())
        links = _compiled(folder)
        names = [f"{address(i)} host{i}\n" for i in range(count)]
        hosts_file = folder / "hosts"
        hosts_file.write_text("127.0.0.1 localhost\n" + "".join(names))
        shaper = subprocess.Popen(
            [links, str(count), f"{setting.bytes_per_s:.0f}", f"{setting.delay_s:.9f}", str(MTU),
             str(hosts_file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        stack.callback(_ended, shaper)
        assert shaper.stdout is not None and shaper.stderr is not None
        word, *holders = shaper.stdout.readline().split() or [""]
        if word != "ready":
            raise Refused(f"no hosts here: {shaper.stderr.read().strip()}")
        groups = stack.enter_context(_shares(count, setting.cores))
        up = Box(setting, tuple(map(int, holders)), groups)
        stack.callback(up.end)
        yield up


def _compiled(folder: Path) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    for program, have in (("a C compiler (cc)", compiler), ("nsenter", shutil.which("nsenter"))):
        if have is None:
            raise Refused(f"a cluster in a box needs {program}")
    links = str(folder / "links")
    done = subprocess.run(
        [str(compiler), "-O2", "-o", links, str(SOURCE)], capture_output=True, text=True
    )
    if done.returncode:
        raise Refused(f"links.c does not compile here (it needs Linux):\n{done.stderr[:1000]}")
    return links


def _ended(shaper: "subprocess.Popen[str]") -> None:
    """End the links: they end when their input does."""
    try:
        shaper.communicate(timeout=5.0)
    except (subprocess.TimeoutExpired, ValueError):
        shaper.kill()
        shaper.wait()


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Make a request to end (SIGTERM) raise, as Ctrl-C does, so that all is torn down."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _shares(count: int, cores: float) -> Iterator[tuple[Path, ...]]:
    """Control groups that give each host its share of the processor; none where it is 0."""
    if cores <= 0.0:
        yield ()
        return
    top = CPU_GROUPS / f"cluster-in-a-box-{os.getpid()}"
    groups = tuple(top / f"host{i}" for i in range(count))
    try:
        for group in groups:
            group.mkdir(parents=True)
            (group / "cpu.cfs_period_us").write_text(f"{PERIOD_S * 1e6:.0f}")
            (group / "cpu.cfs_quota_us").write_text(f"{cores * PERIOD_S * 1e6:.0f}")
    except OSError as error:
        _removed((*groups, top))
        raise Refused(f"no shares of the processor here: {error}") from None
    try:
        yield groups
    finally:
        _removed((*groups, top))


def _removed(groups: Sequence[Path]) -> None:
    """Remove control groups, once the processes in them are gone."""
    for group in groups:
        for _ in range(50):
            if not group.exists():
                break
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.1)
