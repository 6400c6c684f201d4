"""Strategies in words."""

from planner.report.node import Node
from planner.report.strategies import degrees, difference, in_a_line, section

CHOSEN = {
    "tp": 8,
    "sp": True,
    "cp": 1,
    "pp": 4,
    "vpp": 1,
    "dp": 4,
    "zero": 0,
    "micro_batch": 2,
    "schedule": "1f1b",
    "recompute": {"full": 3},
    "offload": ["optimizer"],
    "layers_per_stage": [9, 9, 9, 9, 9, 8],
}


def test_a_line_names_what_is_split_and_what_is_not_plain() -> None:
    told = in_a_line(Node(CHOSEN))
    assert told == (
        "tp 8, pp 4, dp 4, micro-batch 2, 1f1b schedule, full 3 recompute, offload of optimizer"
    )
    assert "zero 1" in in_a_line(Node({**CHOSEN, "zero": 1}))
    assert in_a_line(Node({"tp": 1, "pp": 1, "schedule": "1f1b"})) == "no split"
    assert degrees(Node(CHOSEN)) == "tp 8, pp 4, dp 4"


def test_the_section_groups_keys_and_keeps_unknown_ones() -> None:
    whole = section(Node({**CHOSEN, "sharding": {"head": "rows"}, "placement": {}}))
    assert whole is not None
    assert whole.table is not None
    rows = {row[0]: row[1] for row in whole.table.rows}
    assert rows["mesh"] == "tp 8, sp yes, cp 1, pp 4, vpp 1, dp 4"
    assert rows["pipeline"] == "schedule 1f1b, layers_per_stage 9 x5, 8"
    assert rows["further"] == "sharding head rows"
    assert "order" not in rows
    assert section(Node(None)) is None


def test_a_difference_names_what_changed_only() -> None:
    other = Node({**CHOSEN, "tp": 4, "dp": 8, "extra": "x"})
    assert difference(other, Node(CHOSEN)) == "tp 4, dp 8, extra x"
    assert difference(Node(CHOSEN), Node(CHOSEN)) == "the same strategy"
    assert difference(Node({}), Node({"tp": 2})) == "tp -"


def test_a_difference_leaves_out_what_had_to_follow() -> None:
    other = Node({**CHOSEN, "pp": 8, "dp": 2, "microbatches": 64, "layers_per_stage": [4] * 8})
    assert difference(other, Node(CHOSEN)) == "pp 8, dp 2"
    uneven = Node({**CHOSEN, "layers_per_stage": [8, 9, 9, 9, 9, 9]})
    assert difference(uneven, Node(CHOSEN)) == "layers_per_stage 8, 9 x5"
