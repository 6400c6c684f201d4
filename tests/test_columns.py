"""Every cost function prices a column as it prices each row, and its prices are finite and >= 0.

The arguments are built from the unit suffixes of the parameters' names, so a new function in
`costmodels` is judged as soon as it stands in its module's `__all__`.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import costmodels
from costmodels.breakdown import Breakdown, Term
from costmodels.collectives import ALGORITHMS
from costmodels.energy import ACTIVITY
from costmodels.hops import PLAIN, Hop, Line, Shared, Span, Transport
from costmodels.units import Column, Num

NOT_OF_COLUMNS = {
    "collectives.all_gather_choice": "names the algorithm of one plan",
    "collectives.all_reduce_choice": "names the algorithm of one plan",
    "collectives.usable": "tells what one plan can use",
    "protocols.cheapest_exchange_s": "takes what is put on each level: judged by collectives",
    "protocols.cheapest_s": "takes what an algorithm puts on each level: judged by collectives",
    "protocols.crossed_s": "of one level, judged by collectives",
    "protocols.lines_of": "lists what a library offers",
    "protocols.most_bytes_of": "infinite where nothing binds",
    "protocols.shared_s": "of one level, judged by collectives",
    "speedup.fit": "takes the measurements of one design",
    "units.scalar": "takes the number out of a column of one",
}
SIGNED = {"quantiles.normal_quantile": "negative below the median"}
UNBOUNDED = {
    "reliability.best_interval_s": "never, where nothing is lost",
    "run.run": "its mtbf_s is infinite where no host fails",
    "speedup.best_count": "any number of machines, where sending is free",
    "speedup.dominated_from": "never, where sending is free",
}

Numbers = st.SearchStrategy[float]


def between(low: float, high: float) -> Numbers:
    return st.floats(low, high, allow_subnormal=False)


def counts(low: int, high: int) -> Numbers:
    return st.integers(low, high).map(float)


BY_NAME: dict[str, Numbers] = {
    "schedule": counts(0, 4),
    "stages": counts(8, 128),
    "stage": counts(0, 7),  # of at least 8
    "probability": between(1e-6, 1 - 1e-6),
    "confidence": between(0.01, 0.999),
    "activity": between(0.0, 1.0),
    "overhead": between(1.0, 3.0),
    "exponent": between(-50.0, 300.0),
    "copies": counts(1, 16),
    "domains": counts(1, 16),
    "once_a_rank": counts(0, 1),
    "distance": between(1.0, 50.0),
    "m": counts(0, 10**6),
    "n": counts(0, 10**6),
    "k": counts(0, 10**6),
    "a": between(0.0, 1e6),
    "b": between(0.0, 1e6),
    "mean": between(0.0, 1e6),
    "deviation": between(0.0, 1e6),
    "spare_hosts": counts(0, 20),
    "steps": counts(0, 10**7),
    "interval_s": between(1.0, 1e6),
    "checkpoint_interval_s": between(1.0, 1e6),
    "mtbf_s": between(1.0, 1e9),
    "host_mtbf_s": between(1e4, 1e10),
    "preemption_mean_s": between(1e4, 1e10),
    "compute_s": between(1e-6, 1e3),
    "work_s": between(1.0, 1e9),
    "run_s": between(0.0, 1e8),
    "limit": counts(1, 10**6),
    "useful": between(1e-3, 1.0),
    "element_bytes": between(0.5, 8.0),
    "output_bytes": between(0.5, 8.0),
    "parameters": between(1e6, 1e13),
    "sites": counts(1, 64),
    "loss": between(0.5, 12.0),
    "log_loss": between(0.0, 1.0),
    "staleness": counts(0, 64),
    "doublings": between(0.0, 20.0),
    "batch_tokens": between(1e3, 1e9),
    "critical_tokens": between(1e3, 1e9),
    "epochs": counts(1, 50),
    "samples": counts(1, 10**6),
    "clients": counts(1, 10**4),
    "batch_samples": counts(0, 1000),
    "fill": between(0.0, 1e3),
    "tail": between(0.0, 1.0),
    "growth": between(0.0, 8.0),
    "split": between(16.0, 1e6),
    "head_dim": counts(16, 512),
    "softmax_dim": between(0.0, 1e3),
    "sequences": counts(1, 10**4),
    "heads": counts(1, 256),
    "kv_heads": counts(1, 256),
    "context_tokens": counts(0, 10**6),
    "reread": between(0.1, 10.0),
    "units": counts(1, 256),
}
BY_SUFFIX: dict[str, Numbers] = {
    "_bytes_per_s": between(1e3, 1e14),
    "_flop_per_s": between(1e6, 1e17),
    "losses_per_s": between(0.0, 1e-3),
    "_per_s": between(0.0, 1e-3),
    "_usd_per_device_hour": between(0.0, 100.0),
    "_bytes": between(0.0, 1e13),
    "_frac": between(0.0, 1.0),
    "_flop": between(0.0, 1e19),
    "_w": between(0.0, 2e3),
    "_j": between(0.0, 1e12),
    "_s": st.one_of(st.just(0.0), between(1e-9, 1e4)),
}
FRACTIONS = ("checkpoint", "rework", "restart", "waiting", "short")
COUNTS = (
    "rows",
    "experts",
    "batches",
    "ranks",
    "devices",
    "hosts",
    "chunks",
    "microbatches",
    "count",
    "stages",
)
CHOICES: dict[str, tuple[object, ...]] = {
    "algorithm": ("auto", *ALGORITHMS),
    "tile_m": (64, 128),
    "tile_n": (128, 256),
    "units": (1, 132),
    "power": (1.0, 2.5, 4.0),
    "asynchronous": (True, False),
    "in_switch": (True, False),
    "transport": (
        PLAIN,
        Transport(by_levels=True),
        Transport(
            (Line(5e-6, 1.0, 0.05), Line(2e-5, 4.0)),
            (Line(6e-6), Line(1e-5)),
            own_part=0.5,
            own_scattered=0.25,
            pair_most=1e6,
        ),
        Transport((Line(5e-6), Line(2e-5)), shared=Shared(0.05, 0.8)),
        Transport(
            (Line(5e-6, 1.0, 0.5), Line(2e-5)),
            (Line(6e-6), Line(1e-5)),
            pair_most=1e6,
            shared=Shared(0.05, 0.8, rank_most=7e4, peer_most=3e4),
        ),
    ),
    "turns": (None,),
}


def numbers(name: str) -> Numbers:
    """Return what a parameter of this name may be."""
    if name in BY_NAME:
        return BY_NAME[name]
    if name in FRACTIONS:
        return between(0.0, 1.0)
    if any(name == word or name.endswith("_" + word) for word in COUNTS):
        return counts(1, 10**5)
    for suffix, strategy in BY_SUFFIX.items():
        if ("_" + name).endswith(suffix):
            return strategy
    raise AssertionError(f"{name} has no unit suffix; give it one, or a line in BY_NAME")


Make = Callable[[Mapping[str, Num]], Any]


def parameter(hint: object, path: str, draw: st.DrawFn, leaves: dict[str, Numbers]) -> Make:
    """Note the numbers that a parameter is made of, and return how it is made of them."""
    name = path.rpartition(".")[2]
    if name in CHOICES:
        chosen = draw(st.sampled_from(CHOICES[name]))
        return lambda _: chosen
    options = typing.get_args(hint) if typing.get_origin(hint) is types.UnionType else (hint,)
    if type(None) in options and draw(st.booleans()):
        return lambda _: None
    if float in options:
        leaves[path] = numbers(name)
        return lambda values: values[path]
    if hint == Span:
        levels = draw(st.integers(1, 3))
        hops = [record(Hop, f"{path}.{i}", draw, leaves, name=f"level {i}") for i in range(levels)]
        return lambda values: tuple(make(values) for make in hops)
    if hint is Breakdown:
        kinds = draw(st.lists(st.sampled_from([*ACTIVITY, "unheard of"]), max_size=4))
        terms = [
            record(Term, f"{path}.{i}", draw, leaves, name="", kind=kind, source="")
            for i, kind in enumerate(kinds)
        ]
        return lambda values: Breakdown(tuple(make(values) for make in terms))
    assert isinstance(hint, type)
    assert dataclasses.is_dataclass(hint), f"{path}: nothing builds a {hint}"
    return record(hint, path, draw, leaves)


def record(
    made: type, path: str, draw: st.DrawFn, leaves: dict[str, Numbers], /, **fixed: object
) -> Make:
    """Build a dataclass field by field."""
    hints = typing.get_type_hints(made)
    makes = {
        field.name: parameter(hints[field.name], f"{path}.{field.name}", draw, leaves)
        for field in dataclasses.fields(made)
        if field.name not in fixed
    }
    return lambda values: made(**fixed, **{name: make(values) for name, make in makes.items()})


@st.composite
def calls(draw: st.DrawFn, function: Callable[..., Any]) -> tuple[Make, dict[str, Column]]:
    """Draw a way to make the function's arguments, and columns of one to four rows for it."""
    leaves: dict[str, Numbers] = {}
    hints = typing.get_type_hints(function)
    makes = {
        name: parameter(hints[name], name, draw, leaves)
        for name in inspect.signature(function).parameters
    }
    length = draw(st.integers(1, 4))
    columns = {
        path: np.array(draw(st.lists(strategy, min_size=length, max_size=length)))
        for path, strategy in leaves.items()
    }
    return lambda values: {name: make(values) for name, make in makes.items()}, columns


def prices(returned: object, path: str = "") -> Iterator[tuple[str, Num]]:
    """List the numbers in what a function returned."""
    if dataclasses.is_dataclass(returned):
        for field in dataclasses.fields(returned):
            value = getattr(returned, field.name)
            if value is not None:
                yield from prices(value, f"{path}.{field.name}")
    elif isinstance(returned, tuple | list):
        for i, value in enumerate(returned):
            yield from prices(value, f"{path}.{i}")
    else:
        yield path, typing.cast("Num", returned)


def functions() -> dict[str, Callable[..., Any]]:
    """Every public function of `costmodels`, by module and name."""
    found = {}
    for info in pkgutil.iter_modules(costmodels.__path__):
        module = importlib.import_module(f"costmodels.{info.name}")
        for name in module.__all__:
            if inspect.isfunction(getattr(module, name)):
                found[f"{info.name}.{name}"] = getattr(module, name)
    return found


FUNCTIONS = functions()
OF_COLUMNS = sorted(set(FUNCTIONS) - set(NOT_OF_COLUMNS))


def test_every_exception_is_still_there() -> None:
    assert {*NOT_OF_COLUMNS, *SIGNED, *UNBOUNDED} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", OF_COLUMNS)
def test_a_column_is_priced_as_its_rows(name: str) -> None:
    function = FUNCTIONS[name]

    @settings(max_examples=25)
    @given(calls(function))
    def judge(call: tuple[Make, dict[str, Column]]) -> None:
        make, columns = call
        length = len(next(iter(columns.values())))
        together = list(prices(function(**make(columns))))
        assert together
        for row in range(length):
            short = {path: column[row : row + 1] for path, column in columns.items()}
            plain = {path: float(column[row]) for path, column in columns.items()}
            alone = list(prices(function(**make(short))))
            scalar = list(prices(function(**make(plain))))
            for (path, many), (_, one), (_, bare) in zip(together, alone, scalar, strict=True):
                here = float(np.broadcast_to(np.asarray(many), (length,))[row])
                assert here == float(np.ravel(one)[0]), (path, row)
                assert here == pytest.approx(float(bare), rel=1e-9, abs=1e-300), (path, row)
                assert here >= 0.0 or name in SIGNED, (path, row)
                assert np.isfinite(here) or name in UNBOUNDED, (path, row)

    judge()
