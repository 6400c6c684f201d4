"""Which peak and kernel a number format uses, chip by chip."""

import pytest

from hardware_profiles.load import ProfileError, load, matmul_kernel, peak_flop_per_s
from hardware_profiles.lookup import PRECISIONS, compute_class, computed_in
from hardware_profiles.schema import HardwareProfile


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("dgx-h100", "bf16", 989.4e12),
        ("dgx-h100", "fp16", 989.4e12),
        ("dgx-h100", "fp32", 66.9e12),
        ("dgx-h100", "fp8", 1978.9e12),
        ("dgx-h100", "mxfp8", 1978.9e12),
        ("dgx-h100", "nvfp4", 1978.9e12),  # no fp4 units: the next wider
        ("dgx-b200", "nvfp4", 9e15),
        ("dgx-b200", "mxfp4", 9e15),
        ("dgx-a100-80gb", "mxfp4", 312e12),  # neither fp4 nor fp8
        ("dgx-a100-80gb", "fp8", 312e12),
        ("dgx-a100-80gb", "int8", 624e12),
        ("dgx-a100-80gb", "int4", 624e12),
        ("gaudi2", "int8", 432e12),  # no 8-bit integers given
        ("dgx-v100", "fp16", 125e12),
        ("dgx-v100", "bf16", 125e12),
        ("tpu-v5p", "fp8", 459e12),
    ],
)
def test_peaks(name: str, precision: str, expected: float) -> None:
    assert peak_flop_per_s(load(name), precision).value == pytest.approx(expected)


def test_bf16_on_a_volta_is_owned_as_an_assumption() -> None:
    volta = load("dgx-v100").peak_flop_per_s
    assert (volta["fp16"].basis, volta["bf16"].basis) == ("datasheet", "assumed")


def test_every_precision_has_a_peak_and_a_kernel(profile: HardwareProfile) -> None:
    assert len(PRECISIONS) == 9
    for precision in PRECISIONS:
        assert peak_flop_per_s(profile, precision).value > 0
        assert 0 < matmul_kernel(profile, precision).efficiency.value <= 1


def test_a_narrower_format_is_never_slower(profile: HardwareProfile) -> None:
    measured = profile.peak_flop_per_s["bf16"].basis == "measured"  # bf16 may be emulated
    order = ["bf16", "fp8", "nvfp4"] if measured else ["fp32", "bf16", "fp8", "nvfp4"]
    rates = [peak_flop_per_s(profile, precision).value for precision in order]
    assert rates == sorted(rates)


def test_kernels_fall_back_to_the_nearest_given() -> None:
    b200, a100 = load("dgx-b200"), load("dgx-a100-80gb")
    assert matmul_kernel(b200, "nvfp4") is b200.kernels.matmul["fp8"]
    assert matmul_kernel(b200, "int8") is b200.kernels.matmul["fp8"]
    assert matmul_kernel(b200, "fp16") is b200.kernels.matmul["bf16"]
    assert matmul_kernel(b200, "fp32") is b200.kernels.matmul["bf16"]
    assert matmul_kernel(a100, "fp8") is a100.kernels.matmul["bf16"]


def test_unknown_precision_says_the_nearest() -> None:
    with pytest.raises(ProfileError, match="did you mean 'bf16'"):
        compute_class(load("dgx-h100"), "bf61")


def test_a_profile_without_fp32_says_so() -> None:
    h100 = load("dgx-h100")
    peaks = {key: value for key, value in h100.peak_flop_per_s.items() if key != "fp32"}
    bare = h100.model_copy(update={"peak_flop_per_s": peaks})
    with pytest.raises(ProfileError, match="dgx-h100 gives no fp32 peak"):
        peak_flop_per_s(bare, "fp32")


@pytest.mark.parametrize(
    ("system", "asked", "used"),
    [
        ("dgx-v100", "bf16", "fp16"),
        ("dgx-v100", "fp8", "fp16"),
        ("dgx-a100-80gb", "mxfp8", "bf16"),
        ("dgx-h100", "mxfp8", "fp8"),
        ("dgx-h100", "fp8", "fp8"),
        ("dgx-b200", "mxfp8", "mxfp8"),
        ("dgx-b200", "int4", "int4"),
        ("mi300x", "nvfp4", "fp8"),
        ("cpu-host", "bf16", "fp32"),
    ],
)
def test_software_computes_in_what_there_are_units_for(system: str, asked: str, used: str):
    assert computed_in(load(system), asked) == used
