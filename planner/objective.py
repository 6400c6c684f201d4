"""What the best plan is best at: one column from a step's time and what the run makes of it.

The search and the report use this one function. Knows names of metrics; no job and no mesh.
"""

from collections.abc import Mapping

from costmodels.units import Column
from planner.errors import InternalError

__all__ = ["NEEDS_RUN", "objective"]

NEEDS_RUN = frozenset({"cost", "time_to_train", "energy", "reliability"})
"""Metrics that need the price of the whole run, not of the step alone."""


def objective(metric: str, figures: Mapping[str, Column]) -> Column:
    """Return the column to minimise.

    Parameters
    ----------
    metric  : step_time, latency: seconds of a step; throughput: device seconds per token;
              cost: USD; time_to_train: seconds; energy: joules; reliability: 1 - goodput;
              devices: devices
    figures : step_time_s, device_seconds_per_token, and, where the metric needs the run,
              cost_usd, time_to_train_s, energy_j, goodput, devices

    Notes
    -----
    Plans that tie in `devices` or `reliability` are told apart by the step's time: a millionth
    of it, scaled to be below any difference in the metric, is added.
    """
    step = figures["step_time_s"]
    if metric in ("step_time", "latency"):
        return step
    if metric == "throughput":
        return figures["device_seconds_per_token"]
    if metric in ("cost", "energy", "time_to_train"):
        return figures[{"cost": "cost_usd", "energy": "energy_j"}.get(metric, "time_to_train_s")]
    tie = 1e-6 * step / (1.0 + step)
    if metric == "reliability":
        return 1.0 - figures["goodput"] + tie
    if metric == "devices":
        return figures["devices"] + tie
    raise InternalError(f"no objective for the metric {metric}")
