"""Prices on rows, raised where too much is used and lowered where room is left.

Each step charges every option for what it uses, eliminates the trees, sweeps the core once (the
messages stay from step to step) and reads picks off the messages; a row's price is multiplied
by exp(pace * excess / capacity), clipped and smoothed over steps. The value of each step is a
true lower bound, whatever the prices:

    bound(price) = least over picks of (cost + sum_r price_r * use_r) - sum_r price_r * capacity_r

`Dual.true_bound` works the best one out again from prices and messages alone, rounded down.
"""

import numpy as np

from planner.search.network.core import Core, Shifted, shifted
from planner.search.network.form import Floats, shapes

__all__ = ["Dual"]

_START = 0.1
_PACE = 2.0
_SLOWER = 0.99
_SLOWEST = 0.2
_TRUST = 0.5
_CLIP = 0.3
_SMOOTH = 0.7
_FLOOR = 1e-9
_TIGHT = 0.1
_ROUNDING = 1e-12


class Dual:
    """Prices and messages, improved step by step."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.pace = _PACE
        self.steps = 0
        net = core.net
        rows = net.capacity.size
        self.scale = np.maximum(net.capacity, _TIGHT * net.capacity.max(initial=1.0))
        self._drift = np.zeros(rows)
        self.price = np.zeros(rows)
        self.picks = np.zeros(net.sizes.size, np.int64)
        self.bound = -np.inf
        self._best = (self.price, core.sweeps.message.copy())
        self._recent: list[float] = []
        self.up, self.total = self._evaluate()

    def start(self, sweeps: int) -> None:
        """Find the scale of prices: a part of the bound without any, spread over the rows."""
        for _ in range(sweeps):
            self.up, self.total = self._evaluate()
        capacity = self.core.net.capacity
        if capacity.size:
            whole = capacity.size * max(float(capacity.max()), 1e-300)
            level = _START * max(abs(self.bound), 1.0) / whole
            self.price = _grid(np.full(capacity.size, level))

    def step(self) -> None:
        """One step of prices and one sweep."""
        core = self.core
        self.pace = max(_SLOWEST, self.pace * _SLOWER)
        self.up, self.total = self._evaluate()
        core.sweeps.decode(self.total, self.picks)
        core.forest.down(self.up, self.picks)
        self._move(core.net.excess(self.picks))
        self.steps += 1

    def correct(self, factor: Floats) -> None:
        """Take prices that exact picks have corrected; trust picks read off messages less."""
        self.price = _grid(self.price * factor)
        self.pace = max(_SLOWEST, self.pace * _TRUST)
        self._drift[:] = 0.0

    def shifted(self) -> Shifted:
        """Return the core with the messages moved into its tables."""
        return shifted(self.core, self.total, self.bound)

    def _evaluate(self) -> tuple[Floats, Floats]:
        """Sweep at the present prices; keep the best bound and what gives it."""
        up = self.core.up(self.price)
        total, value = self.core.sweeps.sweep(up)
        value += self.core.constant(up, self.price)
        if value > self.bound:
            self.bound = value
            self._best = (self.price, self.core.sweeps.message.copy())
        return up, total

    def _move(self, excess: Floats) -> None:
        ratio = np.clip(excess / self.scale, -_CLIP, _CLIP)
        self._drift = _SMOOTH * self._drift + (1.0 - _SMOOTH) * ratio
        price = self.price * np.exp(self.pace * self._drift)
        self.price = _grid(np.maximum(price, _FLOOR * price.max(initial=0.0)))

    def true_bound(self) -> float:
        """Work the best bound out again, from its prices and messages alone, rounded down."""
        core, (price, message) = self.core, self._best
        net, sweeps = core.net, core.sweeps
        up = core.up(price)
        total = up + np.bincount(sweeps.receiver, message, up.size)
        least = np.minimum.reduceat(total, net.start[:-1]) if total.size else total
        slack = total - np.repeat(least, net.sizes)
        parts = [least[core.nodes], core.forest.roots(up), price * -net.capacity, [net.base]]
        for rows, columns, which in shapes(net.sizes[sweeps.low], net.sizes[sweeps.high]):
            low, high = np.arange(rows)[:, None], np.arange(columns)[:, None]
            table = sweeps.oriented(which, rows, columns, False)
            table -= message[sweeps.to_low[which] + low][:, None, :]
            spare = sweeps.share[sweeps.high[which]] * slack[net.start[sweeps.high[which]] + high]
            table += (spare - message[sweeps.to_high[which] + high])[None, :, :]
            parts.append(table.min(axis=(0, 1)))
        values = np.concatenate([np.asarray(part, float) for part in parts])
        size = float(np.abs(values).sum()) + float(np.abs(message).sum())
        return float(values.sum()) - _ROUNDING * size


def _grid(price: Floats) -> Floats:
    """Round prices so that any sum of them is exact: what rows charge is what slots pay."""
    unit = np.exp2(np.ceil(np.log2(max(float(price.sum()), 1e-300))) - 51.0)
    found: Floats = np.rint(price / unit) * unit
    return found
