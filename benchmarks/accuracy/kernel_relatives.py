"""Write fitted kernel constants into profiles: the measured chips' own, and their relatives'.

A chip without a table takes the constants of its nearest relative, marked `assumed`, but for the
figures that it keeps: those of its own training runs, or of what is known of its products. Times
and shares carry over; a relative's own peaks and bandwidths scale them.

Parts: `RELATIVES`, `write`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_tables import SYSTEMS
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

PROFILES = Path(__file__).parents[2] / "hardware_profiles"
BACKWARD = 0.75
"""Rate of the backward attention kernel over the forward's (assumed: no backward is measured)."""
PRODUCTS = ("matmul.bf16.efficiency", "matmul.fp8.efficiency")


@dataclass(frozen=True)
class Relative:
    """Where a chip's constants come from, and which figures it keeps (by prefix of their path)."""

    chip: str
    why: str
    keeps: tuple[str, ...] = ()


RELATIVES: Mapping[str, tuple[Relative, ...]] = {
    "dgx-a100-40gb": (Relative("dgx-a100-80gb", "the A100 80 GB's, same chip"),),
    "gcp-a3-mega": (Relative("dgx-h100", "the H100's, same chip"),),
    "dgx-h200": (Relative("dgx-h100", "the H100's, same chip with faster memory"),),
    "dgx-b300": (Relative("dgx-b200", "the B200's, same compute dies"),),
    "gb200-nvl72": (Relative("dgx-b200", "the B200's, same compute dies"),),
    "gb300-nvl72": (Relative("dgx-b200", "the B200's, same compute dies"),),
    "rtx-pro-6000": (Relative("dgx-b200", "the B200's, same architecture"),),
    "dgx-v100": (Relative("dgx-a100-80gb", "the A100's, the next generation", PRODUCTS),),
    "gaudi2": (Relative("dgx-a100-80gb", "the A100's: no table of this chip", PRODUCTS),),
    **{
        chip: (
            Relative("dgx-a100-80gb", "the A100's: no table of this chip", PRODUCTS),
            Relative("dgx-h100", "the H100's: no table of this chip", PRODUCTS),
        )
        for chip in ("l40s", "mi300x", "mi325x", "mi355x")
    },
}
"""Of two relatives the second gives what the first lacks (products in fp8)."""

Figure = dict[str, object]


def write(fitted: list[Any]) -> None:
    """Change the profiles' figures in place.

    Parameters
    ----------
    fitted : of `fit_kernels.Fitted`, every class of every chip
    """
    own: dict[str, dict[str, Figure]] = {}
    for one in fitted:
        figures = own.setdefault(SYSTEMS[one.system], {})
        for path, value in one.values.items():
            source = f"fit_kernels.py: {one.kind}, {_said(one.errors, path)}"
            figures[path] = {"value": value, "basis": "fitted", "source": source}
    _complete(own)
    for chip, figures in own.items():
        _change(chip, figures)
    for chip, relatives in RELATIVES.items():
        borrowed: dict[str, Figure] = {}
        for relative in relatives:
            for path, figure in own[relative.chip].items():
                if not path.startswith(relative.keeps or "-"):
                    source = f"{relative.why} ({relative.chip}, fitted)"
                    taken = {"value": figure["value"], "basis": "assumed", "source": source}
                    borrowed.setdefault(path, taken)
        _change(chip, borrowed)


def _said(errors: Mapping[str, tuple[int, float, float]], path: str) -> str:
    """Say on how many rows a figure stands and how far off its class is, of its own precision."""
    own = [error for dtype, error in errors.items() if f".{dtype}." in path]
    counted = own or list(errors.values())
    rows = sum(count for count, *_ in counted)
    inside, outside = (sum(e[i] * e[0] for e in counted) / rows for i in (1, 2))
    return f"{rows:,} rows, error {inside:.1%}, {outside:.1%} on shapes held back"


def _complete(own: dict[str, dict[str, Figure]]) -> None:
    """Add what no table tells: backward attention, experts and wide heads of the A100."""
    ampere, hopper = own["dgx-a100-80gb"], own["dgx-h100"]
    for path, figure in hopper.items():
        if path.startswith("grouped_matmul"):
            source = "the H100's (dgx-h100, fitted): no table of experts on this chip"
            ampere[path] = {"value": figure["value"], "basis": "assumed", "source": source}
    slow = hopper["attention_forward.softmax_dim"]["value"]
    assert isinstance(slow, float)
    ampere["attention_forward.softmax_dim"] = {
        "value": float(f"{slow / 2.0:.4g}"),
        "basis": "assumed",
        "source": "half the H100's: as many exponentials a clock, half the products",
    }
    for figures in own.values():
        forward = figures["attention_forward.efficiency"]["value"]
        assert isinstance(forward, float)
        figures["attention_backward.efficiency"] = {
            "value": float(f"{BACKWARD * forward:.4g}"),
            "basis": "assumed",
            "source": f"{BACKWARD} of the forward kernel's: no backward is measured",
        }
        fixed_s = figures["attention_forward.fixed_s"]["value"]
        source = "the forward kernel's: no backward is measured"
        figures["attention_backward.fixed_s"] = {
            "value": fixed_s, "basis": "assumed", "source": source,
        }  # fmt: skip


def _change(chip: str, figures: Mapping[str, Figure]) -> None:
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = PROFILES / f"{chip}.yaml"
    data = yaml.load(path)
    for dotted, figure in figures.items():
        node, parts = data["kernels"], dotted.split(".")
        if parts[0] == "matmul" and parts[1] not in node["matmul"]:
            continue  # a machine without this number format
        for part in parts[:-1]:
            if part not in node:
                node.insert(list(node).index("attention_backward") + 1, part, CommentedMap())
            node = node[part]
        written = CommentedMap(figure)
        written.fa.set_flow_style()
        node[parts[-1]] = written
    yaml.dump(data, path)
