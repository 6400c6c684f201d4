"""Which points are measured: what a fit needs, what it is judged on, and sizes that fit the chip.

Shapes are those of layers small enough for a processor, and eight times as wide on accelerators.
Every list says at its end what is held back.

Parts: `menu`, `Scope`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from planner.calibrate import copies, new_memory
from planner.calibrate.elementwise import LAYER
from planner.calibrate.points import Point

__all__ = ["CONTENDED", "Level", "Scope", "menu"]


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the network as it is measured: groups of members, `stride` devices apart."""

    name: str
    members: int
    stride: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What to measure on.

    Parameters
    ----------
    wide    : how many times as wide as on a processor matrices are (accelerators: 8)
    local   : devices of a process
    levels  : of the network, inner to outer
    quick   : few points
    """

    wide: int
    local: int
    levels: Sequence[Level]
    quick: bool

    @property
    def brief(self) -> bool:
        """Quick, and shared with levels beyond a process: every program is compiled in each."""
        return self.quick and any(level.name != "process" for level in self.levels)


CONTENDED = ("products", "attention", "layer")
"""Kinds that are also measured with few devices at work."""

Shape = tuple[int, ...]
# tokens, inner width, width; the last ones are held back
_PRODUCTS: tuple[Shape, ...] = (
    (8, 64, 64), (128, 512, 512), (512, 256, 256), (512, 1024, 256), (1024, 512, 512),
    (512, 2048, 512), (2048, 1024, 256),
)  # fmt: skip
_MORE_PRODUCTS: tuple[Shape, ...] = (
    (256, 256, 256), (256, 1024, 1024), (1024, 1024, 1024), (256, 4096, 512), (64, 2048, 512),
    (2048, 256, 256), (32, 512, 512), (1024, 4096, 256),
)  # fmt: skip
_HELD_PRODUCTS: tuple[Shape, ...] = ((1024, 1024, 256), (256, 1024, 512), (1024, 2048, 512))
# batch, tokens, heads, heads of keys, width of a head
_ATTENTION: tuple[Shape, ...] = (
    (1, 16, 2, 2, 32), (2, 128, 8, 8, 64), (2, 256, 4, 4, 64), (4, 128, 8, 4, 32),
    (1, 512, 4, 2, 64),
)  # fmt: skip
_MORE_ATTENTION: tuple[Shape, ...] = (
    (1, 1024, 2, 2, 64), (4, 256, 4, 4, 32), (1, 256, 8, 2, 128), (8, 64, 4, 4, 64),
)  # fmt: skip
_HELD_ATTENTION: tuple[Shape, ...] = ((2, 256, 8, 8, 32), (4, 256, 2, 2, 64))
# tokens, width, inner width
_LAYERS: tuple[Shape, ...] = ((4, 32, 64), (256, 256, 1024), (512, 512, 1024), (1024, 512, 1536))
_MORE_LAYERS: tuple[Shape, ...] = (
    (128, 256, 512), (512, 256, 1024), (2048, 512, 2048), (1024, 1024, 2048), (4096, 256, 1024),
)  # fmt: skip
_HELD_LAYERS: tuple[Shape, ...] = ((1024, 256, 1024), (512, 1024, 2048))
_COPIES: tuple[Shape, ...] = ((512, 1024), (2048, 1024))
_MORE_COPIES: tuple[Shape, ...] = ((128, 512),)
_EXPERTS: tuple[Shape, ...] = ((4, 256, 512, 256), (8, 128, 512, 512))
_HELD_EXPERTS: tuple[Shape, ...] = ((4, 512, 1024, 256),)
_MESSAGES = (1 << 12, 1 << 19, 1 << 22)
_MORE_MESSAGES = (1 << 16, 1 << 21, 1 << 23)
_HELD_MESSAGES = (1 << 18, 1 << 20)
_EXCHANGES = ("all_reduce", "all_gather", "reduce_scatter", "alltoall", "permute")


def menu(scope: Scope) -> list[Point]:
    """List every point to measure, in an order that mixes what a step mixes."""
    points = [
        *_shaped("products", "mnk", scope, _PRODUCTS, _MORE_PRODUCTS, _HELD_PRODUCTS),
        *_gradients(scope),
        *_attention(scope),
        *_memory(scope),
        *_experts(scope),
        *_contended(scope),
        Point("launch", {}),
        *(Point(kind, {"bytes": 1 << 24}) for kind in copies.KINDS),
        *(Point(kind, {"bytes": new_memory.BYTES}) for kind in new_memory.KINDS),
        *(point for level in scope.levels for point in _exchanged(level, scope)),
    ]
    return list({point.key: point for point in points}.values())


def _shaped(
    kind: str, names: Iterable[str], scope: Scope, few: Sequence[Shape], more: Sequence[Shape],
    held: Sequence[Shape], precisions: Sequence[str] = ("fp32", "bf16"),
) -> Iterator[Point]:  # fmt: skip
    names = tuple(names)
    for precision in precisions:
        fitted = few if scope.quick else (*few, *more)
        if scope.quick and precision != "fp32":
            fitted = fitted[1:4]
        if scope.brief:
            fitted = fitted[: 4 if precision == "fp32" else 2]
        for shapes, back in ((fitted, False), (held[:1] if scope.quick else held, True)):
            for shape in shapes:
                sizes = dict(zip(names, _wider(shape, scope.wide), strict=True))
                yield Point(kind, sizes, precision, held=back)


def _wider(shape: Shape, wide: int) -> Shape:
    return tuple(size * wide for size in shape)


def _gradients(scope: Scope) -> Iterator[Point]:
    kind = "products with gradients"
    few, held = ((512, 1024, 256), (512, 512, 512), (1024, 1024, 512)), ((1024, 512, 256),)
    more = ((256, 2048, 512), (2048, 1024, 256), (128, 1024, 512))
    yield from _shaped(kind, "mnk", scope, few, more, held, ("fp32",))


def _attention(scope: Scope) -> Iterator[Point]:
    names = ("batch", "tokens", "heads", "kv_heads", "head_dim")
    fitted = _ATTENTION if scope.quick else (*_ATTENTION, *_MORE_ATTENTION)
    fitted = fitted[:4] if scope.brief else fitted
    back = _HELD_ATTENTION[:1] if scope.quick else _HELD_ATTENTION
    for kind in ("attention", "attention backward"):
        for shapes, held in ((fitted, False), (back, True)):
            for batch, tokens, heads, kv_heads, width in shapes:
                longer = tokens * min(scope.wide, 4)
                sizes = zip(names, (batch, longer, heads, kv_heads, width), strict=True)
                yield Point(kind, dict(sizes), held=held)


def _memory(scope: Scope) -> Iterator[Point]:
    copied = ("rows", "width")
    yield from _shaped("copy", copied, scope, _COPIES, _MORE_COPIES, (), ("fp32",))
    names = ("rows", "width", "inner")
    for kind in LAYER:
        yield from _shaped(kind, names, scope, _LAYERS, _MORE_LAYERS, _HELD_LAYERS, ("fp32",))


def _experts(scope: Scope) -> Iterator[Point]:
    names = ("experts", "rows", "n", "k")
    for shapes, held in ((_EXPERTS, False), (_HELD_EXPERTS, True)):
        for experts, *shape in shapes:
            sizes = (experts, *_wider(tuple(shape), scope.wide))
            yield Point("experts", dict(zip(names, sizes, strict=True)), held=held)


def _contended(scope: Scope) -> Iterator[Point]:
    """List some kernels with few devices of a process at work."""
    sizes = {
        "products": dict(zip("mnk", _wider((512, 1024, 256), scope.wide), strict=True)),
        "attention": {"batch": 2, "tokens": 256 * min(scope.wide, 4), "heads": 4, "kv_heads": 4,
                      "head_dim": 64},
        "layer": {"rows": 512 * scope.wide, "width": 512 * scope.wide,
                  "inner": 1024 * scope.wide},
    }  # fmt: skip
    for busy in _powers(scope.local):
        for kind in CONTENDED:
            yield Point(kind, sizes[kind], busy=busy)
    for kind in CONTENDED:
        yield Point(kind, sizes[kind])


def _powers(below: int) -> list[int]:
    return [2**i for i in range(12) if 2**i < below]


def _exchanged(level: Level, scope: Scope) -> Iterator[Point]:
    """List a level's collectives; the largest of several counts is held back, and other sizes.

    Counts take turns at each size, so that a slow minute of the machine is in all of them, and
    large messages come first: sockets grow to them.
    """
    divisors = [n for n in range(2, level.members + 1) if level.members % n == 0]
    counts = [n for n in divisors if _tried(n, level)]
    messages = _MESSAGES if scope.quick else (*_MESSAGES, *_MORE_MESSAGES)
    back = _HELD_MESSAGES[1:] if scope.quick else _HELD_MESSAGES
    for size in sorted((*messages, *back), reverse=True):
        for kind in _EXCHANGES:
            for ranks in counts:
                more = counts[0] < ranks and 2 * ranks > level.members
                if scope.quick and more and size not in (_MESSAGES[1], _MESSAGES[2]):
                    continue
                at = {"bytes": size * min(scope.wide, 8), "ranks": ranks, "stride": level.stride}
                yield Point(kind, at, level=level.name, held=more or size in back)


def _tried(count: int, level: Level) -> bool:
    """Whether groups of a count are measured: powers of two, and all members."""
    return count & (count - 1) == 0 or count == level.members
