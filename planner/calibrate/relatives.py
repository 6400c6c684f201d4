"""The shipped profile that a machine starts from: what no benchmark measures is taken from there.

Price, power, failures, clock and the network beyond what was measured are assumed to be those of
the machine with the same chip. Knows names of chips, nothing of what they do.

Parts: `relative_of`, `assumed`.
"""

from hardware_profiles.load import load, names
from hardware_profiles.schema import HardwareProfile

__all__ = ["assumed", "relative_of"]

_CPU = "cpu-host"


def relative_of(backend: str, device_kind: str) -> tuple[HardwareProfile, bool]:
    """Return the profile whose chip JAX names, and whether it is that chip at all.

    The profile of whose name `device_kind` has the chip, and then most words, wins: "NVIDIA H100
    80GB HBM3" is dgx-h100, "TPU v5 lite" tpu-v5e, "AMD Instinct MI300X" mi300x.

    >>> relative_of("tpu", "TPU v5p")[0].name, relative_of("gpu", "NVIDIA H200")[0].name
    ('tpu-v5p', 'dgx-h200')
    """
    if backend == "cpu":
        return load(_CPU), True
    said = device_kind.lower().replace("v5 lite", "v5e").replace("v6 lite", "v6e")
    matches = {name: [word in said for word in _words(name)] for name in names()}
    found = [name for name, words in matches.items() if words[0] and not name.startswith("cpu")]
    if not found:
        return load(_CPU), False
    return load(max(found, key=lambda name: (sum(matches[name]), len(_words(name)[0])))), True


def _words(name: str) -> list[str]:
    """Return the parts of a profile's name that say its chip, the chip itself first."""
    return [part for part in name.split("-") if part not in ("dgx", "tpu", "rtx", "pro")]


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
