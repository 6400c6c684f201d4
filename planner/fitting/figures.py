"""Figures of a profile put in place by their dotted paths, as a fit tries them.

Parts: `with_figures`.
"""

from collections.abc import Mapping

from hardware_profiles.schema import Basis, HardwareProfile

__all__ = ["with_figures"]


def with_figures(
    profile: HardwareProfile,
    values: Mapping[str, float],
    source: str,
    basis: Basis = "fitted",
) -> HardwareProfile:
    """Return the profile with kernel figures replaced, by their path under `kernels`."""
    data = profile.model_dump()
    for path, value in values.items():
        node, *inner = data["kernels"], *path.split(".")
        for part in inner[:-1]:
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
        node[inner[-1]] = {"value": value, "basis": basis, "source": source}
    return HardwareProfile.model_validate(data)
