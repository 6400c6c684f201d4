"""Differences of plans, in numbers and in words."""

from planner.plan.findings import against, amount, changes, delta, finding, gigabytes, losses


def _made(**terms: float) -> dict[str, object]:
    time = [{"name": name, "exposed_s": value} for name, value in terms.items()]
    return {"time": time, "step_time_s": sum(terms.values()), "memory_bytes": 1e9}


def test_a_delta_has_every_term_of_both_largest_first() -> None:
    gaps = delta(_made(a=1.0, b=2.0, d=1.0), _made(a=1.5, b=1.0, c=0.25, d=1.0))
    assert gaps == [
        {"name": "b", "exposed_s": 1.0},
        {"name": "a", "exposed_s": -0.5},
        {"name": "c", "exposed_s": -0.25},
    ]
    assert losses(gaps, 2) == "b +1 s, a -0.5 s"


def test_figures_beside_each_other() -> None:
    numbers = against(_made(a=3.0), _made(a=2.0))
    assert numbers == {
        "step_time_s": 3.0, "slower_s": 1.0, "slower_share": 0.5, "memory_bytes": 1e9,
    }  # fmt: skip


def test_changes_leave_out_what_follows() -> None:
    ours = {"tp": 4, "sp": True, "microbatches": 8, "recompute": "none", "offload": []}
    theirs = {
        "tp": 8, "sp": False, "microbatches": 4, "recompute": {"full": 2}, "offload": ["optimizer"],
    }  # fmt: skip
    assert changes(theirs, ours) == (
        "tp 8 (4), sp off (on), recompute full 2 (none), offload optimizer (nothing)"
    )
    assert changes(ours, ours) == "the same strategy"


def test_words_for_amounts() -> None:
    assert [amount(0.0421), amount(1.5), gigabytes(2.5e9), gigabytes(3e6)] == [
        "42.1 ms", "1.5 s", "2.5 GB", "3.0 MB",
    ]  # fmt: skip


def test_a_finding_keeps_what_programs_need() -> None:
    entry = finding("a", "b", {"c_s": 1.0}, delta=[])
    assert entry == {"what": "a", "because": "b", "numbers": {"c_s": 1.0}, "delta": []}
