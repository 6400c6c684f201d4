"""From the operator graph alone, the published ways to shard are found where they are best.

Every problem is solved to proof. Nothing here tells the search of heads, widths or experts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sharded import DENSE, MOE, labels, sharding_problem, template

from planner.functions.operator_search import Searched, search
from planner.sharding.problem import Collective, ShardingProblem

LARGE = {**DENSE, "hidden": 8192, "ffn_hidden": 28672, "heads": 64, "vocab": 128000}
OVERLAPPED = {"overlap_tp": False}
PAIRS = (("qkv", "attention", "attention out", "n"), ("mlp up", "mlp activation", "mlp down", "f"))
SUMS = ("all-reduce", "reduce-scatter")
TWO = {"tp": 8, "dp": 16}
THREE = {"tp": 4, "more": 2, "dp": 16}


def solved(
    degrees: Mapping[str, int], sequences: int, *, gap: float = 0.0, **job: Any
) -> tuple[ShardingProblem, Searched]:
    _, made = sharding_problem(degrees, sequences, **{"software": OVERLAPPED, **job})
    found = search(made)
    assert found.solution.gap <= gap
    assert found.price is not None
    return made, found


def calls(found: Searched, prefix: str, axis: str, step: str) -> list[Collective]:
    """List the collectives on the activations of a region."""
    assert found.solution.picks is not None
    weights = {node.name for node in found.made.nodes if node.kind == "parameter"}
    return [
        c for c in found.made.collectives(found.solution.picks)
        if c.tensor.startswith(prefix) and c.tensor not in weights
        and (c.axis, c.step) == (axis, step)
    ]  # fmt: skip


def split_by(found: Searched, operator: str, label: str) -> set[str]:
    """Return the axes that split a label of an operator."""
    assert found.solution.picks is not None
    axes = labels(found.made, found.solution.picks, operator)
    return {axis for axis, split in axes.items() if split == label}


def assert_column_then_row(found: Searched, region: str) -> None:
    """Of each pair of products, tp splits one label throughout, and one sum follows the pair."""
    for first, middle, last, label in PAIRS:
        axes = split_by(found, f"{region}/{first}", label)
        assert "tp" in axes
        assert split_by(found, f"{region}/{middle}", label) == axes
        assert split_by(found, f"{region}/{last}", label) == axes
        for axis in axes:
            between = (f"{region}/{first}", f"{region}/{middle}")
            forward = calls(found, f"{region}/", axis, "forward")
            assert not [c for c in forward if c.tensor in between]
            after, *more = [c for c in forward if c.tensor == f"{region}/{last}"]
            assert not more
            assert after.kind in SUMS


@pytest.mark.parametrize("degrees", [TWO, THREE], ids=["two axes", "three axes"])
def test_tensor_parallelism_column_then_row_and_sequences_between(
    degrees: Mapping[str, int],
) -> None:
    made, found = solved(degrees, degrees["dp"] * degrees.get("more", 1), model=LARGE,
                         sequence=4096)  # fmt: skip
    assert_column_then_row(found, "dense")
    for part in ("input norm", "attention residual", "mlp norm", "mlp residual"):
        assert split_by(found, f"dense/{part}", "s") == {"tp"}
        assert "dp" in split_by(found, f"dense/{part}", "b")
    # sequence parallelism: gathers and scatters, and no all-reduce, forward and backward
    for step in ("forward", "backward"):
        kinds = {c.kind for c in calls(found, "dense/", "tp", step)}
        assert kinds == {"all-gather", "reduce-scatter"}


@pytest.mark.parametrize("degrees", [TWO, THREE], ids=["two axes", "three axes"])
def test_all_reduce_where_the_tokens_of_a_sequence_do_not_divide(
    degrees: Mapping[str, int],
) -> None:
    """The same pairs; the all-reduce is the one sum, forward after it and backward before it."""
    made, found = solved(degrees, degrees["dp"] * degrees.get("more", 1), model=LARGE,
                         sequence=4091)  # fmt: skip
    assert_column_then_row(found, "dense")
    forward = [c for c in calls(found, "dense/", "tp", "forward") if c.tensor != "dense/out"]
    backward = calls(found, "dense/", "tp", "backward")
    assert {c.tensor for c in forward} >= {"dense/attention out", "dense/mlp down"}
    assert [c.kind for c in forward] == ["all-reduce"] * len(forward)
    assert {c.tensor for c in backward} == {"dense/input norm", "dense/mlp norm"}
    assert [c.kind for c in backward] == ["all-reduce"] * 2


@pytest.mark.parametrize("degrees", [{"tp": 8}, TWO, THREE], ids=["one axis", "two", "three"])
def test_vocabulary_parallel_head_and_loss(degrees: Mapping[str, int]) -> None:
    sequences = degrees.get("dp", 1) * degrees.get("more", 1)
    made, found = solved(degrees, sequences, model=LARGE, sequence=4096)
    axes = split_by(found, "head/logits", "v")
    assert axes
    assert split_by(found, "head/loss", "v") == axes
    assert not [c for axis in degrees for c in calls(found, "head/logits", axis, "forward")]
    assert not [c for axis in degrees for c in calls(found, "head/logits", axis, "backward")]
    largest = max(c.message_bytes for a in axes for c in calls(found, "head/loss", a, "forward"))
    assert largest <= sequences * 4096 * 4  # a number a token, not a row of logits


def test_vocabulary_parallel_embedding_where_the_table_is_the_heads() -> None:
    made, found = solved({"tp": 8}, 1, model={**LARGE, "tied_embeddings": True}, sequence=2048)
    assert split_by(found, "embedding/lookup", "v") == {"tp"}
    assert split_by(found, "head/logits", "v") == {"tp"}
    (after,) = calls(found, "hidden states", "tp", "forward")
    assert after.kind in SUMS
    assert found.solution.picks is not None
    weights = [
        c for c in made.collectives(found.solution.picks) if c.tensor.endswith("lookup weight")
    ]
    assert weights == []  # the table is never moved


def test_an_embedding_of_its_own_is_split_by_width() -> None:
    """Beyond the template: an all-to-all moves an n-th of what the sum over words does."""
    made, found = solved({"tp": 8}, 1, model=LARGE, sequence=2048)
    assert split_by(found, "embedding/lookup", "h") == {"tp"}
    (after,) = calls(found, "hidden states", "tp", "forward")
    assert after.kind == "all-to-all"


@pytest.mark.parametrize("degrees", [{"tp": 4, "ep": 8}, {"tp": 4, "ep": 8, "dp": 4}],
                         ids=["two axes", "three axes"])  # fmt: skip
def test_experts_are_split_and_tokens_exchanged_with_them(degrees: Mapping[str, int]) -> None:
    moe = {"experts": 32, "top_k": 4, "ffn_hidden": 4096}
    model = {**LARGE, "hidden": 4096, "heads": 32, "moe": moe}
    sequences = degrees["ep"] * degrees.get("dp", 1)
    made, found = solved(degrees, sequences, model=model, sequence=4096)
    axes = split_by(found, "moe/experts up", "e")
    assert "ep" in axes
    assert split_by(found, "moe/experts down", "e") == axes
    assert split_by(found, "moe/attention", "b") == set(degrees) - {"tp"}
    for name in ("moe/dispatch", "moe/experts down"):
        for step in ("forward", "backward"):
            for axis in axes:
                assert [c.kind for c in calls(found, name, axis, step)] == ["all-to-all"]


@pytest.mark.parametrize("degrees", [{"near": 8, "far": 4}, {"tp": 2, "near": 4, "far": 4}],
                         ids=["two axes", "three axes"])  # fmt: skip
def test_zero_3_where_memory_is_short_and_zero_1_where_it_is_not(
    degrees: Mapping[str, int],
) -> None:
    model = {**LARGE, "hidden": 4096, "ffn_hidden": 14336, "heads": 32, "layers": 32,
             "vocab": 32000}  # fmt: skip
    layers = ("qkv", "attention out", "mlp up", "mlp down")
    stored, gathered, seconds = {}, {}, {}
    for limit in (70e9, 42e9):
        made, found = solved(degrees, 64, model=model, sequence=4096, limit_bytes=limit, gap=0.05)
        assert found.solution.picks is not None
        words = found.sharding["parameters"]
        assert isinstance(words, dict)
        stored[limit] = [words[f"dense/{name} weight"] for name in layers]
        for part in ("qkv", "attention", "mlp up", "mlp down"):  # tp may be tensor parallel
            assert split_by(found, f"dense/{part}", "b") >= set(degrees) - {"tp"}
        gathered[limit] = {
            c.tensor for c in made.collectives(found.solution.picks)
            if (c.kind, c.step) == ("all-gather", "again") and c.tensor.endswith("weight")
        }  # fmt: skip
        seconds[limit] = found.price.total_s if found.price else 0.0
    # with room: weights whole in every pass, states in pieces over every axis
    assert gathered[70e9] == set()
    assert all(w == " ".join(f"{a}:gradients" for a in degrees) for w in stored[70e9])
    # without: weights stored in pieces over an axis, gathered for either pass
    assert len(gathered[42e9]) >= 2
    assert seconds[42e9] >= seconds[70e9]


def test_with_accumulated_gradients_states_alone_are_in_pieces_over_the_slow_axis() -> None:
    """ZeRO 1 over the slow axis: gradients in pieces would be reduced there in each of four passes.

    Over the fast axis that hides, and fewer gradients are added up.
    """
    made, found = solved({"near": 8, "far": 4}, 128, model=LARGE, sequence=4096, passes=4)
    words = found.sharding["parameters"]
    assert isinstance(words, dict)
    assert words["dense/mlp up weight"] == "near:gradients far:states"


@pytest.mark.parametrize(
    ("model", "degrees", "limit"),
    [(LARGE, {"tp": 8, "dp": 4}, None), (LARGE, {"tp": 8, "dp": 4}, 12e9),
     (LARGE, {"tp": 8, "dp": 16}, None), (MOE, {"tp": 8, "dp": 2}, 1e10)],
)  # fmt: skip
def test_the_optimum_is_never_worse_than_the_template(
    model: Mapping[str, Any], degrees: Mapping[str, int], limit: float | None
) -> None:
    made, found = solved(degrees, degrees["dp"], model=model, sequence=4096, limit_bytes=limit)
    assert found.price is not None
    better = 0
    for sp in (False, True):
        picks = template(made, sp=sp, ep="moe" in model)
        if made.problem.allows(picks):
            theirs = made.problem.cost(picks).total_s
            assert found.price.total_s <= theirs * (1 + 1e-12)
            better += 1
    assert better >= 1


def test_room_is_left_for_what_an_operator_works_on() -> None:
    limit = 12e9
    made, found = solved({"tp": 8, "dp": 4}, 4, model=LARGE, sequence=4096, limit_bytes=limit,
                         gap=0.05)  # fmt: skip
    assert found.price is not None
    assert found.working_bytes > 0
    assert found.price.total_bytes + found.working_bytes <= limit


def test_no_way_fits_is_said() -> None:
    _, made = sharding_problem(TWO, 16, model=LARGE, sequence=4096, limit_bytes=1e9)
    found = search(made)
    assert (found.solution.status, found.price, found.sharding) == ("infeasible", None, {})


def test_picks_survive_their_words() -> None:
    from planner.sharding.words import picks_of

    made, found = solved({"tp": 8, "dp": 4}, 4, model=LARGE, sequence=2048, limit_bytes=20e9)
    picks: Sequence[int] = picks_of(made, found.sharding)
    assert tuple(picks) == found.solution.picks
    assert made.problem.cost(picks) == found.price
