"""The shipped profile that a machine starts from: what no benchmark measures is taken from there.

Price, power, failures, clock and the network beyond what was measured are assumed to be those of
the machine with the same chip. Knows names of chips, nothing of what they do.

Parts: `relative_of`, `assumed`.
"""

import re

from hardware_profiles.load import load, names
from hardware_profiles.schema import HardwareProfile

__all__ = ["assumed", "relative_of"]

_CPU = "cpu-host"


def relative_of(backend: str, device_kind: str) -> tuple[HardwareProfile, bool]:
    """Return the profile whose chip JAX names, and whether it is that chip at all.

    The name of a profile that holds most of the words of `device_kind` wins, longest first: as
    "NVIDIA H100 80GB HBM3" is dgx-h100, "TPU v5 lite" tpu-v5e, "AMD Instinct MI300X" mi300x.

    >>> relative_of("tpu", "TPU v5p")[0].name, relative_of("gpu", "NVIDIA H200")[0].name
    ('tpu-v5p', 'dgx-h200')
    """
    if backend == "cpu":
        return load(_CPU), True
    said = _plain(device_kind.replace("v5 lite", "v5e").replace("v6 lite", "v6e"))
    found = [name for name in names() if name != _CPU and _chip(name) in said]
    if not found:
        return load(_CPU), False
    sized = [name for name in found if all(part in said for part in _plain(name).split())]
    return load(max(sized or found, key=len)), True


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _chip(name: str) -> str:
    """Return the part of a profile's name that is its chip's."""
    plain = [part for part in name.split("-") if part not in ("dgx", "tpu", "rtx", "pro")]
    return plain[0]


def assumed(profile: HardwareProfile, why: str) -> HardwareProfile:
    """Return the profile with every figure marked as assumed, and why."""
    return HardwareProfile.model_validate(_marked(profile.model_dump(), why))


def _marked(node: object, why: str) -> object:
    if isinstance(node, dict):
        made = {key: _marked(value, why) for key, value in node.items()}
        if "basis" in made and "source" in made:
            made["basis"], made["source"] = "assumed", f"{why}: {made['source']}"
        return made
    if isinstance(node, list | tuple):
        return tuple(_marked(value, why) for value in node)
    return node
