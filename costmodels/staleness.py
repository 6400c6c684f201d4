"""What looser agreement between replicas costs in learning: updates to a target, over synchronous.

A synchronous step is 1. Local updates (replicas that average their parameters every H steps) are
priced by published laws of loss, stale gradients by the split of an optimizer's work into a part
that noise limits and a part that curvature limits. Every factor is at the same global batch and
never below 1. Knows laws and their validity; no machine and no seconds (`costmodels.local_sgd`
has those).

Parts: `dp_loss`, `diloco_loss`, `dp_batch_tokens`, `diloco_batch_tokens`; `local_log_loss`,
`local_doubt`, `tokens_factor`; `critical_batch_tokens`, `steps_over_least`, `samples_over_least`,
`stale_factor`; `updates_per_round`.

Source: Charles et al., Scaling Laws for DiLoCo, 2025 (arXiv 2503.09799), tables 8, 10, 11;
McCandlish et al., An Empirical Model of Large-Batch Training, 2018; Kaplan et al. 2020.
"""

import numpy as np

from costmodels.units import Num

__all__ = [
    "DOUBT",
    "LAW_PARAMETERS",
    "LAW_SITES",
    "LAW_STEPS",
    "MOST_STALE",
    "critical_batch_tokens",
    "diloco_batch_tokens",
    "diloco_loss",
    "dp_batch_tokens",
    "dp_loss",
    "local_doubt",
    "local_log_loss",
    "samples_over_least",
    "stale_factor",
    "steps_over_least",
    "tokens_factor",
    "updates_per_round",
]

LAW_PARAMETERS = (35e6, 2.4e9)
"""Parameters of the models that the loss laws were fitted to (the paper tries 4e9 and 1e10)."""
LAW_SITES = (1.0, 8.0)
"""Groups of replicas that the loss law was fitted to."""
LAW_STEPS = 30.0
"""H of the runs that the loss law was fitted to."""
MOST_STALE = 8.0
"""Steps of staleness with any published success at scale: AReaL (arXiv 2505.24298), and there
with an objective made for it; its plain objective collapsed above 1."""
PER_E_FOLD = 0.0035
"""Log of the loss that each e-fold of H above `LAW_STEPS` adds (assumed: the order of the 3% of
perplexity that Douillard et al. 2023, arXiv 2311.08105, saw from H = 50 to H = 1000)."""
DOUBT = 0.002
"""Doubt in the log of the loss inside the law's range, about 4% of tokens (assumed)."""
DOUBT_PER_E_FOLD = 0.001
"""What each e-fold outside the range, of parameters, groups or H, adds to the doubt (assumed)."""
DP_EXPONENT = 0.0953


def dp_loss(parameters: Num) -> Num:
    """Loss of data-parallel training on compute-optimal tokens, nats per token.

        L = 18.129 N^-0.0953

    Notes
    -----
    Fitted to 35 million to 2.4 billion parameters on C4, 20 tokens a parameter.
    Source: Charles et al. 2025, table 8.

    >>> round(dp_loss(2.4e9), 3)
    2.314
    """
    return 18.129 * parameters**-DP_EXPONENT


def diloco_loss(parameters: Num, sites: Num) -> Num:
    """Loss of M groups that take H = 30 local steps between outer ones, same tokens.

        L = 19.226 N^-0.0985 M^0.0116

    Notes
    -----
    Validity as `dp_loss`, M from 1 to 8, each with its best batch and outer learning rate.
    Source: Charles et al. 2025, table 10.

    >>> round(diloco_loss(2.4e9, 4.0), 3)
    2.328
    """
    return 19.226 * parameters**-0.0985 * sites**0.0116


def dp_batch_tokens(parameters: Num) -> Num:
    """Best global batch of data-parallel training, tokens: 462.68 N^0.281.

    Source: Charles et al. 2025, table 11; validity as `dp_loss`.
    """
    return 462.68 * parameters**0.281


def diloco_batch_tokens(parameters: Num, sites: Num) -> Num:
    """Best global batch of M groups of local updates, tokens: 14.521 N^0.4695 M^0.3399.

    Source: Charles et al. 2025, table 11; validity as `diloco_loss`.
    """
    return 14.521 * parameters**0.4695 * sites**0.3399


def local_log_loss(parameters: Num, sites: Num, steps: Num) -> Num:
    """Log of the loss of local updates over that of synchronous training, at least 0.

        max(0, ln(L_local / L_dp)) + 0.0035 max(0, ln(H / 30))

    Notes
    -----
    The law itself has two groups slightly *better* than synchronous training, and all of them
    beyond some ten billion parameters: that gain is not taken. The published tables fix H; its
    slope is assumed (`PER_E_FOLD`), logarithmic and not linear: runs reported to H = 1000 lose
    little, and federated tables saturate or turn back, so 1/H is never a saving in updates.
    """
    law = np.log(diloco_loss(parameters, sites) / dp_loss(parameters))
    longer = np.log(np.maximum(1.0, steps / LAW_STEPS))
    return np.maximum(0.0, law) + PER_E_FOLD * longer


def local_doubt(parameters: Num, sites: Num, steps: Num, element_bytes: Num) -> Num:
    """Doubt in `local_log_loss`: what a careful reader adds to it.

        0.002 + 0.001 (e-folds outside the law's parameters, groups and H, and of numbers
        narrower than 16 bits)

    Notes
    -----
    Assumed; outer gradients of 4 bits were reported to do no harm at up to 4e9 parameters
    (Streaming DiLoCo, arXiv 2501.18512), which is why fewer bits widen the doubt and not the loss.
    """
    away = _outside(parameters, *LAW_PARAMETERS) + _outside(sites, *LAW_SITES)
    away = away + _outside(steps, LAW_STEPS, LAW_STEPS)
    narrow = np.log(np.maximum(1.0, 2.0 / element_bytes))
    return DOUBT + DOUBT_PER_E_FOLD * (away + narrow)


def _outside(value: Num, least: float, most: float) -> Num:
    """E-folds that a value is outside a range, 0 inside."""
    value = np.maximum(value, 1.0)
    return np.log(np.maximum(1.0, np.maximum(value / most, least / value)))


def tokens_factor(log_loss: Num) -> Num:
    """Tokens that make up for a loss higher by `log_loss` in its log, over those without.

        exp(2 x / 0.0953)

    Notes
    -----
    Derivation. Along compute-optimal tokens D ~ N the law is L ~ N^-a. At a compute-optimal point
    a per cent more parameters and a per cent more tokens buy the same loss for the same compute
    (C ~ N D), so each has half of the exponent: L ~ D^(-a/2) at fixed N, and equal loss takes
    (L'/L)^(2/a) times the tokens. Valid near the point: small x, a run near compute-optimal; a
    run of many more tokens per parameter has less slope left, and the factor is too small.

    >>> round(tokens_factor(0.01), 3)
    1.233
    """
    return np.exp(np.minimum(2.0 / DP_EXPONENT * log_loss, 50.0))


def critical_batch_tokens(loss: Num) -> Num:
    """Batch above which more samples buy few fewer steps, tokens: 2.1e8 / L^(1/0.21).

    Parameters
    ----------
    loss : nats per token that the run has reached; at its end the batch is largest

    Notes
    -----
    Source: Kaplan et al. 2020, section 5.1, after McCandlish et al. 2018; fitted to decoders of up
    to 1.5e9 parameters on WebText2, and known within a factor of two or so.

    >>> round(critical_batch_tokens(3.0))
    1122570
    """
    return 2.1e8 / np.maximum(loss, 1e-3) ** (1.0 / 0.21)


def steps_over_least(batch_tokens: Num, critical_tokens: Num) -> Num:
    """Return steps to a loss over the fewest possible: S / S_min = 1 + B_crit / B.

    Source: McCandlish et al. 2018, equation 5.1.
    """
    return 1.0 + critical_tokens / np.maximum(batch_tokens, 1.0)


def samples_over_least(batch_tokens: Num, critical_tokens: Num) -> Num:
    """Return samples to a loss over the fewest possible: E / E_min = 1 + B / B_crit.

    Source: McCandlish et al. 2018, equation 5.1.
    """
    return 1.0 + batch_tokens / np.maximum(critical_tokens, 1.0)


def stale_factor(staleness: Num, batch_tokens: Num, critical_tokens: Num) -> Num:
    """Return updates with gradients `staleness` steps old, over those with fresh ones.

        (1 + s + B_crit / B) / (1 + B_crit / B)

    Parameters
    ----------
    staleness : s, steps between computing a gradient and applying it

    Notes
    -----
    Assumed form. Convergence bounds of delayed SGD, O(sigma^2 / e^2 + s / e) (Koloskova, Stich,
    Jaggi, NeurIPS 2022), let the delay stretch the part that curvature limits and leave the part
    that noise limits; the two parts are 1 and B_crit / B of `steps_over_least`. So a batch far
    below the critical one hardly feels staleness, one far above pays every step of it. No published
    run at scale was found to check it on: nothing is claimed above `MOST_STALE`.
    """
    noise = critical_tokens / np.maximum(batch_tokens, 1.0)
    return (1.0 + staleness + noise) / (1.0 + noise)


def updates_per_round(epochs: Num, samples: Num, clients: Num, batch_samples: Num) -> Num:
    """Local updates of one client in a round of federated averaging: u = E n / (K B).

    Parameters
    ----------
    epochs        : E, passes over a client's own samples
    samples       : n, of all clients
    clients       : K
    batch_samples : B; 0: all samples of the client at once

    Notes
    -----
    Rounds to a target saturate in u (60 to 1,200 local updates bought 34 to 18 rounds on even
    data) and may grow on uneven data, so u is never divided into a number of rounds.
    Source: McMahan et al. 2017, table 2.

    >>> updates_per_round(5.0, 60000.0, 100.0, 10.0)
    300.0
    """
    own = samples / np.maximum(clients, 1.0)
    batch = np.where(batch_samples > 0, batch_samples, own)
    return (epochs * own / np.maximum(batch, 1e-9))[()]
