"""The whole run: from the step's time to the time, with a stated confidence, until it is done.

`run` takes columns of candidates and gives goodput, the checkpoint interval, failures, and the
mean and the quantile of the time to train. Failures are those of `costmodels.reliability`; here
they get a beginning (the work) and an end (the date). Refuses to know models, machines and money.

Parts: `Run`, `run`, `run_time_quantile_s`.

The quantile covers the chance of failures at the stated rate. It does not cover that the rate
itself is known only within a factor of a few.
"""

from dataclasses import dataclass

import numpy as np

from costmodels.quantiles import gamma_quantile
from costmodels.reliability import (
    ASYNC_STALL_FRAC,
    Cycle,
    Shares,
    best_interval_s,
    growth,
    mtbf_s,
    shortage_probability,
    time_shares,
)
from costmodels.units import Num

__all__ = ["Run", "run", "run_time_quantile_s"]

_NEVER_S = 1e9
_LEAST_GOODPUT = 1e-30
_NO_LOSS = 1e-30
_LONGEST = 100.0  # of an exponent: beyond it a run does not finish


@dataclass(frozen=True, slots=True)
class Run:
    """What failures and checkpoints do to a run, as columns.

    Parameters
    ----------
    goodput               : fraction of the time that advances the run
    checkpoint_interval_s : work between checkpoints
    checkpoint_s          : from the start of a write until it can be read back
    checkpoint_stall_s    : of that, the seconds that the step stops
    mtbf_s                : between failures of hosts that the job uses (preemptions not counted)
    shares                : where the time goes; `shares.useful` is goodput
    time_to_train_s       : mean time of the run; None where the work was not given
    time_to_train_quantile_s : time that the run keeps with the stated confidence
    failures_expected, preemptions_expected : over the run, counting those during restarts
                            waiting for a host takes `shares.waiting` of the time
    """

    goodput: Num
    checkpoint_interval_s: Num
    checkpoint_s: Num
    checkpoint_stall_s: Num
    mtbf_s: Num
    shares: Shares
    time_to_train_s: Num | None
    time_to_train_quantile_s: Num | None
    failures_expected: Num | None
    preemptions_expected: Num | None


def run(
    *,
    hosts: Num,
    checkpoint_bytes: Num,
    checkpoint_bytes_per_s: Num,
    host_mtbf_s: Num,
    restart_s: Num,
    replacement_s: Num,
    work_s: Num | None = None,
    step_s: Num = 0.0,
    asynchronous: bool = True,
    stall_frac: Num = ASYNC_STALL_FRAC,
    checkpoint_interval_s: Num | None = None,
    spare_hosts: Num = 0.0,
    preemption_mean_s: Num = np.inf,
    notice_s: Num = 0.0,
    confidence: Num = 0.9,
) -> Run:
    """Price a run in lockstep on hosts that fail, with checkpoints and restarts.

    Parameters
    ----------
    hosts                  : hosts that the job uses, spares not counted
    checkpoint_bytes       : state of the whole job, each byte once
    checkpoint_bytes_per_s : what one host writes, and reads back after a failure; all hosts share
                             the state evenly
    host_mtbf_s            : mean time between failures of one host; infinite: none
    restart_s              : from a failure to running again, reading not counted
    replacement_s          : mean time until a lost host is replaced when no spare is left
    work_s                 : the run's time without failures and checkpoints, steps * step time;
                             None: not given, then the times are None
    step_s                 : the interval is at least a step
    asynchronous           : writes run beside the steps, which stop for `stall_frac` of the write;
                             the interval is then at least the write
    checkpoint_interval_s  : pinned by the user; None: the best one
    spare_hosts            : idle hosts that step in at once
    preemption_mean_s      : mean time until a spot host is taken; infinite: never
    notice_s               : warning of a preemption; one as long as a write saves the work
    confidence             : probability that the quantile is kept

    Notes
    -----
    The interval is the exact optimum for the failures that lose work; saved preemptions count as
    extra checkpoints and not in the choice of the interval. Checkpoints are counted as
    work / interval, a fraction where it is not whole. Everything else: see
    `costmodels.reliability.time_shares` and `run_time_quantile_s`. A pinned interval shorter than
    the asynchronous write, or than a step, is raised to it.
    """
    write_s = checkpoint_bytes / (hosts * checkpoint_bytes_per_s)
    stall_s = write_s * (stall_frac if asynchronous else 1.0)
    failures_per_s, preemptions_per_s = hosts / host_mtbf_s, hosts / preemption_mean_s
    saves_per_s = np.where(notice_s >= write_s, preemptions_per_s, 0.0)[()]
    losses_per_s = failures_per_s + (preemptions_per_s - saves_per_s)
    least_s = np.maximum(step_s, write_s) if asynchronous else step_s
    length_s = np.inf if work_s is None else work_s
    cycle = Cycle(
        interval_s=_interval_s(checkpoint_interval_s, stall_s, losses_per_s, least_s, length_s),
        stall_s=stall_s,
        recovery_s=restart_s + write_s,
        losses_per_s=losses_per_s,
        durable_s=write_s - stall_s,
        saves_per_s=saves_per_s,
        save_s=write_s,
        short=shortage_probability(
            spare_hosts, losses_per_s + saves_per_s, replacement_s, length_s
        ),
        replacement_s=replacement_s,
        spare_hosts=spare_hosts,
    )
    shares = time_shares(cycle)
    useful = np.maximum(shares.useful, _LEAST_GOODPUT)
    exposed_s = None if work_s is None else work_s / useful * (1.0 - shares.waiting)
    return Run(
        goodput=useful,
        checkpoint_interval_s=cycle.interval_s,
        checkpoint_s=write_s,
        checkpoint_stall_s=stall_s,
        mtbf_s=mtbf_s(hosts, host_mtbf_s),
        shares=shares,
        time_to_train_s=None if work_s is None else work_s / useful,
        time_to_train_quantile_s=(
            None if work_s is None else run_time_quantile_s(confidence, work_s, cycle)
        ),
        failures_expected=None if exposed_s is None else failures_per_s * exposed_s,
        preemptions_expected=None if exposed_s is None else preemptions_per_s * exposed_s,
    )


def _interval_s(
    pinned_s: Num | None, stall_s: Num, losses_per_s: Num, least_s: Num, most_s: Num
) -> Num:
    """Work between checkpoints: the pinned or else the best one, between its limits."""
    wanted_s = best_interval_s(stall_s, losses_per_s) if pinned_s is None else pinned_s
    return np.minimum(np.maximum(wanted_s, least_s), np.minimum(most_s, _NEVER_S))


def run_time_quantile_s(confidence: Num, work_s: Num, cycle: Cycle) -> Num:
    """Time in which the run is done with this probability.

    The run takes its time without failures, F = work (1 + w / tau), plus a loss per failure. No
    failure at all has probability P0 = exp(-rate F), and then F is the answer; otherwise the
    losses together are taken as gamma distributed, with their exact mean given a failure and

        Var = n (Var Z + g (E Z)^2) + n_saved E[Z_saved^2]

    Parameters
    ----------
    confidence : probability in (0, 1) that the run takes no longer
    work_s     : the run's time without failures and checkpoints
    cycle      : how it checkpoints and fails

    Notes
    -----
    Z, the loss of one failure, is the time since the last commit (a truncated exponential), the
    delay d, the restart with its repeats, and the wait for a host, taken as exponential. n is the
    expected number of failures outside restarts, and g = exp(a / M) is what counting failures per
    interval (geometric) adds to counting them as Poisson. The waits' variance is raised by
    S / (S + 1) because shortages come in clusters (fitted to simulation; S spares). Against
    simulation the excess over F at confidence 0.9 was within 2% without spares and 5% with; for a
    run shorter than the time to replace a host, 20% too long at 0.99.
    Source: sums of renewal intervals, Cox, Renewal Theory, 1962; gamma for a compound sum with a
    mass at zero: Bowers et al., Actuarial Mathematics, 1997, chapter 12.
    """
    mean_s, deviation_s = _excess(work_s, cycle)
    shortest_s = work_s * (1.0 + cycle.stall_s / np.maximum(cycle.interval_s, 1e-9))
    events = (cycle.losses_per_s + cycle.saves_per_s) * shortest_s
    none, some = np.exp(-events), np.maximum(-np.expm1(-events), _NO_LOSS)
    given_mean_s = mean_s / some
    square = (deviation_s * deviation_s + mean_s * mean_s) / some
    given_deviation_s = np.sqrt(np.maximum(square - given_mean_s * given_mean_s, 0.0))
    given = np.maximum(confidence - none, 0.0) / some
    excess_s = gamma_quantile(given, given_mean_s, given_deviation_s)
    return np.where(confidence <= none, shortest_s, shortest_s + excess_s)[()]


def _excess(work_s: Num, cycle: Cycle) -> tuple[Num, Num]:
    """Mean and standard deviation of what failures add to the run's time."""
    shares, rate = time_shares(cycle), cycle.losses_per_s + cycle.saves_per_s
    period_s = np.maximum(cycle.interval_s, 1e-9) + cycle.stall_s
    shortest_s = work_s * period_s / (period_s - cycle.stall_s)
    total_s = work_s / np.maximum(shares.useful, _LEAST_GOODPUT)
    mean_s = np.maximum(total_s - shortest_s, 0.0)
    back_s, back_square = _truncated(period_s, rate)
    again_s, again_square = _uninterrupted(cycle.recovery_s, rate)
    loss_s = back_s + cycle.durable_s + again_s + cycle.wait_s
    others = np.floor(cycle.spare_hosts) / (np.floor(cycle.spare_hosts) + 1.0)
    each_s = cycle.replacement_s / (np.floor(cycle.spare_hosts) + 1.0)
    pause = again_square + cycle.wait_s * (2.0 * each_s * (1.0 + others) - cycle.wait_s)
    saved_s = cycle.save_s + again_s + cycle.wait_s
    up_s = total_s * (shares.useful + shares.checkpoint + shares.rework)
    per_interval = np.exp(np.minimum(cycle.losses_per_s * period_s, _LONGEST))
    variance = up_s * (
        cycle.losses_per_s * (back_square + pause + per_interval * loss_s * loss_s)
        + cycle.saves_per_s * (pause + saved_s * saved_s)
    )
    return mean_s, np.sqrt(variance)


def _truncated(length_s: Num, rate_per_s: Num) -> tuple[Num, Num]:
    """Mean and variance of the time of a failure, given that it comes within `length_s`."""
    x = np.minimum(rate_per_s * length_s, _LONGEST)
    small = x < 1e-2
    safe = np.where(small, 1.0, x)
    tail = 1.0 / np.expm1(safe)
    mean = np.where(small, 0.5 - x / 12.0, 1.0 / safe - tail)
    square = np.where(small, 1.0 / 12.0 - x * x / 240.0, 1.0 / (safe * safe) - tail - tail * tail)
    return length_s * mean, length_s * length_s * np.maximum(square, 0.0)


def _uninterrupted(length_s: Num, rate_per_s: Num) -> tuple[Num, Num]:
    """Mean and variance of the time until `length_s` has passed without a failure.

    (exp(x) - 1) / rate, and (exp(2 x) - 1 - 2 x exp(x)) / rate^2, with x = rate * length.
    """
    x = np.minimum(rate_per_s * length_s, _LONGEST)
    small = x < 1e-2
    safe = np.where(small, 1.0, x)
    direct = (np.expm1(2.0 * safe) - 2.0 * safe * np.exp(safe)) / (safe * safe)
    series = x / 3.0 + x * x / 3.0 + 11.0 / 60.0 * x**3
    return length_s * growth(x), length_s * length_s * np.where(small, series, direct)
