"""Contradictions among the pinned scalars of a training job, one small function a rule.

Each rule looks at what the user gave as one value and returns nothing, or the key and the
arithmetic that cannot be. Free keys and lists of allowed values are the search's business, as
are rules of convenience (powers of two, even splits), which never bind a pinned value.
"""

from collections.abc import Callable
from math import ceil, prod

from planner.errors import SpecError
from planner.strategy import RecomputeFull
from planner.workloads.training import pool_pins
from planner.workloads.training.module_pins import modules_are_there
from planner.workloads.training.spec import TrainingJob
from planner.workloads.training.stages import ENDS
from planner.workloads.training.staging import layers_by_stage

__all__ = ["RULES", "check"]

Finding = tuple[str, str] | None
Rule = Callable[[TrainingJob], Finding]


def check(job: TrainingJob) -> None:
    """Raise SpecError, with the key and the arithmetic, for the first contradiction."""
    for rule in RULES if job.hardware.pools is None else OVER_POOLS:
        finding = rule(job)
        if finding is not None:
            key, message = finding
            raise SpecError(message, key=key)
    pool_pins.check(job)


def _pins(job: TrainingJob, *keys: str) -> dict[str, int]:
    """Return those of `keys` that are pinned to one number."""
    found = {key: job.strategy.pinned_count(key) for key in keys}
    return {key: value for key, value in found.items() if value is not None}


def _product(pins: dict[str, int]) -> str:
    """Say the product of pins: `tp 2 * pp 3 = 6`."""
    said = " * ".join(f"{key} {value}" for key, value in pins.items())
    return said if len(pins) == 1 else f"{said} = {prod(pins.values())}"


def _dp(job: TrainingJob) -> int | None:
    """Return dp, as pinned or as it follows from devices and the other three degrees."""
    pins = _pins(job, "tp", "cp", "pp", "dp")
    if "dp" in pins:
        return pins["dp"]
    devices = job.hardware.fixed_devices
    return devices // prod(pins.values()) if devices and len(pins) == 3 else None


def mesh_divides_devices(job: TrainingJob) -> Finding:
    """Require that devices are a multiple of the product of the pinned degrees."""
    devices, pins = job.hardware.fixed_devices, _pins(job, "tp", "cp", "pp")
    if devices is None or not pins or devices % prod(pins.values()) == 0:
        return None
    return f"strategy.{next(iter(pins))}", f"{_product(pins)} does not divide devices {devices}"


def dp_fills_devices(job: TrainingJob) -> Finding:
    """Require dp = devices / (tp*cp*pp), or that dp fits with the degrees that are pinned."""
    devices, pins = job.hardware.fixed_devices, _pins(job, "tp", "cp", "pp", "dp")
    if devices is None or "dp" not in pins:
        return None
    rest = {key: value for key, value in pins.items() if key != "dp"}
    if len(rest) == 3 and pins["dp"] * prod(rest.values()) != devices:
        quotient = devices / prod(rest.values())
        said = " * ".join(f"{key} {value}" for key, value in rest.items())
        return "strategy.dp", f"dp {pins['dp']} is not devices {devices} / ({said}) = {quotient:g}"
    if devices % prod(pins.values()):
        return "strategy.dp", f"{_product(pins)} does not divide devices {devices}"
    return None


def zero_group_divides_ranks(job: TrainingJob) -> Finding:
    """Require that zero_group divides dp*cp."""
    group, dp, cp = job.strategy.pinned_count("zero_group"), _dp(job), _pins(job, "cp").get("cp")
    if group is None:
        return None
    if dp is None or cp is None:
        devices, rest = job.hardware.fixed_devices, _pins(job, "tp", "pp")
        if not devices or devices % (group * prod(rest.values())) == 0:
            return None
        said = _product({"zero_group": group, **rest})
        return "strategy.zero_group", f"{said} does not divide devices {devices}"
    if (dp * cp) % group == 0:
        return None
    return (
        "strategy.zero_group",
        f"zero_group {group} does not divide dp {dp} * cp {cp} = {dp * cp}",
    )


def batch_is_whole(job: TrainingJob) -> Finding:
    """Require that global_batch is a multiple of dp*micro_batch."""
    batch, parts = job.workload.global_batch, _pins(job, "micro_batch")
    dp = _dp(job)
    if dp is not None:
        parts["dp"] = dp
    if not parts or batch % prod(parts.values()) == 0:
        return None
    key = "micro_batch" if "micro_batch" in parts else "dp"
    return f"strategy.{key}", f"{_product(parts)} does not divide global_batch {batch}"


def microbatches_follow(job: TrainingJob) -> Finding:
    """Require microbatches = global_batch / (dp*micro_batch)."""
    pins, dp, batch = _pins(job, "microbatches", "micro_batch"), _dp(job), job.workload.global_batch
    if len(pins) < 2 or dp is None or prod(pins.values()) * dp == batch:
        return None
    return "strategy.microbatches", (
        f"microbatches {pins['microbatches']} is not global_batch {batch} / (dp {dp} *"
        f" micro_batch {pins['micro_batch']}) = {batch / (dp * pins['micro_batch']):g}"
    )


def virtual_stages_interleave(job: TrainingJob) -> Finding:
    """Require schedule interleaved, where one is pinned, and several stages, for vpp above 1."""
    vpp, schedule = job.strategy.pinned_count("vpp"), job.strategy.pinned("schedule")
    if vpp is None or vpp == 1:
        return None
    if schedule is not None and schedule != "interleaved":
        return "strategy.vpp", f"vpp {vpp} needs schedule interleaved, but schedule is {schedule}"
    if job.strategy.pinned_count("pp") == 1:
        return "strategy.vpp", f"vpp {vpp} needs a pipeline, but pp is 1"
    return None


def stages_have_layers(job: TrainingJob) -> Finding:
    """Require a layer for each virtual stage but the ends; layers_per_stage says for itself.

    Of virtual stages the first may hold the embedding alone, the last the head.
    """
    pins, layers = _pins(job, "pp", "vpp"), job.workload.model.layers
    own = job.strategy.layers_per_stage or job.strategy.stages
    ends = ENDS if pins.get("vpp", 1) > 1 else 0
    if own is not None or prod(pins.values()) <= layers + ends:
        return None
    return f"strategy.{next(iter(pins))}", f"{_product(pins)} stages, but {layers} layers"


def layers_per_stage_add_up(job: TrainingJob) -> Finding:
    """Require that layers_per_stage sums to the layers, has pp*vpp entries, 0 at the ends alone."""
    given, layers = job.strategy.layers_per_stage, job.workload.model.layers
    if given is None:
        return None
    key, pins = "strategy.layers_per_stage", _pins(job, "pp", "vpp")
    if sum(given) != layers:
        return key, f"sums to {sum(given)}, but the model has {layers} layers"
    if len(pins) == 2 and len(given) != prod(pins.values()):
        return key, f"has {len(given)} entries, not {_product(pins)}"
    if pins and len(given) % prod(pins.values()):
        return key, f"has {len(given)} entries, not a multiple of {_product(pins)}"
    return None if all(given[1:-1]) else (key, "only the first and the last entry may be 0")


def stages_add_up(job: TrainingJob) -> Finding:
    """Require that stages has pp entries that sum to the layers and agree with layers_per_stage."""
    given, layers = job.strategy.stages, job.workload.model.layers
    if given is None:
        return None
    key, chunks = "strategy.stages", job.strategy.layers_per_stage
    held, pp = [stage.layers for stage in given], job.strategy.pinned_count("pp")
    if sum(held) != layers:
        return key, f"layers sum to {sum(held)}, but the model has {layers} layers"
    if pp is not None and len(given) != pp:
        return key, f"has {len(given)} entries, but pp is {pp}"
    if chunks is None:
        if (job.strategy.pinned_count("vpp") or 1) > 1:
            return key, "with vpp above 1, layers_per_stage must say how chunks share the layers"
        return None if all(held[1:-1]) else (key, "only the first and the last may hold 0 layers")
    if len(chunks) % len(given):
        return key, f"has {len(given)} entries, but layers_per_stage has {len(chunks)}"
    dealt = layers_by_stage(chunks, len(given))
    for stage, (mine, theirs) in enumerate(zip(held, dealt, strict=True)):
        if mine != theirs:
            said = f"layers_per_stage gives stage {stage} {theirs} layers"
            return f"{key}.{stage}.layers", f"is {mine}, but {said}"
    return None


def recomputed_layers_are_there(job: TrainingJob) -> Finding:
    """Refuse {full: n} with n above the layers of the largest stage."""
    given, layers = job.strategy.pinned("recompute"), job.workload.model.layers
    stages = job.strategy.pinned_count("pp") or 1
    if not isinstance(given, RecomputeFull) or job.strategy.stages is not None:
        return None
    dealt = job.strategy.layers_per_stage or ()
    if dealt and len(dealt) % stages == 0:
        most = max(layers_by_stage(dealt, stages))
    else:
        most = ceil(layers / stages)
    if given.full <= most:
        return None
    held = f"a stage holds at most {most}" if stages > 1 else f"the model has {most}"
    return "strategy.recompute.full", f"{given.full} layers of each stage, but {held}"


def stages_are_of_one_pool(job: TrainingJob) -> Finding:
    """Refuse a pool, a tp or a micro_batch of a stage: stages of one pool have the job's."""
    for index, stage in enumerate(job.strategy.stages or ()):
        for key in ("pool", "tp", "micro_batch"):
            if getattr(stage, key) is not None:
                return f"strategy.stages.{index}.{key}", "needs a job over several pools"
    return None


def experts_are_there(job: TrainingJob) -> Finding:
    """Require experts for ep or etp above 1, and that ep divides them."""
    pins, moe = _pins(job, "ep", "etp"), job.workload.model.moe
    for key, value in pins.items():
        if moe is None and value > 1:
            return f"strategy.{key}", f"{key} {value}, but the model has no experts"
    if moe is not None and moe.experts % pins.get("ep", 1):
        return "strategy.ep", f"ep {pins['ep']} does not divide experts {moe.experts}"
    return None


def experts_fit_a_stage(job: TrainingJob) -> Finding:
    """Require that pp*ep*etp divides devices: ep*etp is carved out of a stage's ranks."""
    devices, pins = job.hardware.fixed_devices, _pins(job, "pp", "ep", "etp")
    if devices is None or not pins or devices % prod(pins.values()) == 0:
        return None
    key = next(key for key in ("ep", "etp", "pp") if key in pins)
    return f"strategy.{key}", f"{_product(pins)} does not divide devices {devices}"


def tp_has_heads(job: TrainingJob) -> Finding:
    """Require at least one attention head for each tensor-parallel rank."""
    tp, heads = job.strategy.pinned_count("tp"), job.workload.model.heads
    if tp is None or tp <= heads:
        return None
    return "strategy.tp", f"tp {tp} is more than the model's {heads} attention heads"


def sequence_parallel_has_tp(job: TrainingJob) -> Finding:
    """Refuse sp, which shards the sequence over tp, with tp 1."""
    if job.strategy.pinned("sp") is not True or job.strategy.pinned_count("tp") != 1:
        return None
    return "strategy.sp", "sp true shards the sequence over the ranks of tp, but tp is 1"


def sequence_splits(job: TrainingJob) -> Finding:
    """Require that cp, and with sp also tp, divide sequence_length."""
    sharded = ("cp", "tp") if job.strategy.pinned("sp") is True else ("cp",)
    pins, length = _pins(job, *sharded), job.workload.sequence_length
    if length % prod(pins.values()) == 0:
        return None
    key = next(iter(pins))
    return f"strategy.{key}", f"{_product(pins)} does not divide sequence_length {length}"


RULES: tuple[Rule, ...] = (
    mesh_divides_devices,
    dp_fills_devices,
    zero_group_divides_ranks,
    batch_is_whole,
    microbatches_follow,
    virtual_stages_interleave,
    stages_have_layers,
    layers_per_stage_add_up,
    stages_add_up,
    recomputed_layers_are_there,
    modules_are_there,
    stages_are_of_one_pool,
    experts_are_there,
    experts_fit_a_stage,
    tp_has_heads,
    sequence_parallel_has_tp,
    sequence_splits,
)
OVER_POOLS: tuple[Rule, ...] = (
    experts_are_there,
    modules_are_there,
    tp_has_heads,
    sequence_splits,
)
"""Rules that ask nothing of a device count; the others are `pool_pins`'s, for each pool."""
