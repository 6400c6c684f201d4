"""One plan, read: a job, its context, the strategy and its prediction as plan.json holds them.

What the checklist, the design and the patterns have in common: figures by key, seconds by kind of
term, bytes by network level, and the strategy as columns of length one, so that a price can be
asked for a plan that was not chosen. Prices nothing by itself.

Parts: `OnePlan`, `COMMUNICATION`, `COMPUTE`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.dims import CODES, OFFLOAD, ORDERS, ParallelDims
from planner.errors import InternalError
from planner.job import Job
from planner.strategy import Stage, Strategy
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec
from planner.workloads.training.stages import lean_layout
from planner.workloads.training.staging import Staging, mode_read, staging_of

__all__ = ["COMMUNICATION", "COMPUTE", "OnePlan"]

COMMUNICATION = ("tp", "cp", "ep", "dp", "pp")
"""Kinds of terms that are communication."""
COMPUTE = ("compute", "hbm", "host")
"""Kinds of terms that are work of a device or its host."""
DEGREES = ("tp", "sp", "cp", "pp", "vpp", "dp", "ep", "etp", "zero", "zero_group", "micro_batch",
           "microbatches")  # fmt: skip


@dataclass(frozen=True)
class OnePlan:
    """A plan of a training job.

    Parameters
    ----------
    strategy   : the contract's keys, as `training.strategy_of` writes them
    prediction : plan.json's, as `planner.plan.prediction` writes it
    """

    job: Job[TrainingSpec]
    context: training.Context
    strategy: Mapping[str, object]
    prediction: Mapping[str, object]

    @property
    def devices(self) -> int:
        """Devices of the plan."""
        return self.context.cluster.devices

    @property
    def hosts(self) -> int:
        """Machines that fail as one."""
        return self.context.cluster.hosts

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return self.figure("step_time_s")

    @property
    def step_tokens(self) -> float:
        """Tokens of a step, padding included."""
        return float(self.job.workload.global_batch * self.job.workload.sequence_length)

    def degree(self, key: str) -> int:
        """Return a count of the strategy."""
        value = self.strategy[key]
        assert isinstance(value, int)
        return value

    def figure(self, key: str) -> float:
        """Return a figure of the prediction that is always there."""
        value = self.prediction[key]
        assert isinstance(value, int | float)
        return float(value)

    def given(self, key: str) -> float | None:
        """Return a figure of the prediction, None where the job does not give what it takes."""
        value = self.prediction.get(key)
        return float(value) if isinstance(value, int | float) else None

    def _entries(self, key: str) -> Iterator[Mapping[str, object]]:
        entries = self.prediction[key]
        assert isinstance(entries, list)
        yield from entries

    @property
    def pools(self) -> list[Mapping[str, object]]:
        """What each pool does, where the plan is over several."""
        return list(self._entries("pools")) if "pools" in self.prediction else []

    def seconds(self, *kinds: str, hidden: bool = False) -> float:
        """Sum the exposed (or hidden) seconds of the terms of some kinds."""
        key = "hidden_s" if hidden else "exposed_s"
        return sum(_float(t[key]) for t in self._entries("time") if t["kind"] in kinds)

    def named_s(self, name: str) -> float:
        """Return the exposed seconds of one term, 0 where the step has none such."""
        return sum(_float(t["exposed_s"]) for t in self._entries("time") if t["name"] == name)

    def level_bytes(self) -> dict[str, float]:
        """Return what one device sends in a step by network level, innermost first."""
        sent = {level.name: 0.0 for level in self.context.cluster.levels}
        for entry in self._entries("traffic"):
            sent[str(entry["level"])] += _float(entry["bytes"])
        return sent

    def axis_bytes(self) -> dict[str, float]:
        """Return what one device sends in a step by mesh axis; axes that send nothing left out."""
        sent: dict[str, float] = {}
        for entry in self._entries("traffic"):
            axis = str(entry["axis"])
            sent[axis] = sent.get(axis, 0.0) + _float(entry["bytes"])
        return sent

    @property
    def communication_s(self) -> float:
        """Seconds of a step that wait for communication."""
        return self.seconds(*COMMUNICATION)

    @property
    def hidden_s(self) -> float:
        """Seconds of communication in a step that run under work."""
        return self.seconds(*COMMUNICATION, hidden=True)

    @property
    def comm_to_compute(self) -> float:
        """Seconds of communication, hidden ones too, over seconds of work."""
        return (self.communication_s + self.hidden_s) / max(self.seconds(*COMPUTE), 1e-30)

    @property
    def layout(self) -> tuple[int, ...]:
        """Layers of every chunk, in forward order."""
        layers = self.strategy["layers_per_stage"]
        assert isinstance(layers, list | tuple)
        return tuple(int(count) for count in layers)

    @property
    def staging(self) -> Staging:
        """Layers of every chunk, and what stages choose of their own."""
        stages = [Stage.model_validate(dict(stage)) for stage in self._stages()]
        return staging_of(self.layout, stages or None)

    def _stages(self) -> Sequence[Mapping[str, object]]:
        stages = self.strategy.get("stages", ())
        assert isinstance(stages, list | tuple)
        return stages

    def _staged(self) -> dict[str, float]:
        """Columns of the staging: one of the context's, or as even as can be but for `lean`.

        Of a plan over several pools, each has its own.
        """
        if self.context.parts:
            return {}
        staging = self.staging
        if staging in self.context.stagings:
            return {"staging": 1.0 + self.context.stagings.index(staging)}
        layers, chunks = sum(staging.layers), len(staging.layers)
        for lean in range(layers // chunks + 1):
            if not staging.stages and lean_layout(layers, chunks, lean) == staging.layers:
                return {"lean": float(lean)}
        raise InternalError(f"the layers {staging.layers} are in no table of the plan's context")

    def dims(self, **changed: float) -> ParallelDims:
        """Return the strategy as columns of length one, with some columns changed."""
        columns: dict[str, float] = {key: float(self.degree(key)) for key in DEGREES}
        columns["devices"] = float(self.devices)
        given = Strategy.model_validate({"recompute": self.strategy["recompute"]})
        mode, columns["recompute_layers"] = mode_read(given.pinned("recompute"))
        columns["recompute"] = float(mode)
        for key in ("schedule", "cp_comm"):
            columns[key] = float(CODES[key].index(str(self.strategy[key])))
        offload = self.strategy["offload"]
        assert isinstance(offload, list | tuple)
        columns["offload"] = float(sum(1 << OFFLOAD.index(what) for what in offload))
        order = self.strategy["mesh_order"]
        assert isinstance(order, list | tuple)
        columns["order"] = float(ORDERS.index(tuple(order)))
        columns |= self._staged()
        columns |= training.columns_of(self.context.cluster, self.strategy.get("consistency"))
        return ParallelDims.from_columns({**columns, **changed})


def _float(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
