"""The six axes of a job and the six patterns that answer them, computed from the plan's numbers.

A pressure in [0, 1] for each axis says how far the job is past what one device or one machine can
do. A pattern is a way to wire workers and state that recurs; `match` scores the six against four
concerns by the cosine, as the book's toy does, and `patterns` does it with concerns that the plan
gives, and says what share of the job each pattern carries. Knows shapes of systems; no prices.

Parts: `PATTERNS`, `match`, `axes`, `patterns`.
"""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from planner.design import ceilings
from planner.design.one_plan import OnePlan
from planner.job import Job
from planner.workloads import training
from planner.workloads.training.spec import TrainingSpec

__all__ = ["PATTERNS", "Concerns", "Pattern", "axes", "concerns", "match", "patterns"]


@dataclass(frozen=True, slots=True)
class Concerns:
    """What a job presses on, each in [0, 1].

    Parameters
    ----------
    central_state : how much one authoritative copy of state is shared
    sync_tight    : how synchronous the steps are, 1 is lockstep
    fan_scatter   : how much the work fans out into independent shards
    serve_qps     : how much request throughput binds
    """

    central_state: float
    sync_tight: float
    fan_scatter: float
    serve_qps: float


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern: what it is good at, where its state lives, what happens on a failure, its tool."""

    name: str
    strength: Concerns
    state: str
    on_failure: str
    library: str


PATTERNS = (
    Pattern(
        "parameter server",
        Concerns(0.95, 0.30, 0.50, 0.30),
        "one mutable copy, sharded over servers",
        "a replica or a checkpoint of the shard; workers join again",
        "TorchRec, or an embedding store behind parameter servers",
    ),
    Pattern(
        "all-reduce / collective",
        Concerns(0.40, 0.95, 0.50, 0.10),
        "a replica on every peer, kept equal in lockstep",
        "the group is formed anew and the step retried from the last state",
        "PyTorch DDP over NCCL",
    ),
    Pattern(
        "MapReduce / scatter-gather",
        Concerns(0.10, 0.10, 0.95, 0.05),
        "in the data; tasks keep none",
        "the task is run again",
        "PySpark or Ray Data",
    ),
    Pattern(
        "actor-learner",
        Concerns(0.55, 0.20, 0.90, 0.25),
        "experience at the actors, the policy at the learner",
        "the actor is restarted and makes its experience again",
        "Ray RLlib",
    ),
    Pattern(
        "sharded/replicated serving",
        Concerns(0.15, 0.10, 0.40, 0.95),
        "read-only weights, and a state for each request",
        "traffic moves to the replicas that are left",
        "vLLM or Ray Serve",
    ),
    Pattern(
        "hierarchical/decentralized",
        Concerns(0.30, 0.25, 0.60, 0.40),
        "each peer owns its part",
        "peers go on without the one that is lost",
        "Flower, or another federated runtime",
    ),
)
"""The six patterns (section 2.9, Table 2.9.1), with Code 2.9.1's strengths and 2.9.2's tools."""

FAMILY_LIBRARY = {"megatron": "Megatron-Core", "fsdp": "PyTorch FSDP2 and DTensor"}
"""What carries the collectives, and the sharded state, of a family of stacks on processes."""
VENDOR_COLLECTIVES = {"nvidia": "NCCL", "amd": "RCCL", "intel": "HCCL", "generic": "Gloo"}
"""The collective library of a vendor's devices."""


def match(job: Concerns) -> dict[str, float]:
    """Score the patterns against a job's concerns: the cosine of the two vectors.

        fit = v . w / (|v| |w|),  0 for a job without any concern

    Notes
    -----
    A toy: it reproduces the book's table and knows nothing but these four numbers.
    Source: section 2.9, Code 2.9.1.

    >>> f"{match(Concerns(0.5, 0.9, 0.4, 0.1))['all-reduce / collective']:.3f}"
    '0.992'
    """
    mine = astuple(job)
    fits: dict[str, float] = {}
    for pattern in PATTERNS:
        good_at = astuple(pattern.strength)
        norm = math.hypot(*mine) * math.hypot(*good_at)
        product = sum(a * b for a, b in zip(mine, good_at, strict=True))
        fits[pattern.name] = min(1.0, product / norm) if norm > 0 else 0.0
    return fits


def axes(
    job: Job[TrainingSpec],
    context: training.Context,
    strategy: Mapping[str, object],
    prediction: Mapping[str, object],
) -> dict[str, float]:
    """Return the pressure on each of the six axes, in [0, 1].

        data          1 - memory of one machine / bytes of the corpus
        training      1 - patience / time of the run on one device
        model         1 - memory limit of one device / least bytes of the model on one device
        coordination  1 - exp(-expected failures): the chance that the run meets a failure
        inference, intelligence   0: no part of a training job

    each at least 0, and 0 where the plan does not spread the job: on one device all of them, on
    one machine data and coordination.

    Notes
    -----
    Grows with the corpus, the run's work, the model and the hosts; falls with what one device or
    machine has. An axis asks how far one is exceeded; whether one machine would do all the same
    is the checklist's first stage. Failures are of the run, or of 30 days where tokens are not
    given.
    """
    plan = OnePlan(job, context, strategy, prediction)
    found = ceilings.of_training(job, context)
    pressures = dict.fromkeys(
        ("data", "training", "model", "inference", "coordination", "intelligence"), 0.0
    )
    if plan.devices > 1:
        pressures["training"] = max(0.0, _share(found.throughput.have, found.device_run_s))
        pressures["model"] = found.model.pressure
    if plan.hosts > 1:
        pressures["data"] = max(0.0, _share(found.memory_bytes, found.data.need))
        pressures["coordination"] = -math.expm1(-expected_failures(plan))
    return pressures


def _share(have: float, need: float) -> float:
    return 1.0 - have / need if need > 0 else 0.0


def expected_failures(plan: OnePlan) -> float:
    """Failures of hosts over the run, or over 30 days where the job gives no tokens."""
    given = plan.given("failures_expected")
    return ceilings.PATIENCE_S / plan.figure("mtbf_s") if given is None else given


def concerns(plan: OnePlan, pressures: Mapping[str, float]) -> Concerns:
    """Return what a plan presses on, for `match`.

        central_state  share of the training state that its shards hold once, not as replicas
        sync_tight     1 where the steps are in lockstep, 1/H with H local steps, 1/(1 + s) with
                       staleness s, 0 where they are asynchronous and on one device
        fan_scatter    log dp / log devices (replicas work apart between exchanges), or the
                       pressure of the data pass where that is larger
        serve_qps      pressure on inference

    Notes
    -----
    Of a plan's own choices, so a plan that nothing forces apart still shows its pattern.
    """
    spread = 0.0
    if plan.devices > 1:
        spread = math.log(plan.degree("dp")) / math.log(plan.devices)
    return Concerns(
        central_state=held_once(plan),
        sync_tight=_tightness(plan.strategy.get("consistency")) if plan.devices > 1 else 0.0,
        fan_scatter=max(spread, pressures["data"]),
        serve_qps=pressures["inference"],
    )


def _tightness(consistency: object) -> float:
    """Return how often replicas agree, once a step being 1, from the strategy's `consistency`."""
    if isinstance(consistency, Mapping):
        local, stale = consistency.get("local_sgd"), consistency.get("stale")
        if isinstance(local, Mapping):
            return 1.0 / float(str(local["steps"]))
        return 1.0 / (1.0 + float(str(stale)))
    return 0.0 if consistency == "asynchronous" else 1.0


def held_once(plan: OnePlan) -> float:
    """Share of the state that data-parallel ranks hold in shards instead of copies.

    The optimizer's bytes from zero 1, gradients from 2, weights from 3, each times
    1 - 1/zero_group.
    """
    context = plan.context
    zero, group = plan.degree("zero"), plan.degree("zero_group")
    optimizer = context.master_bytes + context.moment_bytes
    parts = (optimizer, context.gradient_bytes, context.parameter_bytes)
    sharded = sum(part for stage, part in enumerate(parts, 1) if zero >= stage)
    return sharded / sum(parts) * (1.0 - 1.0 / group)


def patterns(
    job: Job[TrainingSpec],
    context: training.Context,
    strategy: Mapping[str, object],
    prediction: Mapping[str, object],
) -> list[dict[str, object]]:
    """Return the six patterns with their fit and the share of the job that each carries.

    `fit` is `match` of the plan's concerns. Each axis lends its pressure to the pattern that
    answers it, and the shares are of the sum:

        all-reduce        training t + model (1 - q), with t the tightness of the steps
        hierarchical      training (1 - t)
        parameter server  model q, with q half the share of the bytes that go to or from the
                          owner of a shard: gradients and weights under ZeRO, tokens to experts.
                          Half, as state lives there but moves in lockstep among peers
        MapReduce         data: the pass that prepares the corpus
        serving           inference

    Where nothing presses, the collectives carry all. Largest share first, then best fit. On one
    device the list is empty: nothing is spread.
    """
    plan = OnePlan(job, context, strategy, prediction)
    if plan.devices == 1:
        return []
    pressures = axes(job, context, strategy, prediction)
    fits = match(concerns(plan, pressures))
    weights = _weights(plan, pressures)
    whole = sum(weights.values())
    library = _library(context)
    own = {"parameter server": library, "all-reduce / collective": library}
    made: list[dict[str, object]] = [
        {
            "name": pattern.name,
            "share": weights[pattern.name] / whole,
            "fit": fits[pattern.name],
            "library": own.get(pattern.name, pattern.library),
        }
        for pattern in PATTERNS
    ]
    return sorted(made, key=lambda m: (-float(str(m["share"])), -float(str(m["fit"]))))


def _library(context: training.Context) -> str:
    """Name what carries the step's exchange: the stack's family over the vendor's collectives."""
    family = context.stack.family.name
    if family == "xla":
        return "XLA collectives under JAX (MaxText)"
    collectives = VENDOR_COLLECTIVES.get(context.cluster.profile.vendor, "its collectives")
    return f"{FAMILY_LIBRARY.get(family, context.stack.name)} over {collectives}"


def _weights(plan: OnePlan, pressures: Mapping[str, float]) -> dict[str, float]:
    """Return the pressure that each pattern answers (see `patterns`)."""
    tight = _tightness(plan.strategy.get("consistency"))
    spread, model = pressures["training"], pressures["model"]
    sent = plan.axis_bytes()
    owned = sent.get("ep", 0.0) + (sent.get("dp", 0.0) if plan.degree("zero") else 0.0)
    whole = sum(sent.values())
    pushed = 0.5 * owned / whole if whole > 0 else 0.0
    weights = dict.fromkeys((pattern.name for pattern in PATTERNS), 0.0)
    weights["all-reduce / collective"] = spread * tight + model * (1.0 - pushed)
    weights["hierarchical/decentralized"] = spread * (1.0 - tight)
    weights["parameter server"] = model * pushed
    weights["MapReduce / scatter-gather"] = pressures["data"]
    weights["sharded/replicated serving"] = pressures["inference"]
    if not any(weights.values()):
        weights["all-reduce / collective"] = 1.0
    return weights
