"""Something run again and again inside one compiled program.

Parts: `repeated`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

__all__ = ["repeated"]


def repeated(kernel: Callable[..., object], turns: int) -> Callable[..., object]:
    """Return the kernel run `turns` times, each after the one before.

    Arrays and results pass a barrier from turn to turn, so that no turn is left out or moved out
    of the loop, and none touches the arrays (writing to them would copy them).
    """

    def run(*arrays: jax.Array) -> object:
        shapes = jax.eval_shape(kernel, *arrays)
        empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def turn(_: object, carry: tuple[tuple[jax.Array, ...], object]) -> object:
            inputs, _before = jax.lax.optimization_barrier(carry)
            return inputs, kernel(*inputs)

        return jax.lax.fori_loop(0, turns, turn, (arrays, empty))[1]

    return run
