"""Failures and checkpoints: how often to write, and what fraction of the time advances the run.

A run in lockstep stops when any of its hosts fails, goes back to its last durable checkpoint,
waits for a host where no spare is left, restarts, and does the lost work again. All of it is exact
renewal arithmetic of Poisson failures; the first-order formulas of Young and Daly are here beside
it. Refuses to know what a checkpoint holds, how long the whole run is and what it costs
(`costmodels.run`). Elastic continuation with fewer hosts and correlated failures (a whole rack, a
whole spot market) are not modelled.

Parts: `mtbf_s`, `mtbf_is_optimistic`, `young_interval_s`, `daly_interval_s`, `first_order_waste`,
`best_interval_s`, `shortage_probability`, `Cycle`, `Shares`, `time_shares`, `goodput`.
"""

from dataclasses import dataclass

import numpy as np

from costmodels.units import Num

__all__ = [
    "ASYNC_STALL_FRAC",
    "Cycle",
    "Shares",
    "best_interval_s",
    "daly_interval_s",
    "first_order_waste",
    "goodput",
    "growth",
    "mtbf_is_optimistic",
    "mtbf_s",
    "shortage_probability",
    "time_shares",
    "young_interval_s",
]

# Share of an asynchronous write that stops the step (the copy to host memory). Basis: assumed, four
# times the 0.012 measured with pinned buffers (0.78 s of 67 s; Llama 3 70B on 1,856 H200,
# "6x faster async checkpointing", PyTorch blog, 2025): most stacks copy to pageable memory.
ASYNC_STALL_FRAC = 0.05
# Below this many devices measured jobs fail more often than their hosts do: 7.9 h against a
# predicted 28.9 h on 1,024 GPUs (measured; Kokolis et al., HPCA 2025). The line itself is assumed.
FEW_DEVICES = 4096.0
_LONGEST = 200.0  # of an exponent: beyond it a run does not finish
_NO_LOSS = 1e-30
_LEAST_GOODPUT = 1e-30


def mtbf_s(hosts: Num, host_mtbf_s: Num) -> Num:
    """Mean time between failures of a job that needs every one of its hosts: M_host / hosts.

    Notes
    -----
    Independent Poisson failures of hosts alone; see `mtbf_is_optimistic`.
    Source: Kokolis et al., HPCA 2025 (24 h / (0.0065 * nodes)).

    >>> print(f"{mtbf_s(2048.0, 86400 / 0.0065) / 3600:.4f}")
    1.8029
    """
    return host_mtbf_s / hosts


def mtbf_is_optimistic(devices: Num) -> Num:
    """1 where the job is so small that software and users end it more often than hosts; else 0.

    Notes
    -----
    Source: Kokolis et al., HPCA 2025: jobs of 1,024 GPUs failed every 7.9 h where the rate of
    their nodes gives 28.9 h. Which count ends the regime is assumed.
    """
    return np.where(np.asarray(devices) < FEW_DEVICES, 1.0, 0.0)[()]


def young_interval_s(stall_s: Num, mtbf_s: Num) -> Num:
    """Work between checkpoints, first order: sqrt(2 w M).

    Notes
    -----
    For w much below M. Source: Young, CACM 17(9), 1974.

    >>> print(f"{young_interval_s(10.0, 3.0931 * 3600):.1f}")
    471.9
    """
    return np.sqrt(2.0 * stall_s * mtbf_s)


def daly_interval_s(stall_s: Num, mtbf_s: Num) -> Num:
    """Work between checkpoints, Daly's first order: sqrt(2 w M) - w, at least 0.

    Notes
    -----
    For w below M / 2. Source: Daly, FGCS 22(3), 2006.

    >>> print(f"{daly_interval_s(10.0, 3.0931 * 3600):.1f}")
    461.9
    """
    return np.maximum(np.sqrt(2.0 * stall_s * mtbf_s) - stall_s, 0.0)


def first_order_waste(interval_s: Num, stall_s: Num, mtbf_s: Num) -> Num:
    """Time lost to writing and to lost work, over the useful time: w / tau + tau / (2 M).

    Notes
    -----
    For tau much below M; restarts not counted. Source: Young, CACM 17(9), 1974.
    """
    return stall_s / interval_s + interval_s / (2.0 * mtbf_s)


def growth(exponent: Num) -> Num:
    """(exp(x) - 1) / x, which is 1 at 0: how much longer a wait is when failures interrupt it."""
    x = np.minimum(exponent, _LONGEST)
    safe = np.where(x == 0.0, 1.0, x)
    return np.where(x == 0.0, 1.0, np.expm1(safe) / safe)[()]


def best_interval_s(stall_s: Num, losses_per_s: Num) -> Num:
    """Work between checkpoints that makes goodput largest, exactly.

    It solves exp((tau + w) / M) (1 - tau / M) = 1, that is

        -x - ln(1 - x) = w / M,  x = tau / M,  M = 1 / losses_per_s

    Parameters
    ----------
    stall_s      : w >= 0, seconds that a checkpoint stops the step
    losses_per_s : rate of failures that lose work; zero gives infinity

    Notes
    -----
    Restart time and a delay until the checkpoint is durable multiply the run's time and leave the
    optimum where it is. Newton's steps from above converge monotonically (the left side is
    convex); a series replaces them for small w / M, where the left side loses digits.
    Source: the optimum of Daly, FGCS 22(3), 2006 (Lambert's W in closed form).
    """
    rate = np.maximum(losses_per_s, _NO_LOSS)
    target = np.minimum(stall_s * rate, 30.0)  # beyond it the interval is M to 13 digits
    first = np.sqrt(2.0 * target)
    series = first * (1.0 - first / 3.0 + first * first / 36.0)
    safe = np.maximum(target, 1e-6)
    x = np.minimum(np.sqrt(2.0 * safe), -np.expm1(-(1.0 + safe)))
    for _ in range(8):
        x = x - (-x - np.log1p(-x) - safe) * (1.0 - x) / x
    found = np.where(first < 1e-2, series, x) / rate
    return np.where(losses_per_s > _NO_LOSS, found, np.inf)[()]


def shortage_probability(
    spare_hosts: Num, events_per_s: Num, replacement_s: Num, elapsed_s: Num = np.inf
) -> Num:
    """Probability that the loss of a host finds every spare in use, so that the run must wait.

        B(S, rho),  B(0) = 1,  B(n) = rho B(n - 1) / (n + rho B(n - 1)),
        rho = events_per_s r (1 - exp(-L / r))

    Parameters
    ----------
    spare_hosts   : S >= 0 idle hosts that step in at once
    events_per_s  : rate at which running hosts are lost
    replacement_s : r, mean time until a lost host, or another for it, comes back
    elapsed_s     : L, length of the run, which begins with all spares; infinite: steady state

    Notes
    -----
    The run stops when S + 1 hosts are away, and nothing fails while it waits: that is Erlang's
    loss system with S + 1 servers, of which a failing host sees the first S; the answer depends
    on the replacement time's mean alone. rho is the mean number away at the end of the run (an
    M/M/infinity system that begins empty), so a short run is priced a little high. Spares
    themselves do not fail.
    Source: Erlang 1917; insensitivity: Sevastyanov 1957.

    >>> print(f"{shortage_probability(1.0, 1e-3, 250.0):.3f}")
    0.200
    """
    safe = np.maximum(replacement_s, 1e-9)
    load = events_per_s * safe * -np.expm1(-elapsed_s / safe)
    spares = np.floor(spare_hosts)
    short: Num = np.ones(np.broadcast(np.asarray(load), np.asarray(spares)).shape)[()]
    for n in range(1, int(np.max(spares)) + 1):
        short = np.where(n <= spares, load * short / (n + load * short), short)[()]
    return short


@dataclass(frozen=True, slots=True)
class Cycle:
    """How a run checkpoints, and what interrupts it: columns, or single values.

    Parameters
    ----------
    interval_s   : tau, work between checkpoints
    stall_s      : w, seconds that a checkpoint stops the step
    recovery_s   : R, from the loss of a host (or its replacement) to running again; starts anew
                   if another host is lost in it
    losses_per_s : rate 1 / M of failures that throw the run back to its last checkpoint
    durable_s    : d, seconds after the stall until the checkpoint can be read back (an
                   asynchronous write still under way); zero when writes block
    saves_per_s  : rate of announced losses, in whose notice a checkpoint is written
    save_s       : seconds of that write
    short        : probability that a lost host has no spare (`shortage_probability`)
    replacement_s, spare_hosts : one of the hosts away returns after replacement_s / (spares + 1)
    """

    interval_s: Num
    stall_s: Num
    recovery_s: Num
    losses_per_s: Num
    durable_s: Num = 0.0
    saves_per_s: Num = 0.0
    save_s: Num = 0.0
    short: Num = 0.0
    replacement_s: Num = 0.0
    spare_hosts: Num = 0.0

    @property
    def wait_s(self) -> Num:
        """Mean wait for a host per loss of one."""
        return self.short * self.replacement_s / (np.floor(self.spare_hosts) + 1.0)


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the run's time goes, as fractions that sum to 1.

    `useful` is goodput; `checkpoint` is the step stopped for a write; `rework` is work done that a
    failure undid; `restart` is detecting, restarting and reading; `waiting` is for a host.
    """

    useful: Num
    checkpoint: Num
    rework: Num
    restart: Num
    waiting: Num


def time_shares(cycle: Cycle) -> Shares:
    """Split a long run's time by what it is spent on.

    Notes
    -----
    With u = losses + saves per second, f the losses' part of u, a = tau + w, and V the mean wait
    per event, short * replacement_s / (spares + 1),

        useful = (f tau exp(-u (a + d)) + (1 - f) (1 - exp(-u tau)) / u) u / (1 - exp(-u a))
                 / (exp(u R) (1 + u V) + saves save_s)

    An up-time between two events is exponential: a loss keeps the checkpoints that were durable
    by then, a save keeps all work. It is exact for Poisson events, and Daly's model, tau /
    (M exp((R + d) / M) (exp(a / M) - 1)), where nothing is saved and nobody waits.
    Source: Daly, FGCS 22(3), 2006; renewal-reward theorem.
    """
    interval_s, stall_s = np.maximum(cycle.interval_s, 1e-9), cycle.stall_s
    rate = cycle.losses_per_s + cycle.saves_per_s
    saved = cycle.saves_per_s / np.maximum(rate, _NO_LOSS)
    worked = interval_s * growth(-rate * interval_s)
    stalled = np.exp(-rate * interval_s) * stall_s * growth(-rate * stall_s)
    durable = interval_s * np.exp(-rate * (interval_s + stall_s + cycle.durable_s))
    repeated = np.exp(np.minimum(rate * cycle.recovery_s, _LONGEST))
    waited = repeated * rate * cycle.wait_s
    saving = cycle.saves_per_s * cycle.save_s
    running = 1.0 / (repeated + waited + saving)
    per_up = running / (worked + stalled)
    useful = per_up * ((1.0 - saved) * durable + saved * worked)
    rework = per_up * (1.0 - saved) * np.maximum(worked - durable, 0.0)
    checkpoint = per_up * stalled + running * saving
    restart, waiting = running * (repeated - 1.0), running * waited
    return Shares(useful, checkpoint, rework, restart, waiting)


def goodput(
    interval_s: Num, stall_s: Num, recovery_s: Num, losses_per_s: Num, durable_s: Num = 0.0
) -> Num:
    """Fraction of the time that advances the run: `time_shares(...).useful`, at least 1e-30.

    >>> print(f"{goodput(421.0, 10.0, 300.0, 1500 * 0.0065 / 86400):.4f}")
    0.9215
    """
    cycle = Cycle(interval_s, stall_s, recovery_s, losses_per_s, durable_s)
    return np.maximum(time_shares(cycle).useful, _LEAST_GOODPUT)
