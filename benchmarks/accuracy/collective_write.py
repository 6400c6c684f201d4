"""Network constants into profiles: a chip's own, and its relatives' as assumed.

Knows the files; fits nothing.

Parts: `RELATIVES`, `TCP`, `write`.
"""

from collections.abc import Mapping
from math import inf

from collective_models import (
    PEER_MOST_BYTES,
    RANK_MOST_BYTES,
    SWITCH_START_S,
    Constants,
    lines_of,
    pair_most_bytes,
)
from collective_rows import PROFILES
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from costmodels.hops import Line
from hardware_profiles import load as loader

__all__ = ["RELATIVES", "TCP", "write"]

ROOT = loader._HERE
RELATIVES = {
    "gcp-a3-mega": "h100_sxm",
    "dgx-a100-40gb": "a100_sxm",
    "dgx-v100": "a100_sxm",
    "dgx-b300": "b200_sxm",
    "gb300-nvl72": "gb200",
    "rtx-pro-6000": "l40s",
    "mi300x": "h100_sxm",
    "mi325x": "h100_sxm",
    "mi355x": "h100_sxm",
}
"""Machines without tables of their own, and whose constants they take."""
TCP = "gcp-a3-mega"
"""The machine whose nodes are joined over TCP: its own table."""
OTHER_VENDOR = ("mi300x", "mi325x", "mi355x")
"""RCCL is NCCL's twin; its protocols are taken, not the efficiency and latency of the links."""
BETWEEN = "fit_collectives.py: published tables between"
LEFT_BY = "NCCL, src/graph/tuning.cc: where it holds Simple for quicker than LL between two devices"
KEPT_BY = "NCCL, src/graph/tuning.cc and topo.h: up to where it holds LL for quicker"
SENT_BY = "NCCL, src/enqueue.cc: 16 KiB of LL by each of two channels"
KEEP_EFFICIENCY = (*OTHER_VENDOR, "rtx-pro-6000")


def write(
    made: Mapping[str, Constants], rows: Mapping[str, int], errors: Mapping[str, float]
) -> None:
    """Write the constants of every system and of its relatives, and those between nodes."""
    for system, name in PROFILES.items():
        source = (
            f"fit_collectives.py: {rows[system]:,} rows of one node, mean error"
            f" {errors[system]:.1%} of their shapes"
        )
        _level(name, 0, made[system], "fitted", source)
    for name, system in RELATIVES.items():
        source = f"as {PROFILES[system]}, fitted by fit_collectives.py"
        kept: set[str] = (
            set() if name not in KEEP_EFFICIENCY else {"efficiency", "latency_s", "shared"}
        )
        constants = {k: v for k, v in made[system].items() if k.split(".")[0] not in kept}
        _level(name, 0, constants, "assumed", source)
    known = f"{BETWEEN} nodes, 25 rows"
    _level(TCP, 1, made["tcp"], "fitted", f"{BETWEEN} two nodes, 31 rows")
    for name in (*PROFILES.values(), *(name for name in RELATIVES if name != TCP)):
        own = name == "dgx-h100"
        source = known if own else "InfiniBand's between H100 nodes, fitted by fit_collectives.py"
        _level(name, 1, made["infiniband"], "fitted" if own else "assumed", source)


def _level(file: str, index: int, c: Constants, basis: str, source: str) -> None:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = ROOT / f"{file}.yaml"
    data = yaml.load(path)
    level = data["network"][index]
    for name in ("latency_s", "efficiency"):
        if name in c:
            level[name] = _flow(value=_rounded(c[name]), basis=basis, source=source)
    most = pair_most_bytes(file) if index == 0 else inf
    if most < inf:
        level["pair_most_bytes"] = _flow(value=_rounded(most), basis="assumed", source=LEFT_BY)
    if "shared.share" in c:
        level["shared"] = _shared(file, c, basis, source)
    made = CommentedMap(basis=basis, source=source)
    made.update(_protocols(c, bool(level.get("in_switch_reduction"))))
    level["protocols"] = made
    yaml.dump(data, path)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _flow(**items: object) -> CommentedMap:
    made = CommentedMap(items)
    made.fa.set_flow_style()
    return made


def _shared(file: str, c: Constants, basis: str, source: str) -> CommentedMap:
    made = CommentedMap()
    for name in ("share", "exchanged"):
        made[name] = _flow(value=_rounded(c[f"shared.{name}"]), basis=basis, source=source)
    made["peer_most_bytes"] = _flow(value=PEER_MOST_BYTES, basis="assumed", source=SENT_BY)
    step = _rounded(RANK_MOST_BYTES)
    made["rank_most_bytes"] = _flow(value=step, basis="assumed", source=KEPT_BY)
    return made


def _line(line: Line) -> CommentedMap:
    return _flow(start_s=_rounded(line.start_s), steps=_rounded(line.steps),
                 share=_rounded(line.share))  # fmt: skip


def _protocols(c: Constants, switch: bool) -> dict[str, object]:
    rings = [_line(line) for line in lines_of(c, "rings")]
    if "protocols.own_part" not in c:  # between nodes
        return {"rings": rings, "exchanges": [rings[-1].copy()]}
    made: dict[str, object] = {
        "rings": rings,
        "exchanges": [_line(line) for line in lines_of(c, "exchanges")],
    }
    if switch:
        steps, share = (c[f"protocols.switch.{name}"] for name in ("steps", "share"))
        made["switch"] = _line(Line(SWITCH_START_S, steps, share))
    own = ("own_part", "own_scattered", "own_exchanged")
    return made | {name: _rounded(c.get(f"protocols.{name}", 0.0)) for name in own}
