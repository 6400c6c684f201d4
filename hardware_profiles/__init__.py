"""Machines and software stacks as data: profiles, their schema, and how to load them."""

from hardware_profiles.load import (
    ProfileError,
    load,
    matmul_kernel,
    names,
    peak_flop_per_s,
    with_overrides,
)
from hardware_profiles.schema import Figure, HardwareProfile

__all__ = [
    "Figure",
    "HardwareProfile",
    "ProfileError",
    "load",
    "matmul_kernel",
    "names",
    "peak_flop_per_s",
    "with_overrides",
]
