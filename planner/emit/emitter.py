"""What an emitter is, and how several are run: `emit_all`.

An emitter is a module with a name, the framework and version that its keys were checked against,
the tasks that it can write, and `emit(plan)`, which returns files by path. The table of them is
`planner.emit.EMITTERS`.

Parts: `Emitter`, `check_targets`, `emit_all`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from planner.errors import SpecError
from planner.nearest import hint

__all__ = ["Emitter", "check_targets", "emit_all"]


class Emitter(Protocol):
    """A module that writes one framework's configurations from what `plan.json` holds alone."""

    NAME: str
    TARGET: str
    TASKS: tuple[str, ...]

    def emit(self, plan: Mapping[str, object]) -> dict[str, str]:
        """Return the text of each file, by its path relative to the target's folder."""


def check_targets(targets: Sequence[str], task: str = "pretrain") -> None:
    """Raise SpecError for the first target that there is none of, or that cannot do the task."""
    from planner.emit import EMITTERS

    for target in targets:
        if target not in EMITTERS:
            raise SpecError(f"no target {target[:40]!r}; {hint(target, EMITTERS)}", key="emit")
        if task not in EMITTERS[target].TASKS:
            able = ", ".join(name for name, each in EMITTERS.items() if task in each.TASKS)
            said = f"target {target} cannot do task {task}; allowed: {able}"
            raise SpecError(said, key="emit")


def emit_all(plan: Mapping[str, object], targets: Sequence[str]) -> dict[str, str]:
    """Return the files of every target, by path: `<target>/<path>`.

    Of a plan over several pools, the files of each pool: `<target>/<pool>/<path>`.
    SpecError names the nearest target where one is unknown, those that can where one cannot do
    the job's task.
    """
    from planner.emit import EMITTERS
    from planner.emit.pools import by_pool

    check_targets(targets, _task(plan))
    files: dict[str, str] = {}
    for target in dict.fromkeys(targets):
        for pool, one in by_pool(plan).items():
            for path, text in EMITTERS[target].emit(one).items():
                files["/".join(part for part in (target, pool, path) if part)] = text
    return files


def _task(plan: Mapping[str, object]) -> str:
    job = plan.get("job")
    work = job.get("workload") if isinstance(job, Mapping) else None
    return str(work.get("task", "pretrain")) if isinstance(work, Mapping) else "pretrain"
