"""Contradictions of recomputed modules with the stack, the model and the job's own switches.

Parts: `modules_are_there`.
"""

from collections.abc import Iterator

from hardware_profiles.stack import load_stack, stack_names
from planner.strategy import RecomputeModules
from planner.workloads.training.spec import TrainingJob

__all__ = ["modules_are_there"]

_OF_EXPERTS = ("moe_act", "moe", "shared_experts")


def modules_are_there(job: TrainingJob) -> tuple[str, str] | None:
    """Refuse single modules where the stack recomputes none, or the model has none such."""
    model, software = job.workload.model, job.software
    for key, given in _given(job):
        preset = software.preset
        if preset in stack_names() and not load_stack(preset).supports.recompute_modules:
            able = [name for name in stack_names() if load_stack(name).supports.recompute_modules]
            return key, f"{preset} recomputes no single modules; {', '.join(able)} do"
        of_experts = [name for name in given.selective if name in _OF_EXPERTS]
        if of_experts and model.moe is None:
            return key, f"{of_experts[0]}, but the model has no experts"
        if "mla_up_proj" in given.selective and model.attention.kind != "mla":
            return key, "mla_up_proj, but the model's attention is not latent (mla)"
        if "moe" in given.selective and software.overlap_ep:
            return key, "moe cannot be recomputed where overlap_ep runs its exchange beside others"
    return None


def _given(job: TrainingJob) -> Iterator[tuple[str, RecomputeModules]]:
    for mode in job.strategy.allowed("recompute") or ():
        if isinstance(mode, RecomputeModules):
            yield "strategy.recompute", mode
    for index, stage in enumerate(job.strategy.stages or ()):
        if isinstance(stage.recompute, RecomputeModules):
            yield f"strategy.stages.{index}.recompute", stage.recompute
