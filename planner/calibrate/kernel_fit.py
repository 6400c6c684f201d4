"""Kernel constants from measured kernels, class after class: each stands on those before it.

Memory first, then products by precision, attention forward and backward, experts. Quantization by
tiles is not looked for: its constants stay as the start profile has them.

Parts: `fit_kernels`, `fit_contention`, `with_peaks`.
"""

from collections.abc import Mapping, Sequence

from hardware_profiles.contention import slowdown
from hardware_profiles.schema import Figure, HardwareProfile
from planner.calibrate.elementwise import LAYER, traffic_elements
from planner.calibrate.fitted import Fitted, Measured, fitted, four
from planner.calibrate.points import Point
from planner.calibrate.prices import ELEMENT, kernel_s
from planner.calibrate.session import kernel_of
from planner.fitting.figures import with_figures

__all__ = ["fit_contention", "fit_kernels", "with_peaks"]

_SMALLEST_S = 1e-9
_CLASSES: tuple[tuple[str, tuple[str, ...], str, dict[str, float], dict[str, float]], ...] = (
    ("elementwise", LAYER, "fp32",
     {"memory.efficiency": 0.7, "memory.fixed_s": 5e-6}, {"memory.efficiency": 1.0}),
    ("products fp32", ("products", "products with gradients"), "fp32",
     {"matmul.fp32.efficiency": 0.8, "matmul.fp32.fixed_s": 1e-5, "matmul.fp32.fill": 20.0},
     {"matmul.fp32.efficiency": 1.0}),
    ("products bf16", ("products",), "bf16",
     {"matmul.bf16.efficiency": 0.8, "matmul.bf16.fixed_s": 1e-5, "matmul.bf16.fill": 20.0},
     {"matmul.bf16.efficiency": 1.0}),
    ("attention", ("attention",), "fp32",
     {"attention_forward.efficiency": 0.3, "attention_forward.fixed_s": 1e-5,
      "attention_forward.passes": 3.0, "attention_forward.softmax_dim": 50.0},
     {"attention_forward.efficiency": 1.0}),
    ("attention backward", ("attention backward",), "fp32",
     {"attention_backward.efficiency": 0.3, "attention_backward.fixed_s": 1e-5},
     {"attention_backward.efficiency": 1.0}),
    ("experts", ("experts",), "fp32",
     {"grouped_matmul.efficiency": 1.0, "grouped_matmul.fixed_s": 1e-5}, {}),
)  # fmt: skip
"""Name, kinds, precision, where the search starts, and upper bounds: in the order of fitting."""


def with_peaks(profile: HardwareProfile, measured: Sequence[Measured]) -> HardwareProfile:
    """Return the profile with what was measured as its peaks.

    The best rate of products, by precision; the memory's of the largest copy, which no cache holds.
    """
    rows = [(row.point, row.reading.time_s) for row in _all_busy(measured)]
    peaks: dict[str, Figure] = {}
    for precision in ("fp32", "bf16"):
        rates = [
            (kernel_of(point).flop / time_s, str(point))
            for point, time_s in rows
            if point.kind == "products" and point.precision == precision
        ]
        rate, of = max(rates)
        peaks[precision] = Figure(value=four(rate), basis="measured", source=f"the best: {of}")
    moved, time_s, copy = max(
        (traffic_elements("copy", point.sizes) * ELEMENT[point.precision], time_s, str(point))
        for point, time_s in rows
        if point.kind == "copy"
    )
    memory = Figure(value=four(moved / time_s), basis="measured", source=f"the largest: {copy}")
    return profile.model_copy(update={"peak_flop_per_s": peaks, "memory_bytes_per_s": memory})


def _all_busy(measured: Sequence[Measured]) -> list[Measured]:
    return [row for row in measured if not row.point.busy and not row.point.level]


def fit_kernels(
    profile: HardwareProfile, measured: Sequence[Measured], told: str
) -> tuple[HardwareProfile, list[Fitted]]:
    """Fit every class; the profile with the constants in place, and what each fit says.

    Parameters
    ----------
    told : what was run, for the figures' sources
    """
    made: list[Fitted] = []
    for name, kinds, precision, start, tops in _CLASSES:
        rows = [
            row for row in _all_busy(measured)
            if row.point.kind in kinds and row.point.precision == precision
        ]  # fmt: skip
        before = profile

        def price(
            values: Mapping[str, float], points: Sequence[Point],
            before: HardwareProfile = before,
        ) -> list[float]:  # fmt: skip
            tried = with_figures(before, values, "being fitted")
            return [max(kernel_s(tried, point), _SMALLEST_S) for point in points]

        found = fitted(name, rows, price, start, tops)
        profile = with_figures(profile, found.values, f"{told}; {found.source}")
        made.append(found)
    return profile, made


def fit_contention(measured: Sequence[Measured], host_devices: int) -> Fitted | None:
    """Fit c of `hardware_profiles.contention` to kernels with few and with all devices at work.

    None where one device is all there is. The devices of a host are those of all its processes;
    with few at work the other processes rest.
    """
    whole = {_shape(row.point): row.reading.time_s for row in measured if not row.point.busy}
    few = [row for row in measured if row.point.busy and _shape(row.point) in whole]
    if not few or host_devices < 2:
        return None

    def shares(values: Mapping[str, float], points: Sequence[Point]) -> list[float]:
        share = min(1.0, values["contention"])
        return [
            whole[_shape(point)] * slowdown(share, point.busy) / slowdown(share, host_devices)
            for point in points
        ]

    return fitted("contention", few, shares, {"contention": 0.5}, {"contention": 1.0})


def _shape(point: Point) -> str:
    return f"{point.kind} {point.precision} {sorted(point.sizes.items())}"
