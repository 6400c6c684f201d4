"""A reference and example shapes -> a traced loss: shapes only, no array is allocated.

`package.module:loss` is called as `loss(parameters, **inputs)` and must return a scalar (or a
tuple that starts with it). What the parameters are is said by `init(key)` of the same module, of
which only the shapes are evaluated. Importing the module runs its code. The loss is traced as
`jax.vjp` runs it, so that the trace also returns what JAX keeps for the backward pass.

Parts: `Reference`, `find`, `shapes_of`, `trace`.
"""

import importlib
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import SpecError

if TYPE_CHECKING:
    import jax
    from jax.extend.core import ClosedJaxpr

__all__ = ["Function", "InputShape", "Traced", "find", "trace"]

InputShape = tuple[tuple[int, ...], str | None]
"""Shape, and the number format or None: not said."""
MOST = 600
"""Characters of a message that the user's code had a part in."""
NUMBERS = ("token", "id", "label", "index", "indices", "target", "segment", "position")
"""Words in the name of an input that let whole numbers be tried before others."""


@dataclass(frozen=True)
class Function:
    """A loss, and the `init` beside it."""

    reference: str
    loss: Callable[..., object]
    init: Callable[..., object]


@dataclass(frozen=True)
class Traced:
    """A traced loss; `dtypes`: the number format that each input was traced with."""

    jaxpr: "ClosedJaxpr"
    parameters: tuple[str, ...]
    shapes: Mapping[str, tuple[tuple[int, ...], str]]
    inputs: tuple[str, ...]
    dtypes: Mapping[str, str]


def find(reference: str, folder: Path | None = None) -> Function:
    """Import the module of a reference, from `folder` or from where Python looks.

    Raises
    ------
    SpecError : with key workload.model.jax, for whatever is wrong with it
    """
    name, _, member = reference.partition(":")
    if not name or not member.isidentifier():
        raise _wrong(f"got {reference!r}; allowed: package.module:function")
    try:
        module = _imported(name, folder)
    except ImportError as error:
        raise _wrong(f"cannot import {name}: {error}") from None
    except Exception as error:  # the user's code runs here
        raise _wrong(f"importing {name} fails: {type(error).__name__}: {error}") from None
    loss, init = getattr(module, member, None), getattr(module, "init", None)
    if not callable(loss):
        raise _wrong(f"module {name} has no function {member}")
    if not callable(init):
        raise _wrong(
            f"module {name} has no function init(key) that makes the parameters of {member}"
        )
    return Function(reference, loss, init)


def _imported(name: str, folder: Path | None) -> object:
    if folder is None:
        return importlib.import_module(name)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def _wrong(message: str, key: str = "workload.model.jax") -> SpecError:
    return SpecError(" ".join(message.split())[:MOST], key=key)


def trace(
    function: Function, inputs: Mapping[str, InputShape], float_dtype: str = "bfloat16"
) -> Traced:
    """Trace a loss on shapes.

    Parameters
    ----------
    inputs      : by name of the argument; where no number format is given, floats and whole
                  numbers are tried, those first whose names say so
    float_dtype : of parameters and of inputs that are not whole numbers: the job's precision

    Raises
    ------
    SpecError : the function cannot be traced with these shapes
    """
    import jax

    parameters = _parameters(function, float_dtype)
    leaves, tree = jax.tree_util.tree_flatten_with_path(parameters)
    names = tuple(jax.tree_util.keystr(p, simple=True, separator="/") or "parameters"
                  for p, _ in leaves)  # fmt: skip
    first: Exception | None = None
    for dtypes in _tries(inputs):
        given = {
            name: _struct(shape, dtypes[name] if dtypes[name] != "float" else
                                       float_dtype)
            for name, (shape, _) in inputs.items()
        }  # fmt: skip
        try:
            jaxpr = jax.make_jaxpr(_forward(function))(parameters, given)
        except SpecError:
            raise
        except Exception as error:  # the user's code runs here
            first = first or error
            continue
        shapes = {
            n: (tuple(s.shape), str(s.dtype)) for n, (_, s) in zip(names, leaves, strict=True)
        }
        said = {name: str(given[name].dtype) for name in inputs}
        return Traced(jaxpr, names, shapes, tuple(sorted(inputs)), said)
    assert first is not None
    lines = str(first).strip().splitlines() or [""]
    raise _wrong(
        f"{function.reference} cannot be traced with these inputs: {type(first).__name__}:"
        f" {lines[0]}", "workload.model.inputs",
    )  # fmt: skip


def _struct(shape: Sequence[int], dtype: object) -> "jax.ShapeDtypeStruct":
    import jax

    made: jax.ShapeDtypeStruct = jax.ShapeDtypeStruct(tuple(shape), dtype)
    return made


def _parameters(function: Function, float_dtype: str) -> object:
    """Shapes of what `init` returns; floats in the job's precision."""
    import jax
    import numpy as np

    takes = len(inspect.signature(function.init).parameters)
    try:
        if takes:
            made = jax.eval_shape(function.init, jax.eval_shape(lambda: jax.random.key(0)))
        else:
            made = jax.eval_shape(function.init)
    except Exception as error:  # the user's code runs here
        raise _wrong(f"init beside {function.reference} fails: {type(error).__name__}: {error}"
                     ) from None  # fmt: skip

    def cast(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        floating = jax.numpy.issubdtype(leaf.dtype, np.floating)
        return _struct(leaf.shape, float_dtype if floating else leaf.dtype)

    cast_all: object = jax.tree.map(cast, made)
    return cast_all


def _forward(function: Function) -> Callable[[object, Mapping[str, object]], object]:
    import jax
    import numpy as np

    def loss(parameters: object, inputs: Mapping[str, object]) -> object:
        out = function.loss(parameters, **inputs)
        out = out[0] if isinstance(out, tuple) else out
        shape = getattr(out, "shape", None)
        floating = jax.numpy.issubdtype(getattr(out, "dtype", np.int32), np.floating)
        if shape != () or not floating:
            raise _wrong(f"{function.reference} must return a scalar loss; it returns {out}")
        return out

    def forward(parameters: object, inputs: Mapping[str, object]) -> object:
        return jax.vjp(lambda p: loss(p, inputs), parameters)

    return forward


def _tries(inputs: Mapping[str, InputShape]) -> Iterator[dict[str, str]]:
    """Yield number formats to try, the likeliest first."""
    said = {name: dtype for name, (_, dtype) in inputs.items() if dtype is not None}
    free = [name for name in inputs if name not in said]
    guess = tuple("int32" if _whole(name) else "float" for name in free)
    tries: list[Sequence[str]] = [guess, ("float",) * len(free), ("int32",) * len(free)]
    tries += itertools.islice(itertools.product(("float", "int32"), repeat=len(free)), 32)
    for one in dict.fromkeys(tuple(t) for t in tries):
        yield {**dict(zip(free, one, strict=True)), **said}


def _whole(name: str) -> bool:
    words = name.lower().split("_")
    return any(word.rstrip("s") in NUMBERS or word in NUMBERS for word in words)
