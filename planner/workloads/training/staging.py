"""What differs from stage to stage of a pipeline: layers, and what each stage recomputes.

A `Staging` is a value of the column `ParallelDims.staging`: 0 means as even as can be, k the k-th
staging of the `Context`. Most plans have none; those whose job pins layers or stages, and those
that a search over stages made, do. Knows choices; no bytes and no seconds.

Parts: `StageChoice`, `Staging`, `pinned_staging`, `staging_of`, `stages_written`,
`mode_read`, `mode_written`, `mode_said`, `offload_written`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.dims import ALL_LAYERS, OFFLOAD, RECOMPUTE, code_of_modules, modules_of
from planner.strategy import RecomputeFull, RecomputeModules, Stage, Strategy

__all__ = [
    "Mode",
    "StageChoice",
    "Staging",
    "layers_by_stage",
    "mode_read",
    "mode_said",
    "mode_written",
    "offload_written",
    "pinned_staging",
    "staging_of",
    "stages_written",
]


Mode = str | dict[str, int] | dict[str, list[str]]
"""A recompute mode in the contract's words."""


@dataclass(frozen=True, slots=True)
class StageChoice:
    """What one stage chooses; None: as the plan's columns say.

    Parameters
    ----------
    recompute        : code into RECOMPUTE, or of a set of modules
    recompute_layers : layers recomputed in full, where `recompute` is full
    offload          : bits, 1 << index into OFFLOAD
    pool, tp, micro_batch : of stages on unlike devices
    """

    recompute: int | None = None
    recompute_layers: float = ALL_LAYERS
    offload: int | None = None
    pool: str | None = None
    tp: int | None = None
    micro_batch: int | None = None


@dataclass(frozen=True, slots=True)
class Staging:
    """Layers of every chunk, in forward order, and the choice of every stage, first to last.

    Chunk c runs on stage c mod pp. `stages` empty: all stages choose as the plan's columns say.
    """

    layers: tuple[int, ...]
    stages: tuple[StageChoice, ...] = ()

    def of_stage(self, stage: int, pp: int) -> int:
        """Layers that a stage holds, all its chunks together."""
        return layers_by_stage(self.layers, pp)[stage]


def layers_by_stage(layers: Sequence[int], stages: int) -> list[int]:
    """Add up the layers of every stage's chunks: chunk c runs on stage c mod `stages`.

    >>> layers_by_stage((3, 2, 1, 1), 2)
    [4, 3]
    """
    return [sum(layers[stage::stages]) for stage in range(stages)]


def pinned_staging(strategy: Strategy) -> Staging | None:
    """Return the staging that a strategy pins, None where it pins none.

    Without `layers_per_stage` the layers are those of `stages`, one chunk a stage.
    """
    stages, layers = strategy.stages, strategy.layers_per_stage
    return None if stages is None and layers is None else staging_of(layers, stages)


def staging_of(layers: Sequence[int] | None, stages: Sequence[Stage] | None) -> Staging:
    """Return the staging of `layers_per_stage`, `stages` or both; see `pinned_staging`."""
    given = layers if layers is not None else [stage.layers for stage in stages or ()]
    return Staging(tuple(given), tuple(_choice(stage) for stage in stages or ()))


def _choice(stage: Stage) -> StageChoice:
    code, layers = (None, ALL_LAYERS) if stage.recompute is None else mode_read(stage.recompute)
    bits = None
    if stage.offload is not None:
        bits = sum(1 << OFFLOAD.index(what) for what in stage.offload)
    return StageChoice(code, layers, bits, stage.pool, stage.tp, stage.micro_batch)


def stages_written(staging: Staging) -> list[dict[str, object]]:
    """Return the choices of the stages in the contract's keys."""
    pp = len(staging.stages)
    return [
        {"layers": staging.of_stage(place, pp), **_written(choice)}
        for place, choice in enumerate(staging.stages)
    ]


def _written(choice: StageChoice) -> Mapping[str, object]:
    made: dict[str, object] = {"pool": choice.pool, "tp": choice.tp}
    if choice.recompute is not None:
        made["recompute"] = mode_written(choice.recompute, choice.recompute_layers)
    if choice.offload is not None:
        made["offload"] = offload_written(choice.offload)
    made["micro_batch"] = choice.micro_batch
    return {key: value for key, value in made.items() if value is not None}


def mode_read(mode: object) -> tuple[int, float]:
    """Return the code of a recompute mode, and the layers that it is for."""
    if isinstance(mode, RecomputeFull):
        return RECOMPUTE.index("full"), float(mode.full)
    if isinstance(mode, RecomputeModules):
        return code_of_modules(mode.selective), ALL_LAYERS
    return RECOMPUTE.index(str(mode)), ALL_LAYERS


def mode_written(code: int, layers: float) -> Mode:
    """Return a recompute mode in the contract's words.

    `full`, `{full: 4}` for some layers, `{selective: [moe_act]}` for some modules.
    """
    if modules := modules_of(code):
        return {"selective": list(modules)}
    name = RECOMPUTE[code]
    return {"full": int(layers)} if name == "full" and layers < ALL_LAYERS else name


def mode_said(mode: Mode) -> str:
    """Say a recompute mode: `full`, `4 layers in full`, `moe_act and layernorm`."""
    if isinstance(mode, str):
        return mode
    modules = mode.get("selective")
    return " and ".join(modules) if isinstance(modules, list) else f"{mode['full']} layers in full"


def offload_written(bits: int) -> list[str]:
    """Return what is offloaded, by name."""
    return [what for i, what in enumerate(OFFLOAD) if bits >> i & 1]
