"""Predicted beside measured: step, terms, bytes and memory, each with its error and its reason.

Parts: `compared`.
"""

from collections.abc import Iterator, Mapping

from planner.check.measured import Measured
from planner.report.node import Node

__all__ = ["compared"]

EXCHANGES = {
    "tp": "tensor-parallel collectives",
    "cp": "context-parallel exchange",
    "ep": "expert all-to-all",
    "dp": "gradients and parameters",
    "pp": "stage boundary sends",
}
SETTLED = 0.02
"""Share of a step below which a term explains nothing."""


def compared(prediction: Mapping[str, object], measured: Measured) -> dict[str, object]:
    """Return the comparison as plain values; `error` is predicted over measured, less one."""
    found = Node(prediction)
    predicted_s = found["step_time_s"].size()
    terms = list(_terms(found, measured))
    return {
        "step_time_s": _pair(predicted_s, measured.step.time_s),
        "spread": measured.step.spread,
        "samples_s": list(measured.step.samples_s),
        "compile_s": measured.compile_s,
        "terms": terms,
        "explained": _explained(terms, predicted_s, measured.step.time_s),
        "bytes": list(_bytes(found, measured)),
        "memory": _memory(found, measured),
        "losses": list(measured.losses),
    }


def _pair(predicted: float, measured: float) -> dict[str, float | None]:
    error = predicted / measured - 1.0 if measured > 0 else None
    return {"predicted": predicted, "measured": measured, "error": error}


def _terms(found: Node, measured: Measured) -> Iterator[dict[str, object]]:
    """Exchanges and optimizer as run alone; the rest of the step is compute."""
    seconds = {term: timed.time_s for term, timed in measured.terms.items()}
    predicted: dict[str, float] = dict.fromkeys([*EXCHANGES, "optimizer", "compute"], 0.0)
    for entry in found["time"].items():
        kind, name = entry["kind"].text(), entry["name"].text()
        term = "optimizer" if name == "optimizer step" else kind if kind in EXCHANGES else "compute"
        predicted[term] += entry["exposed_s"].size()
    seconds["compute"] = max(0.0, measured.step.time_s - sum(seconds.values()))
    names = {**EXCHANGES, "optimizer": "optimizer step", "compute": "compute, and waiting"}
    for term, name in names.items():
        if predicted[term] > 0 or seconds.get(term, 0.0) > 0:
            yield {"term": term, "name": name, **_pair(predicted[term], seconds.get(term, 0.0))}


def _explained(terms: list[dict[str, object]], predicted_s: float, measured_s: float) -> list[str]:
    """Say which terms the error of the step is made of, the largest first."""
    gaps = [(_gap(term) / measured_s, str(term["name"])) for term in terms]
    gaps.sort(key=lambda gap: -abs(gap[0]))
    parts = [f"{name} {gap:+.1%}" for gap, name in gaps if abs(gap) >= SETTLED]
    total = predicted_s / measured_s - 1.0
    if not parts:
        return [f"The step is predicted {total:+.1%} off; no term is more than {SETTLED:.0%} off."]
    return [f"The step is predicted {total:+.1%} off, of which: {', '.join(parts)}."]


def _gap(term: Mapping[str, object]) -> float:
    predicted, measured = term["predicted"], term["measured"]
    assert isinstance(predicted, float) and isinstance(measured, float)
    return predicted - measured


def _bytes(found: Node, measured: Measured) -> Iterator[dict[str, object]]:
    predicted: dict[str, float] = {}
    for entry in found["traffic"].items():
        axis = entry["axis"].text()
        predicted[axis] = predicted.get(axis, 0.0) + entry["bytes"].size()
    for axis in EXCHANGES:
        sent = measured.sent_bytes.get(axis, 0.0)
        if sent or predicted.get(axis):
            yield {"axis": axis, **_pair(predicted.get(axis, 0.0), sent)}


def _memory(found: Node, measured: Measured) -> dict[str, object]:
    """States against arguments (without the batch and gradients), everything against the peak."""
    by_name = {entry["name"].text(): entry["bytes"].size() for entry in found["memory"].items()}
    states = by_name.get("weights", 0.0) + by_name.get("optimizer states", 0.0)
    held = measured.memory
    total = sum(held.get(key, 0.0) for key in ("argument_bytes", "output_bytes", "temporary_bytes"))
    total -= held.get("shared_bytes", 0.0)
    return {
        "states": _pair(states, held.get("argument_bytes", 0.0)),
        "all": _pair(found["memory_bytes"].size(), total),
        "compiler": dict(held),
    }
