"""Communication under compute: what shows and what hides. Knows seconds only."""

import numpy as np

from costmodels.units import Num

__all__ = ["exposed_s", "hidden_s"]


def exposed_s(comm_s: Num, compute_s: Num, overlap_frac: Num) -> Num:
    """Seconds of communication that the step waits for.

        (1 - f) c + max(0, f c - k)

    A fraction f of the communication can run beside compute k; what is longer than the compute
    shows. The total, k + exposed, is never below max(k, c) and never above k + c.

    Parameters
    ----------
    comm_s       : c, seconds of communication
    compute_s    : k, seconds of compute that it may run beside
    overlap_frac : f in [0, 1]

    >>> exposed_s(2.0, 1.0, 0.75)
    1.0
    """
    able = overlap_frac * comm_s
    return comm_s - able + np.maximum(0.0, able - compute_s)


def hidden_s(comm_s: Num, compute_s: Num, overlap_frac: Num) -> Num:
    """Seconds of communication that run under compute: `comm_s - exposed_s`."""
    return np.minimum(overlap_frac * comm_s, compute_s)
