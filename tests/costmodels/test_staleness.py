"""What looser consistency costs in learning, against the published laws and tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels import staleness

# Charles et al. 2025 (arXiv 2503.09799), tables 8, 10: losses of 2.4e9 parameters
LOSS_OF_SITES = {1: 2.2905, 2: 2.3090, 4: 2.3277, 8: 2.3465}
# Kaplan et al. 2020, section 5.1: critical batch in tokens by loss
CRITICAL = {2.0: 7.740e6, 3.0: 1.1226e6, 4.0: 2.853e5}
# McMahan et al. 2017, table 2: epochs, batch (0: all), u, rounds on even data, on uneven data
FEDERATED = [
    (1, 0, 1, 626, 483),
    (5, 0, 5, 179, 1000),
    (1, 50, 12, 65, 600),
    (20, 0, 20, 234, 672),
    (1, 10, 60, 34, 350),
    (5, 50, 60, 29, 334),
    (20, 50, 240, 32, 426),
    (5, 10, 300, 20, 229),
    (20, 10, 1200, 18, 173),
]

parameters = st.floats(1e6, 1e13)
sites = st.integers(1, 64).map(float)
steps = st.integers(1, 2000).map(float)


def test_loss_laws_give_the_published_losses() -> None:
    assert staleness.dp_loss(2.4e9) == pytest.approx(2.3144, rel=1e-3)
    for groups, loss in LOSS_OF_SITES.items():
        assert staleness.diloco_loss(2.4e9, groups) == pytest.approx(loss, rel=1e-3)


def test_batch_laws_by_hand() -> None:
    assert staleness.dp_batch_tokens(2.4e9) == pytest.approx(462.68 * 2.4e9**0.281)
    one, four = (staleness.diloco_batch_tokens(2.4e9, m) for m in (1.0, 4.0))
    assert four / one == pytest.approx(4**0.3399)
    assert one > staleness.dp_batch_tokens(2.4e9) / 2


@pytest.mark.parametrize(("loss", "tokens"), CRITICAL.items())
def test_critical_batch(loss: float, tokens: float) -> None:
    assert staleness.critical_batch_tokens(loss) == pytest.approx(tokens, rel=1e-3)


def test_steps_and_samples_trade_at_the_critical_batch() -> None:
    """At B = B_crit both are twice their least; their excesses multiply to one (McCandlish)."""
    assert staleness.steps_over_least(1e6, 1e6) == staleness.samples_over_least(1e6, 1e6) == 2.0
    for batch in (1e4, 1e5, 3e7):
        excess = staleness.steps_over_least(batch, 1e6) - 1.0
        assert excess * (staleness.samples_over_least(batch, 1e6) - 1.0) == pytest.approx(1.0)


def test_tokens_make_up_for_loss_by_half_of_the_exponent() -> None:
    """More tokens at fixed parameters buy half of what more of both buys."""
    loss = staleness.dp_loss(1e9)
    worse = staleness.dp_loss(0.99e9)  # 1% fewer parameters and tokens
    factor = staleness.tokens_factor(np.log(worse / loss))
    assert factor == pytest.approx(0.99**-2, rel=1e-9)  # 1% of both, made up by tokens alone


def test_local_updates_never_learn_faster_than_synchronous_ones() -> None:
    assert staleness.diloco_loss(7e10, 2.0) < staleness.dp_loss(7e10)  # the law itself says so
    assert staleness.local_log_loss(7e10, 2.0, 30.0) == 0.0


def test_a_slow_down_with_h_is_logarithmic_and_of_the_published_order() -> None:
    """H from 50 to 1000 costs about 3% of perplexity at a loss of 2.7 (Douillard et al. 2023)."""
    base, far = (staleness.local_log_loss(4e8, 8.0, h) for h in (50.0, 1000.0))
    perplexity = np.exp(2.7 * (far - base)) - 1.0
    assert 0.02 < perplexity < 0.04


@given(parameters, sites, steps)
def test_doubt_is_least_inside_the_law(n: float, m: float, h: float) -> None:
    inside = staleness.local_doubt(1e9, 4.0, 30.0, 2.0)
    assert inside == pytest.approx(staleness.DOUBT)
    assert staleness.local_doubt(n, m, h, 2.0) >= inside
    assert staleness.local_doubt(n, m, h, 0.5) > staleness.local_doubt(n, m, h, 2.0)


@given(parameters, sites, steps)
def test_more_groups_and_rarer_exchanges_never_learn_faster(n: float, m: float, h: float) -> None:
    here = staleness.local_log_loss(n, m, h)
    assert staleness.local_log_loss(n, m + 1, h) >= here >= 0.0
    assert staleness.local_log_loss(n, m, 2 * h) >= here


@given(st.floats(0, 64), st.floats(1e3, 1e9), st.floats(1e3, 1e9))
def test_staleness_costs_between_nothing_and_every_step_of_it(
    lag: float, batch: float, critical: float
) -> None:
    factor = staleness.stale_factor(lag, batch, critical)
    assert 1.0 <= factor <= (1.0 + lag) * (1 + 1e-12)
    assert staleness.stale_factor(lag, 2 * batch, critical) >= factor * (1 - 1e-12)


@pytest.mark.parametrize(("epochs", "batch", "u", "even", "uneven"), FEDERATED)
def test_local_updates_of_a_federated_round(
    epochs: float, batch: float, u: float, even: int, uneven: int
) -> None:
    assert staleness.updates_per_round(epochs, 60000.0, 100.0, batch) == pytest.approx(u, abs=0.05)


def test_rounds_saturate_in_local_updates() -> None:
    """The trap: u from 60 to 1,200 halves the rounds, and uneven data may need more of them."""
    rows = {(e, b): (u, even, uneven) for e, b, u, even, uneven in FEDERATED}
    (few, even_few, _), (many, even_many, _) = rows[1, 10], rows[20, 10]
    assert many / few == 20
    assert even_few / even_many < 2
    _, even, uneven = rows[1, 0]
    assert even / rows[5, 10][1] == pytest.approx(31.3, abs=0.05)
    assert uneven / rows[5, 10][2] == pytest.approx(2.1, abs=0.05)
    assert uneven / rows[5, 0][2] == pytest.approx(0.5, abs=0.05)
    # so the planner's own price of H never divides updates by it
    for h in (30.0, 300.0, 3000.0):
        assert staleness.tokens_factor(staleness.local_log_loss(1e9, 4.0, h)) >= 1.0
