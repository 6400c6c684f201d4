"""What the plan is predicted to do: the figures, where the time goes, where the memory goes.

Reads `prediction` of a plan. Every number shown is one that stands there; the only arithmetic
is a share of a total and the length of a bar.
"""

from planner.report.content import Bar, Cell, Column, Section, Table, pairs
from planner.report.node import Node
from planner.report.numbers import byte_count, count, label, percent, quantity, ratio, seconds

__all__ = [
    "in_a_sentence",
    "memory_section",
    "pools_section",
    "prediction_section",
    "stage_section",
    "time_section",
    "traffic_section",
]

_ELSEWHERE = {
    "step_time_s",
    "interval_s",
    "interval_coverage",
    "tokens_per_s_per_device",
    "model_flop_per_s_per_device",
    "mfu",
    "memory_bytes",
    "memory_limit_bytes",
    "fits",
    "goodput",
    "checkpoint_interval_s",
    "time_to_train_s",
    "finish_s",
    "finish_confidence",
    "deadline_chance",
    "interval_basis",
    "checkpoint_s",
    "failures_expected",
    "preemptions_expected",
    "mtbf_s",
    "cost_usd",
    "energy_j",
    "updates",
}


def _preemptions(prediction: Node) -> str:
    """Write the preemptions of the run; empty on machines that are not taken back."""
    return (
        _figure(prediction, "preemptions_expected")
        if prediction["preemptions_expected"].number()
        else ""
    )


def _figure(prediction: Node, key: str) -> str:
    """Write a figure in its unit; empty where the prediction has none."""
    value = prediction[key].number()
    return "" if value is None else quantity(key, value)


def _interval(prediction: Node) -> str:
    ends = [seconds(end.number()) for end in prediction["interval_s"].items()]
    if len(ends) != 2:
        return ""
    coverage = prediction["interval_coverage"].number()
    span = f"{ends[0]} to {ends[1]}"
    return f"{coverage:.0%} sure of {span}" if coverage else span


def _memory(prediction: Node) -> str:
    used, limit = prediction["memory_bytes"].number(), prediction["memory_limit_bytes"].number()
    if used is None:
        return ""
    return f"{byte_count(used)} of {byte_count(limit)}" if limit else byte_count(used)


def _memory_remark(prediction: Node) -> str:
    used, limit = prediction["memory_bytes"].number(), prediction["memory_limit_bytes"].number()
    share = f"{percent(used / limit)} of the limit" if used is not None and limit else ""
    verdict = {True: "fits", False: "does NOT fit"}.get(prediction["fits"].value is True, "")
    return ", ".join(part for part in (share, verdict) if part)


def _updates(updates: Node) -> tuple[str, str]:
    """Write the updates to the target over synchronous ones; empty for a synchronous plan."""
    if not updates:
        return "", ""
    low, high = (ratio(end.number()) for end in updates["range"].items())
    law = ratio(updates["law"].number())
    remark = f"to the target, over synchronous ones; {low} to {high}, by the law alone {law}"
    return ratio(updates["factor"].number()), remark


def in_a_sentence(prediction: Node) -> str:
    """Return the step time, rate, use of the peak and memory of a prediction as one sentence."""
    step, interval = _figure(prediction, "step_time_s"), _interval(prediction)
    rate, mfu = _figure(prediction, "tokens_per_s_per_device"), _figure(prediction, "mfu")
    parts = (
        f"a step takes {step}" + (f" ({interval})" if interval else "") if step else "",
        f"{rate} per device" if rate else "",
        f"{mfu} MFU" if mfu else "",
        _memory(prediction),
    )
    return ", ".join(part for part in parts if part)


def prediction_section(prediction: Node, tokens: float | None) -> Section | None:
    """Return the figures: the step, the rate, memory, and the run's time, money and energy."""
    if not prediction:
        return None
    mfu, basis = _figure(prediction, "mfu"), prediction["interval_basis"].text()
    rows = [
        ("step time", _figure(prediction, "step_time_s"), _interval(prediction)),
        ("throughput", _figure(prediction, "tokens_per_s_per_device"), "per device"),
        (
            "model arithmetic",
            _figure(prediction, "model_flop_per_s_per_device"),
            "per device" + (f", MFU {mfu}" if mfu else ""),
        ),
        ("memory", _memory(prediction), _memory_remark(prediction)),
        ("updates", *_updates(prediction["updates"])),
        *_run_rows(prediction, tokens),
    ]
    for key, node in prediction.entries():
        if key not in _ELSEWHERE and isinstance(node.value, int | float | str):
            rows.append((label(key), quantity(key, node.value), ""))
    notes = (f"The interval: {basis}.",) if basis else ()
    return Section("prediction", "Prediction", notes, pairs(rows))


def _run_rows(prediction: Node, tokens: float | None) -> list[tuple[str, str, str]]:
    """Return what is said of the run: failures and checkpoints, its end, money and energy."""
    what = "the whole run" if tokens else "one step"
    every, each = _figure(prediction, "checkpoint_interval_s"), _figure(prediction, "checkpoint_s")
    written = f"a checkpoint every {every}" + (f", {each} each" if each else "") if every else ""
    mtbf, sure = _figure(prediction, "mtbf_s"), prediction["finish_confidence"].number()
    return [
        ("goodput", _figure(prediction, "goodput"), written),
        ("failures", _figure(prediction, "failures_expected"), f"one in {mtbf}" if mtbf else ""),
        ("preemptions", _preemptions(prediction), "hosts taken back; waits are in goodput"),
        (
            "time to train",
            _figure(prediction, "time_to_train_s"),
            f"{count(tokens)} tokens" if tokens else "",
        ),
        (
            "done within",
            _figure(prediction, "finish_s"),
            f"{sure:.0%} sure of failures, if steps take what is predicted" if sure else "",
        ),
        ("deadline", _chance(prediction), "chance that it holds: failures and the interval"),
        ("cost", _figure(prediction, "cost_usd"), what),
        ("energy", _figure(prediction, "energy_j"), what),
    ]


def _chance(prediction: Node) -> str:
    chance = prediction["deadline_chance"].number()
    return "" if chance is None else f"{chance:.0%}"


def time_section(prediction: Node) -> Section | None:
    """Return the terms of the step: exposed first by size, then what ran hidden under others."""
    terms = [t for t in prediction["time"].items() if t["exposed_s"].size() or t["hidden_s"].size()]
    if not terms:
        return None
    total = prediction["step_time_s"].number() or 0.0
    longest = max(term["exposed_s"].size() + term["hidden_s"].size() for term in terms) or 1.0
    terms.sort(key=lambda term: (-term["exposed_s"].size(), -term["hidden_s"].size()))
    rows: list[tuple[Cell, ...]] = []
    for term in terms:
        exposed, hidden = term["exposed_s"].size(), term["hidden_s"].size()
        rows.append(
            (
                term["name"].text(),
                seconds(exposed) if exposed else "-",
                percent(exposed / total) if exposed and total else "-",
                seconds(hidden) if hidden else "-",
                Bar(exposed / longest, hidden / longest),
                term["kind"].text(),
                term["source"].text(),
            )
        )
    columns = (
        Column("term"),
        Column("exposed", right=True),
        Column("share", right=True),
        Column("hidden", right=True),
        Column("exposed, then hidden"),
        Column("kind", wide=True),
        Column("source", wide=True),
    )
    note = f"The exposed times add up to the step, {seconds(total)}; hidden ones ran under others."
    return Section("time", "Where the time goes", (note,), Table(columns, tuple(rows)))


def memory_section(prediction: Node) -> Section | None:
    """Return the footprints on the fullest device, largest first."""
    items = [item for item in prediction["memory"].items() if item["bytes"].size()]
    if not items:
        return None
    total = prediction["memory_bytes"].number() or 0.0
    largest = max(item["bytes"].size() for item in items)
    items.sort(key=lambda item: -item["bytes"].size())
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            item["name"].text(),
            byte_count(item["bytes"].size()),
            percent(item["bytes"].size() / total) if total else "-",
            Bar(item["bytes"].size() / largest),
            item["kind"].text(),
            item["source"].text(),
        )
        for item in items
    )
    columns = (
        Column("footprint"),
        Column("size", right=True),
        Column("share", right=True),
        Column("fullest device"),
        Column("kind", wide=True),
        Column("source", wide=True),
    )
    limit = prediction["memory_limit_bytes"].number()
    note = f"Fullest device: {_memory(prediction)}" + (", the limit." if limit else ".")
    return Section("memory", "Where the memory goes", (note,), Table(columns, rows))


def stage_section(prediction: Node) -> Section | None:
    """Return the memory of each pipeline stage."""
    stages = list(prediction["memory_by_stage"].items())
    if len(stages) < 2:
        return None
    limit = prediction["memory_limit_bytes"].number()
    columns = (Column("stage"), Column("memory", right=True), Column("of the limit"))
    limits = {
        pool["pool"].text(): pool["memory_limit_bytes"].number() or 1.0
        for pool in prediction["pools"].items()
    }
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            " ".join(t for t in (stage["pool"].text(), quantity("", stage["stage"].value)) if t),
            byte_count(stage["bytes"].size()),
            Bar(min(1.0, stage["bytes"].size() / limits.get(stage["pool"].text(), limit)))
            if limit
            else "-",
        )
        for stage in stages
    )
    title = "Memory by pipeline stage"
    return Section("stages", title, table=Table(columns, rows), wide=True)


def pools_section(prediction: Node) -> Section | None:
    """Return what each pool of unlike devices does, and how long it waits for the slowest."""
    pools = list(prediction["pools"].items())
    if not pools:
        return None
    step_s = prediction["step_time_s"].size()
    columns = (
        Column("pool"),
        Column("devices"),
        Column("dp", right=True),
        Column("sequences", right=True),
        Column("its step", right=True),
        Column("waits", right=True),
        Column("memory", right=True),
        Column("of its limit"),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            pool["pool"].text(),
            f"{pool['devices'].text()} x {pool['system'].text()}",
            pool["dp"].text(),
            pool["sequences"].text(),
            seconds(pool["step_time_s"].size()),
            seconds(max(0.0, step_s - pool["step_time_s"].size())),
            byte_count(pool["memory_bytes"].size()),
            Bar(
                min(1.0, pool["memory_bytes"].size() / (pool["memory_limit_bytes"].number() or 1.0))
            ),
        )
        for pool in pools
    )
    note = "The slowest pool sets the step and its times are above; the memory is the fullest's."
    return Section("pools", "What each pool does", (note,), Table(columns, rows))


def traffic_section(prediction: Node) -> Section | None:
    """Return the bytes that each axis of the mesh sends over each level of the network."""
    flows = list(prediction["traffic"].items())
    if not flows:
        return None
    columns = (Column("axis"), Column("level"), Column("bytes a step", right=True))
    rows = tuple(
        (flow["axis"].text(), flow["level"].text(), byte_count(flow["bytes"].number()))
        for flow in flows
    )
    return Section("traffic", "What the network carries", table=Table(columns, rows), wide=True)
