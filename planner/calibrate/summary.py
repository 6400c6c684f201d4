"""What a calibration says of itself: a document, the head of the profile, and a table to read.

Parts: `document`, `head`, `sections`.
"""

from planner.calibrate.fitted import Fitted
from planner.calibrate.found import Findings

__all__ = ["document", "head"]


def document(found: Findings, profile: str) -> dict[str, object]:
    """Return everything as plain data."""
    machine = found.machine
    return {
        "profile": profile,
        "date": found.date,
        "quick": found.quick,
        "wall_s": found.wall_s,
        "machine": {
            "backend": machine.backend,
            "device_kind": machine.device_kind,
            "processor": machine.processor,
            "cores": machine.cores,
            "devices_per_process": machine.local,
            "processes_per_host": machine.processes,
            "hosts": machine.hosts,
            "versions": machine.versions,
        },
        "busy": list(found.busy),
        "constants": [_class(fit) for fit in found.fits],
        "points": [
            {
                "kind": row.point.kind,
                **row.point.sizes,
                "precision": row.point.precision,
                "busy": row.point.busy,
                "level": row.point.level,
                "held": row.point.held,
                "measured_s": row.reading.time_s,
                "spread": row.reading.spread,
                "outliers": row.reading.outliers,
            }
            for row in found.measured
        ],
    }


def _class(fit: Fitted) -> dict[str, object]:
    return {
        "name": fit.name,
        "points": fit.points,
        "median_error": fit.inside,
        "median_error_held_out": fit.held,
        "constants": [
            {"name": path, "value": value, "error": _finite(fit.errors[path])}
            for path, value in fit.values.items()
        ],
        "rows": [
            {"point": str(point), "held": point.held, "measured_s": seconds, "predicted_s": said,
             "error": said / seconds - 1.0}
            for point, seconds, said in fit.rows
        ],
    }  # fmt: skip


def _finite(error: float) -> float | None:
    """Return an error bar; None where the points do not tell the constant."""
    return error if error < 1.0 else None


def head(found: Findings) -> str:
    """Return what the profile's file says of itself."""
    machine = found.machine
    lines = [
        f"Written by `sixfold calibrate{' --quick' if found.quick else ''}`, {found.date}.",
        f"{machine.processor}, {machine.cores} cores; {machine.versions}; {machine.local} devices a"
        f" process, {machine.processes} processes a host, {machine.hosts} hosts.",
        *(f"BUSY: {reason}; measure again on a quiet machine." for reason in found.busy),
        "Median errors of the fits, and of what was held back from them; constants with one"
        " standard deviation:",
    ]
    for fit in found.fits:
        held = "nothing held back" if fit.held is None else f"{fit.held:.1%} held back"
        of = f" ({fit.judged})" if fit.judged else ""
        lines.append(f"  {fit.name}: {fit.points} points, {fit.inside:.1%}, {held}{of}")
        lines += [f"    {told_of(fit, path)}" for path in fit.values]
        lines += [
            f"    far off: {point}: {1e3 * seconds:.3g} ms, {1e3 * said:.3g} by the fit"
            for point, seconds, said in fit.far
        ]
    return "\n".join(lines)


def told_of(fit: Fitted, path: str) -> str:
    """Return a constant with its error bar."""
    error = _finite(fit.errors[path])
    bar = "not told by these points" if error is None else f"+- {error:.0%}"
    return f"{path} {fit.values[path]:.4g} {bar}"
