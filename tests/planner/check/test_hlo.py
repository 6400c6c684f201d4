"""Collectives read from HLO text: spellings of CPU, GPU and TPU, loops, branches, starts."""

import pytest

from planner.check.hlo import communication
from planner.check.hlo_groups import groups_of, pairs_of
from planner.check.hlo_text import Array, parse
from planner.errors import SpecError

HEAD = "HloModule jit_step, is_scheduled=true, num_partitions=8\n\n"
ADD = """%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

"""


def entry(*lines: str, before: str = "") -> str:
    """Return a module whose entry has some lines; `%x` is f32[8,16] there."""
    body = "\n".join(f"  {line}" for line in lines)
    start = "ENTRY %main (x: f32[8,16]) -> f32[8,16] {\n  %x = f32[8,16]{1,0} parameter(0)\n"
    return f"{HEAD}{ADD}{before}{start}{body}\n}}\n"


def only(text: str):
    """Return the one collective of a module where nothing is unknown."""
    found = communication(text)
    assert found.unknown == () and found.devices == 8
    (one,) = found.collectives
    return one


@pytest.mark.parametrize(
    ("spelled", "groups"),
    [
        ("replica_groups={{0,2},{1,3}}", ((0, 2), (1, 3))),
        ("replica_groups={{0,1},{2,3}}, to_apply=%add", ((0, 1), (2, 3))),
        ("replica_groups=[2,4]<=[8]", ((0, 1, 2, 3), (4, 5, 6, 7))),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", ((0, 4), (1, 5), (2, 6), (3, 7))),
        ("replica_groups=[2,4]<=[2,2,2]T(1,0,2)", ((0, 1, 4, 5), (2, 3, 6, 7))),
        ("replica_groups=mesh['a'=4,'b'=2] {'b'}", ((0, 1), (2, 3), (4, 5), (6, 7))),
        ("replica_groups=mesh['a'=4,'b'=2] {'a'}", ((0, 2, 4, 6), (1, 3, 5, 7))),
        ("replica_groups=mesh['a'=4,'b'=2] {'a':(2)2}", ((0, 2), (1, 3), (4, 6), (5, 7))),
        (
            "replica_groups=mesh['a'=2,'b'=2], device_ids=([4]<=[2,2]T(1,0)) {'b'}",
            ((0, 2), (1, 3)),
        ),
        ("replica_groups={}", (tuple(range(8)),)),
    ],
)
def test_every_spelling_of_groups(spelled: str, groups: object) -> None:
    assert groups_of(f", channel_id=1, {spelled}, use_global_device_ids=true", 8) == groups


def test_groups_in_an_unknown_spelling_are_refused() -> None:
    with pytest.raises(SpecError, match="spelling that is not known"):
        groups_of("replica_groups=<0, 1>", 8)
    with pytest.raises(SpecError, match="without pairs"):
        pairs_of("channel_id=1")


@pytest.mark.parametrize(
    ("dtype", "bytes_"),
    [("f32", 32), ("bf16", 16), ("pred", 8), ("f8e4m3fn", 8), ("u4", 4), ("s64", 64), ("token", 0)],
)
def test_bytes_of_arrays(dtype: str, bytes_: float) -> None:
    assert Array(dtype, (2, 4)).bytes == bytes_


GROUPS = "replica_groups={{0,1,2,3},{4,5,6,7}}, use_global_device_ids=true"


@pytest.mark.parametrize(
    ("line", "payload", "sent"),
    [
        (f"f32[8,16]{{1,0}} all-reduce(%x), {GROUPS}, to_apply=%add", 512, 2 * 3 / 4 * 512),
        (f"f32[32,16]{{1,0}} all-gather(%x), {GROUPS}, dimensions={{0}}", 2048, 3 * 512),
        (f"f32[2,16]{{1,0}} reduce-scatter(%x), {GROUPS}, to_apply=%add", 512, 3 / 4 * 512),
        (f"f32[8,16]{{1,0}} all-to-all(%x), {GROUPS}", 512, 3 / 4 * 512),
        ("f32[8,16]{1,0} collective-permute(%x), source_target_pairs={{0,1},{1,2}}", 512, 512),
        ("f32[8,16]{1,0} collective-permute(%x), source_target_pairs={{0,0},{1,1}}", 512, 0),
    ],
)  # fmt: skip
def test_what_a_ring_sends(line: str, payload: float, sent: float) -> None:
    one = only(entry(f"ROOT %y = {line}"))
    assert (one.dtype, one.times) == ("f32", 1)
    assert (one.payload_bytes, one.sent_bytes) == (payload, sent)


def test_only_senders_send() -> None:
    pairs = "source_target_pairs={{0,1},{1,2},{3,3}}"
    one = only(entry(f"ROOT %y = f32[8,16]{{1,0}} collective-permute(%x), {pairs}"))
    assert [one.sends(device) for device in range(4)] == [512, 512, 0, 0]


TILED = "bf16[8,16]{1,0:T(8,128)(2,1)S(1)}"


@pytest.mark.parametrize(
    ("start", "kind", "sent"),
    [
        # a start returns operand and result, and a context
        (f"({TILED}, bf16[32,16]{{1,0}}) all-gather-start(%b)", "all-gather", 3 * 256),
        (f"(({TILED}), bf16[2,16]{{1,0}}) reduce-scatter-start(%b)", "reduce-scatter", 192),
        (f"{TILED} all-reduce-start(%b)", "all-reduce", 384),
    ],
)
def test_a_start_counts_once_by_its_operands(start: str, kind: str, sent: float) -> None:
    opcode = start.split()[-1].split("-start")[0]
    one = only(
        entry(
            f"%b = {TILED} convert(%x)",
            f"%s = {start}, channel_id=1, {GROUPS}",
            f"ROOT %d = {TILED} {opcode}-done(%s)",
        )
    )
    assert (one.kind, one.dtype, one.sent_bytes) == (kind, "bf16", sent)


def test_what_a_wrapped_start_calls_counts_once() -> None:
    wrapped = f"""%wrapped (p: f32[8,16]) -> f32[2,16] {{
  %p = f32[8,16]{{1,0}} parameter(0)
  ROOT %r = f32[2,16]{{1,0}} reduce-scatter(%p), {GROUPS}, dimensions={{0}}, to_apply=%add
}}

"""
    one = only(
        entry(
            "%s = ((f32[8,16]), f32[2,16], u32[]) async-start(%x), calls=%wrapped",
            "%u = ((f32[8,16]), f32[2,16], u32[]) async-update(%s), calls=%wrapped",
            "ROOT %d = f32[2,16]{1,0} async-done(%u), calls=%wrapped",
            before=wrapped,
        )
    )
    assert (one.kind, one.sent_bytes) == ("reduce-scatter", 384)


def test_combined_collectives_add_up() -> None:
    result = "(f32[8,16]{1,0}, /*index=1*/f32[8,16]{1,0}, f32[])"
    line = f"ROOT %y = {result} all-reduce(%x, %x, /*index=2*/%n), {GROUPS}, to_apply=%add"
    assert only(entry("%n = f32[] constant(1)", line)).payload_bytes == 512 + 512 + 4


def test_groups_of_one_send_nothing() -> None:
    line = "f32[8,16]{1,0} all-reduce(%x), replica_groups={{0},{1}}, to_apply=%add"
    assert communication(entry(f"ROOT %y = {line}")).collectives == ()


def loop(add: str, compare: str, attributes: str, first: str = "constant(0)") -> str:
    """Return a module with a loop around an all-reduce."""
    inside = f"""%body (p: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {{
  %p = (s32[], f32[8,16]{{1,0}}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %one = s32[] constant(1)
  %next = s32[] {add}
  %v = f32[8,16]{{1,0}} get-tuple-element(%p), index=1
  %sum = f32[8,16]{{1,0}} all-reduce(%v), {GROUPS}, to_apply=%add
  ROOT %out = (s32[], f32[8,16]{{1,0}}) tuple(%next, %sum)
}}

%compared (a: s32[], b: s32[]) -> pred[] {{
  %a.1 = s32[] parameter(0)
  %b.1 = s32[] parameter(1)
  ROOT %lt = pred[] compare(%a.1, %b.1), direction=LT
}}

%condition (p: (s32[], f32[8,16])) -> pred[] {{
  %p.1 = (s32[], f32[8,16]{{1,0}}) parameter(0)
  %at = s32[] get-tuple-element(%p.1), index=0
  %bound = s32[] constant(7)
  ROOT %less = pred[] {compare}
}}

"""
    return entry(
        f"%start = s32[] {first}",
        "%copied = s32[] copy(%start)",
        "%state = (s32[], f32[8,16]{1,0}) tuple(%copied, %x)",
        f"%w = (s32[], f32[8,16]) while(%state), condition=%condition, body=%body{attributes}",
        "ROOT %y = f32[8,16]{1,0} get-tuple-element(%w), index=1",
        before=inside,
    )


PLAIN = ("add(%i, %one)", "compare(%at, %bound), direction=LT")
FUSED = ("add(%one, %i)", "fusion(%at, %bound), kind=kLoop, calls=%compared")
TOLD = ', backend_config={"known_trip_count":{"n":"5"},"known_init_step":{"init":"0"}}'


def test_a_loop_runs_as_often_as_its_text_tells() -> None:
    assert only(loop(*PLAIN, TOLD)).times == 5


@pytest.mark.parametrize("code", [PLAIN, FUSED])
def test_a_loop_without_a_count_is_read(code: tuple[str, str]) -> None:
    assert only(loop(*code, "")).times == 7
    assert only(loop(*code, "", first="constant(3)")).times == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"add": "add(%i, %i)"},
        {"compare": "compare(%at, %bound), direction=NE"},
        {"first": "parameter(1)"},
    ],
)
def test_an_unknown_count_is_reported(changed: dict[str, str]) -> None:
    given = {"add": PLAIN[0], "compare": PLAIN[1], "attributes": "", **changed}
    found = communication(loop(**given))
    (reason,) = found.unknown
    assert "loop w runs all-reduce an unknown number of times" in reason
    (told,) = communication(loop(**given), {"w": 9}).collectives
    assert told.times == 9


def test_the_branch_that_sends_most_counts_and_is_reported() -> None:
    branches = f"""%quiet (p: f32[8,16]) -> f32[8,16] {{
  ROOT %p = f32[8,16]{{1,0}} parameter(0)
}}

%loud (q: f32[8,16]) -> f32[8,16] {{
  %q = f32[8,16]{{1,0}} parameter(0)
  ROOT %r = f32[8,16]{{1,0}} all-reduce(%q), {GROUPS}, to_apply=%add
}}

"""
    line = "f32[8,16]{1,0} conditional(%n, %x, %x), branch_computations={%quiet, %loud}"
    found = communication(entry("%n = s32[] constant(1)", f"ROOT %y = {line}", before=branches))
    assert [one.kind for one in found.collectives] == ["all-reduce"]
    assert found.unknown == ("y has branches that send unlike: the most is counted",)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(SpecError, match="not the text of an HLO module"):
        parse("module @jit_step { }")
