"""The checklist, the design, the axes and the patterns of a plan of a JAX function.

The same questions as of any training job (`planner.design.checklist`,
`planner.design.slots`, `planner.design.patterns`), answered from what such a plan has: a mesh, a
sharding of each operator, and the bytes and seconds that follow.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from planner.design.ceilings import PATIENCE_S
from planner.design.patterns import PATTERNS, Concerns, match
from planner.functions.context import FunctionContext
from planner.functions.figures import model_flop, trained
from planner.functions.layouts import data_degree
from planner.functions.search import Candidate
from planner.plan.findings import gigabytes

__all__ = ["axes", "checklist", "design", "patterns"]

Prediction = Mapping[str, object]
Answer = dict[str, object]


def _number(made: Prediction, key: str) -> float:
    value = made[key]
    assert isinstance(value, int | float)
    return float(value)


def _seconds(made: Prediction, *kinds: str) -> float:
    terms = made["time"]
    assert isinstance(terms, list)
    return sum(float(t["exposed_s"]) for t in terms if t["kind"] in kinds)


def _state_bytes(context: FunctionContext, found: Candidate) -> float:
    kept = context.stored
    return trained(found) * (kept.parameter + kept.gradient + kept.master + kept.moment)


def _device_run_s(context: FunctionContext, found: Candidate) -> float:
    """Seconds of the run on one device at the rate of large products; 0 without a length."""
    spec = context.job.workload
    passes = (spec.tokens or 0.0) / found.imported.graph.samples
    return passes * model_flop(found.imported.graph) / context.figures.rates.matmul.flop_per_s


def axes(context: FunctionContext, found: Candidate, made: Prediction) -> dict[str, float]:
    """Return the pressure on each of the six axes, as `planner.design.patterns.axes` does."""
    pressed = dict.fromkeys(
        ("data", "training", "model", "inference", "coordination", "intelligence"), 0.0
    )
    if context.cluster.devices == 1:
        return pressed
    held, run_s = _state_bytes(context, found), _device_run_s(context, found)
    pressed["model"] = max(0.0, 1.0 - context.memory_limit_bytes / held) if held else 0.0
    pressed["training"] = max(0.0, 1.0 - PATIENCE_S / run_s) if run_s else 0.0
    failures = made.get("failures_expected")
    expected = PATIENCE_S / _number(made, "mtbf_s") if failures is None else float(str(failures))
    pressed["coordination"] = -math.expm1(-expected) if context.cluster.hosts > 1 else 0.0
    return pressed


def patterns(
    context: FunctionContext, found: Candidate, made: Prediction, pressed: Mapping[str, float]
) -> list[dict[str, object]]:
    """Return the six patterns with fit and share: collectives carry what is not held in pieces."""
    if context.cluster.devices == 1:
        return []
    pieces = _in_pieces(found)
    spread = math.log(max(1, _data(found))) / math.log(context.cluster.devices)
    fits = match(Concerns(pieces, 1.0, spread, 0.0))
    weights = {pattern.name: 0.0 for pattern in PATTERNS}
    weights["all-reduce / collective"] = 1.0 - 0.5 * pieces * pressed["model"]
    weights["parameter server"] = 0.5 * pieces * pressed["model"]
    own = "XLA collectives under JAX"
    shown: list[dict[str, object]] = [
        {
            "name": pattern.name,
            "share": weights[pattern.name],
            "fit": fits[pattern.name],
            "library": own if weights[pattern.name] else pattern.library,
        }
        for pattern in PATTERNS
    ]
    return sorted(shown, key=lambda m: (-float(str(m["share"])), -float(str(m["fit"]))))


def _data(found: Candidate) -> int:
    return data_degree(found)


def _in_pieces(found: Candidate) -> float:
    """Share of parameter tensors whose states are held once, not as copies on every rank."""
    stored = found.sharding["parameters"]
    assert isinstance(stored, Mapping)
    return float(sum(value != "whole" for value in stored.values())) / max(1, len(stored))


def checklist(context: FunctionContext, found: Candidate, made: Prediction) -> dict[str, object]:
    """Answer the six stages."""
    cluster, step_s = context.cluster, _number(made, "step_time_s")
    held, limit = _state_bytes(context, found), context.memory_limit_bytes
    binds = held > limit
    mesh = " x ".join(f"{axis} {ranks}" for axis, ranks in found.degrees.items()) or "one device"
    exposed = _seconds(made, "tp", "dp") / step_s
    failure = 1.0 - _number(made, "goodput")
    levels = {str(t["axis"]): str(t["level"]) for t in _entries(made, "traffic")}
    crossed = "; ".join(f"{axis} across the {level}" for axis, level in levels.items())
    return {
        "ceiling": _answer(
            "model" if binds else "none: one device holds parameters and states",
            f"Parameters, gradients and states are {gigabytes(held)}; a device holds"
            f" {gigabytes(limit)}.",
            model_bytes=held, device_limit_bytes=limit, model_times=held / limit,
        ),
        "axis": _answer(
            "model, training" if binds else "training",
            f"Each operator splits what is cheapest on the mesh {mesh};"
            f" samples are split {_data(found)} ways.",
            devices=float(cluster.devices), microbatches=float(found.passes),
        ),
        "topology": _answer(
            "one device" if cluster.devices == 1 else "centralized",
            f"The axes exchange peer to peer ({crossed or 'nothing'}); one coordinator starts"
            f" {cluster.hosts} hosts.",
            hosts=float(cluster.hosts),
        ),
        "mode": _answer(
            "batch",
            f"{context.job.workload.global_batch:,} samples a step; nobody waits for one answer.",
            step_time_s=step_s,
        ),
        "metric": _answer(
            "throughput",
            f"The objective is {context.job.objective.metric}; kept as a limit: memory.",
            step_time_s=step_s, memory_limit_bytes=limit,
        ),
        "tax": _answer(
            f"communication {exposed:.1%} of the step, failures {failure:.1%} of the run",
            f"Exchanges that nothing hides take {exposed:.1%} of the step.",
            communication_exposed_share=exposed, failure_share=failure,
            mtbf_s=_number(made, "mtbf_s"),
            checkpoint_interval_s=_number(made, "checkpoint_interval_s"),
        ),
    }  # fmt: skip


def _entries(made: Prediction, key: str) -> list[Mapping[str, object]]:
    entries = made[key]
    assert isinstance(entries, list)
    return entries


def _answer(choice: str, because: str, **numbers: float) -> Answer:
    return {"choice": choice, "because": because, "numbers": numbers}


def design(
    context: FunctionContext, found: Candidate, made: Prediction,
    others: Sequence[Mapping[str, object]],
) -> dict[str, object]:  # fmt: skip
    """Fill the six slots."""
    assert found.picks is not None
    kinds = Counter(one.kind for one in found.made.collectives(found.picks))
    named = ", ".join(f"{kind} x{count}" for kind, count in sorted(kinds.items())) or "none"
    stored = Counter(_stored_word(found))
    instead: list[dict[str, object]] = [
        {
            "choice": _mesh_word(other),
            "cost": _costs(other, made),
            "because": str(other["why_worse"]),
        }
        for other in others
    ]
    states = ", ".join(f"{count} {word}" for word, count in sorted(stored.items()))
    return {
        "partition": _slot(
            " x ".join(f"{a} {n}" for a, n in found.degrees.items()) or "one device",
            f"Solved operator by operator; parameters: {states}.", instead,
        ),
        "communication": _slot(
            named, "What each operator's labels ask of its neighbours, forward and backward.", []
        ),
        "consistency": _slot("synchronous", "Every step is one update of all parameters.", []),
        "coordination": _slot(
            "one coordinator", "All devices run one program; no tensor passes a coordinator.", []
        ),
        "fault_tolerance": _slot(
            f"checkpoint every {_number(made, 'checkpoint_interval_s'):.0f} s",
            f"{_number(made, 'goodput'):.1%} of the time advances the run.", [],
        ),
        "load_balancing": _slot("even", "Whole labels are cut into equal parts.", []),
    }  # fmt: skip


def _stored_word(found: Candidate) -> list[str]:
    stored = found.sharding["parameters"]
    assert isinstance(stored, Mapping)
    words = []
    for value in stored.values():
        parts = str(value)
        split = any(ch.isdigit() for part in parts.split() for ch in part.partition(":")[2])
        states = "states" in parts or "gradients" in parts
        words.append("split" if split else "whole with states in pieces" if states else "whole")
    return words


def _mesh_word(other: Mapping[str, object]) -> str:
    strategy = other["strategy"]
    assert isinstance(strategy, Mapping)
    mesh = strategy["sharding"]["mesh"]
    word = " x ".join(f"{axis} {ranks}" for axis, ranks in mesh.items())
    return f"{word}, {strategy['microbatches']} microbatches"


def _costs(other: Mapping[str, object], made: Prediction) -> dict[str, float]:
    theirs = other["prediction"]
    assert isinstance(theirs, Mapping)
    return {
        key: _number(theirs, key) - _number(made, key) for key in ("step_time_s", "memory_bytes")
    }


def _slot(choice: str, because: str, instead: list[dict[str, object]]) -> Answer:
    return {"choice": choice, "because": because, "alternatives": instead}
