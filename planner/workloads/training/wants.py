"""What a job wants of each strategy key: its own values where it gives any, else the free ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.dims import CODES
from planner.strategy import Strategy

__all__ = ["Wants"]


@dataclass(frozen=True, slots=True)
class Wants:
    """What the job pins, by key."""

    strategy: Strategy
    coarse: bool = False

    def values(self, key: str, free: Sequence[float]) -> list[float]:
        """Return the allowed values of a key, or the free ones."""
        allowed = self.strategy.allowed(key)
        if allowed is None:
            return [float(v) for v in free]
        return [float(v) for v in allowed if isinstance(v, int | float | bool)]

    def codes(self, key: str, free: Sequence[str]) -> list[float]:
        """Return the codes of the allowed names of a key, or of the free ones."""
        allowed = self.strategy.allowed(key)
        names = [str(v) for v in allowed] if allowed is not None else list(free)
        return [float(CODES[key].index(name)) for name in names]

    def free(self, key: str) -> bool:
        """Tell whether the key is not pinned."""
        return self.strategy.allowed(key) is None
