"""Answers of the form {what, because, numbers}, and how two plans differ.

Numbers keep their SI unit in the key; the report writes them. Reads predictions and strategies as
plan.json holds them; prices nothing.

Parts: `finding`, `figure`, `against`, `delta`, `losses`, `changes`, `amount`, `gigabytes`.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby

from costmodels.units import GB

__all__ = ["Finding", "against", "amount", "changes", "delta", "figure", "gigabytes", "losses"]

Finding = dict[str, object]
DERIVED = ("microbatches", "layers_per_stage")
"""Keys that follow from others: left out where two strategies are told apart."""


def finding(
    what: str, because: str, numbers: Mapping[str, float | int | str] | None = None, **more: object
) -> Finding:
    """Return one answer; `more` are keys for programs that the tables do not show."""
    return {"what": what, "because": because, "numbers": dict(numbers or {}), **more}


def figure(prediction: Mapping[str, object], key: str) -> float:
    """Return a figure of a prediction that is always there."""
    value = prediction[key]
    assert isinstance(value, int | float)
    return float(value)


def _terms(prediction: Mapping[str, object]) -> dict[str, float]:
    terms = prediction["time"]
    assert isinstance(terms, list)
    return {str(term["name"]): float(term["exposed_s"]) for term in terms}


def delta(
    other: Mapping[str, object], chosen: Mapping[str, object]
) -> list[dict[str, str | float]]:
    """Exposed seconds of each term over the chosen plan's, largest difference first."""
    theirs, ours = _terms(other), _terms(chosen)
    names = dict.fromkeys((*ours, *theirs))
    gaps = {name: theirs.get(name, 0.0) - ours.get(name, 0.0) for name in names}
    ordered = sorted(gaps.items(), key=lambda gap: (-abs(gap[1]), gap[0]))
    return [{"name": name, "exposed_s": gap} for name, gap in ordered if gap != 0.0]


def losses(gaps: Sequence[Mapping[str, str | float]], shown: int = 3) -> str:
    """Say the largest differences: `pipeline bubble +0.41 s, stragglers -0.02 s`."""
    said = [f"{gap['name']} {_signed(float(gap['exposed_s']))}" for gap in gaps[:shown]]
    return ", ".join(said)


def _signed(value_s: float) -> str:
    return f"{'+' if value_s >= 0 else '-'}{amount(abs(value_s))}"


def amount(value_s: float) -> str:
    """Write seconds inside a sentence: three digits, and milliseconds below 0.1 s."""
    return f"{value_s:.3g} s" if value_s >= 0.1 else f"{value_s * 1e3:.3g} ms"


def gigabytes(value_bytes: float) -> str:
    """Write bytes inside a sentence."""
    if value_bytes < 0.1 * GB:
        return f"{value_bytes / 1e6:.1f} MB"
    return f"{value_bytes / GB:.1f} GB"


def against(
    other: Mapping[str, object], chosen: Mapping[str, object]
) -> dict[str, float | int | str]:
    """Figures of another plan beside the chosen one: its step, and by how much it is slower."""
    theirs, ours = figure(other, "step_time_s"), figure(chosen, "step_time_s")
    return {
        "step_time_s": theirs,
        "slower_s": theirs - ours,
        "slower_share": theirs / ours - 1.0,
        "memory_bytes": figure(other, "memory_bytes"),
    }


def changes(other: Mapping[str, object], chosen: Mapping[str, object]) -> str:
    """Say in which keys another strategy differs, with both values: `tp 8 (4), pp 2 (4)`."""
    keys = [key for key in other if key not in DERIVED and other[key] != chosen.get(key)]
    if other.get("stages") != chosen.get("stages"):
        keys = [*(key for key in keys if key != "stages"), "stages"]
    said = [f"{key} {_of(key, other)} ({_of(key, chosen)})" for key in keys]
    return ", ".join(said) or "the same strategy"


def _of(key: str, strategy: Mapping[str, object]) -> str:
    """Say the value of a key; stages are said to be alike or not, not one by one."""
    value = strategy.get(key)
    return _word(value) if key != "stages" else "alike" if value is None else "each its own"


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_word(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
        return _stages([each for each in value if isinstance(each, Mapping)])
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "nothing"
    return str(value)


def _stages(stages: Sequence[Mapping[str, object]]) -> str:
    """Say the choices of stages in short: `old 2 of tp 4; new 8 of tp 2`."""
    said = []
    for (pool, tp), run in groupby(stages, key=lambda stage: (stage.get("pool"), stage.get("tp"))):
        count = len(list(run))
        said.append(f"{pool} {count} of tp {tp}" if pool else f"{count} of their own")
    return "; ".join(said)
