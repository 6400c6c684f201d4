"""Which peak and which kernel constants a number format uses on a chip.

Formats are the job's (`workload.precision`). A chip without units for a format computes in the
next wider one that it has. Knows no shapes and no times.

Parts: `PRECISIONS`, `compute_class`, `computed_in`, `peak_flop_per_s`, `matmul_kernel`,
`matmul_training`, `measured`.
"""

from typing import Literal

from hardware_profiles.errors import ProfileError, nearest
from hardware_profiles.kernels import MatmulKernel
from hardware_profiles.schema import Figure, HardwareProfile

__all__ = [
    "PRECISIONS",
    "compute_class",
    "computed_in",
    "matmul_kernel",
    "matmul_training",
    "measured",
    "peak_flop_per_s",
]

_Peak = Literal["fp32", "bf16", "fp16", "fp8", "fp4", "int8"]
_Matmul = Literal["fp32", "bf16", "fp8", "fp4", "int8"]

_LADDER: dict[str, tuple[_Peak, ...]] = {
    "fp32": ("fp32",),
    "fp16": ("fp16", "bf16"),
    "bf16": ("bf16",),
    "fp8": ("fp8", "bf16"),
    "mxfp8": ("fp8", "bf16"),
    "mxfp4": ("fp4", "fp8", "bf16"),
    "nvfp4": ("fp4", "fp8", "bf16"),
    "int8": ("int8", "bf16"),
    "int4": ("int8", "bf16"),
}
_KERNEL: dict[_Peak, tuple[_Matmul, ...]] = {
    "fp32": ("fp32", "bf16"),
    "fp16": ("bf16",),
    "bf16": ("bf16",),
    "fp8": ("fp8", "bf16"),
    "fp4": ("fp4", "fp8", "bf16"),
    "int8": ("int8", "fp8", "bf16"),
}
_BITS: dict[_Peak, int] = {"fp32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "int8": 8, "fp4": 4}
PRECISIONS = tuple(_LADDER)


def compute_class(profile: HardwareProfile, precision: str) -> _Peak:
    """Format that products of `precision` are computed in: the next wider one that the chip has.

    mxfp8 is fp8; mxfp4 and nvfp4 are fp4; int4 is int8. Where the chip has no units for one it
    computes in the next of fp4, fp8, bf16 (int8, bf16), as software that dequantizes does.

    >>> from hardware_profiles.load import load
    >>> compute_class(load("dgx-h100"), "nvfp4"), compute_class(load("dgx-a100-80gb"), "nvfp4")
    ('fp8', 'bf16')
    """
    if precision not in _LADDER:
        raise ProfileError(
            f"no precision {precision[:40]!r}{nearest(precision, PRECISIONS)}; "
            f"allowed: {', '.join(PRECISIONS)}"
        )
    for name in _LADDER[precision]:
        if name in profile.peak_flop_per_s:
            return name
    raise ProfileError(f"profile {profile.name} gives no {precision} peak", key="peak_flop_per_s")


def computed_in(profile: HardwareProfile, precision: str) -> str:
    """Precision that software computes in on a chip: `precision`, or one that it has units for.

    >>> from hardware_profiles.load import load
    >>> [computed_in(load("dgx-h100"), p) for p in ("mxfp8", "nvfp4", "bf16")]
    ['fp8', 'fp8', 'bf16']
    >>> computed_in(load("dgx-v100"), "fp8")
    'fp16'
    """
    used = compute_class(profile, precision)
    narrower = _BITS[_LADDER[precision][0]] < _BITS[used]
    wanted = str(used) if narrower else precision
    return profile.instead.get(wanted, wanted)


def peak_flop_per_s(profile: HardwareProfile, precision: str) -> Figure:
    """Dense peak of the chip at `precision`, FLOP/s (see `compute_class`)."""
    return profile.peak_flop_per_s[compute_class(profile, precision)]


def matmul_kernel(profile: HardwareProfile, precision: str) -> MatmulKernel:
    """Constants of a matrix product at `precision`; `efficiency` is of `peak_flop_per_s`.

    Where the profile has none for the format, the nearest that it has: fp4, fp8, bf16.
    """
    return profile.kernels.matmul[_matmul_class(profile, precision)]


def matmul_training(profile: HardwareProfile, precision: str) -> float:
    """Factor of training runs on a product's rate, of the kernel that `matmul_kernel` gives."""
    factor = profile.kernels.training.matmul.get(_matmul_class(profile, precision))
    return 1.0 if factor is None else factor.value


def _matmul_class(profile: HardwareProfile, precision: str) -> _Matmul:
    for name in _KERNEL[compute_class(profile, precision)]:
        if name in profile.kernels.matmul:
            return name
    raise ProfileError(f"profile {profile.name} has no bf16 kernel", key="kernels.matmul")


def measured(profile: HardwareProfile) -> bool:
    """Tell whether a measurement says how fast the chip's matrix products are.

    Alone or in training. Where none does, its kernel constants are those of a relative.

    >>> from hardware_profiles.load import load
    >>> measured(load("dgx-h200")), measured(load("gaudi2"))
    (True, False)
    """
    kernels = profile.kernels
    figures = (kernels.matmul["bf16"].efficiency, kernels.training.matmul.get("bf16"))
    return any(figure is not None and figure.basis != "assumed" for figure in figures)
