"""`ParallelDims`: the degrees and choices of a training plan, as float64 columns.

One plan is columns of length one; a search is columns of a hundred thousand. What is not a number
(schedule, recompute ...) is a code, the index into its table here. *Axis* is of the mesh, *dim*
is of a tensor. Knows names and numbers; no rule and no price.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from costmodels.pipeline import SCHEDULES
from costmodels.units import Column

__all__ = [
    "ALL_LAYERS",
    "AXES",
    "CODES",
    "CONSISTENCY",
    "CP_COMM",
    "MODULES",
    "OFFLOAD",
    "ORDERS",
    "OUTER_PRECISION",
    "RECOMPUTE",
    "ParallelDims",
    "code_of_modules",
    "modules_of",
]

RECOMPUTE = ("none", "selective", "per-operator", "projections", "full")
MODULES = ("core_attn", "moe_act", "layernorm", "mla_up_proj", "mlp", "moe", "shared_experts")
"""Parts of a layer that can be recomputed by themselves, as Megatron-Core names them. A set of them
is a code past RECOMPUTE's: len(RECOMPUTE) + bits, 1 << index."""
CP_COMM = ("p2p", "all-gather", "a2a", "a2a+p2p")
OFFLOAD = ("optimizer", "activations", "parameters")
CONSISTENCY = ("synchronous", "local_sgd", "stale", "asynchronous")
OUTER_PRECISION = ("bf16", "fp32", "fp16", "fp8", "int8", "int4")
CODES: Mapping[str, tuple[str, ...]] = {
    "schedule": SCHEDULES,
    "recompute": RECOMPUTE,
    "cp_comm": CP_COMM,
    "consistency": CONSISTENCY,
    "outer": OUTER_PRECISION,
}
AXES = ("tp", "cp", "dp", "pp")
ORDERS = tuple(permutations(AXES))
"""Orders of the mesh, axes innermost first; the first is the default."""
DEFAULTS = {
    "lean": 0.0,
    "staging": 0.0,
    "order": 0.0,
    "consistency": 0.0,
    "sites": 1.0,
    "apart": 0.0,
    "outer": 0.0,
}
"""Columns that may be absent where rows are built from columns."""
ALL_LAYERS = 1e9
"""`recompute_layers` of a plan that recomputes every layer."""


def code_of_modules(names: Iterable[str]) -> int:
    """Return the recompute code of a set of modules; core_attn alone is `selective`.

    >>> code_of_modules(["core_attn"]), code_of_modules(["layernorm", "moe_act"])
    (1, 11)
    """
    bits = sum(1 << MODULES.index(name) for name in set(names))
    return RECOMPUTE.index("selective") if bits == 1 else len(RECOMPUTE) + bits


def modules_of(code: int) -> tuple[str, ...]:
    """Return the modules that a recompute code is a set of; none for the modes of RECOMPUTE."""
    bits = max(0, code - len(RECOMPUTE))
    return tuple(name for index, name in enumerate(MODULES) if bits >> index & 1)


@dataclass(frozen=True, slots=True)
class ParallelDims:
    """Columns of plans.

    Parameters
    ----------
    devices, tp, cp, pp, vpp, dp, ep, etp : degrees; devices = tp * cp * pp * dp
    sp               : 1 where sequence parallelism runs over tp
    cp_comm, schedule, recompute : codes; of recompute also sets of MODULES
    recompute_layers : layers of a stage that are recomputed in full (ALL_LAYERS: every one)
    zero, zero_group : optimizer sharding stage, and ranks that share one shard set
    micro_batch      : sequences per microbatch and data-parallel rank
    microbatches     : global_batch / (dp * micro_batch)
    offload          : bits, 1 << index into OFFLOAD
    lean             : layers that the last chunk of the pipeline gives to the others, because it
                       has the head and the loss; 0: as even as can be
    staging          : 0, or k: layers and choices by stage are the k-th staging of the context
    order            : code into ORDERS: which axes lie inside which, in a site
    consistency      : code of how replicas agree
    sites            : groups of devices that agree only every `apart` steps, each with dp / sites
                       of the replicas and a whole mesh of its own; 1 but for local updates
    apart            : H of local updates, s of bounded staleness; else 0
    outer            : code of the number format that local updates are exchanged in
    """

    devices: Column
    tp: Column
    sp: Column
    cp: Column
    cp_comm: Column
    pp: Column
    vpp: Column
    schedule: Column
    dp: Column
    ep: Column
    etp: Column
    zero: Column
    zero_group: Column
    micro_batch: Column
    microbatches: Column
    recompute: Column
    recompute_layers: Column
    offload: Column
    lean: Column
    staging: Column
    order: Column
    consistency: Column
    sites: Column
    apart: Column
    outer: Column

    def __len__(self) -> int:
        """Count the plans."""
        return len(self.devices)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return NAMES

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "ParallelDims":
        """Select rows by mask, indices or slice."""
        return ParallelDims(*(getattr(self, name)[rows] for name in self.names()))

    def part(self, start: int, stop: int) -> "ParallelDims":
        """Rows `start` to `stop`."""
        return ParallelDims(*(getattr(self, name)[start:stop] for name in self.names()))

    def joined(self, more: "ParallelDims") -> "ParallelDims":
        """Rows of both, these first."""
        return ParallelDims(
            *(np.concatenate([getattr(self, n), getattr(more, n)]) for n in self.names())
        )

    def row(self, index: int) -> dict[str, float]:
        """Return one plan as numbers by name."""
        return {name: float(getattr(self, name)[index]) for name in self.names()}

    @classmethod
    def from_columns(cls, columns: Mapping[str, "Column | float"]) -> "ParallelDims":
        """Build from columns or numbers by name, of one length; DEFAULTS may be absent."""
        given = {**DEFAULTS, **columns}
        arrays = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(given[n], np.float64)) for n in cls.names())
        )
        return cls(*(np.ascontiguousarray(a) for a in arrays))

    @property
    def dp_inside(self) -> Column:
        """Replicas that agree every step: dp, or a site's share of it."""
        return self.dp / self.sites

    @property
    def replicas(self) -> Column:
        """Ranks that agree every step on copies of a dense parameter: dp * cp, of a site."""
        return self.dp_inside * self.cp

    @property
    def stage_ranks(self) -> Column:
        """Ranks of one pipeline stage, of a site: tp * cp * dp."""
        return self.tp * self.cp * self.dp_inside

    @property
    def expert_replicas(self) -> Column:
        """Copies of an expert that agree every step: stage ranks / (ep * etp)."""
        return self.stage_ranks / (self.ep * self.etp)

    @property
    def shards(self) -> Column:
        """Ranks that share one set of shards of dense states: zero_group, 1 without ZeRO."""
        return np.where(self.zero > 0, self.zero_group, 1.0)

    @property
    def sharding(self) -> Column:
        """`zero` where gradients or parameters are sharded (2, 3) without a pipeline, else 0."""
        return np.where((self.zero >= 2) & (self.pp <= 1), self.zero, 0.0)

    @property
    def expert_shards(self) -> Column:
        """Ranks that share one set of shards of expert states: max(1, zero_group tp/(ep etp))."""
        each = np.maximum(1.0, self.zero_group * self.tp / (self.ep * self.etp))
        return np.where(self.zero > 0, each, 1.0)


NAMES = tuple(f.name for f in fields(ParallelDims))
"""Names of the columns, in order."""
