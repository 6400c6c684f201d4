"""Seconds of local updates, against the published table of bandwidths and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels import local_sgd

# Charles et al. 2025 (arXiv 2503.09799), table 7: Gbit/s between replicas that keep a share of the
# time computing; H of 1 is the row of data-parallel training; None stands for "more than 1000"
SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
TABLE = {
    (10e9, 0.8): {
        1: (104.8, 184.2, 222.3, 222.3, 390.7),
        10: (16.0, 49.4, 86.8, 152.6, 222.3),
        50: (3.0, 11.0, 23.3, 41.0, 126.5),
        100: (1.4, 6.2, 13.3, 23.3, 86.8),
        300: (0.5, 2.0, 4.3, 9.1, 41.0),
    },
    (405e9, 26.0): {
        1: (126.5, 222.3, 268.3, 323.8, 323.8),
        10: (19.3, 72.0, 126.5, 184.2, 268.3),
        50: (3.6, 13.3, 28.1, 59.6, 184.2),
        100: (2.0, 7.5, 16.0, 33.9, 126.5),
        300: (0.7, 3.0, 6.2, 13.3, 59.6),
    },
    (671e9, 20.0): {
        1: (323.8, 569.0, 686.6, 686.6, None),
        10: (49.4, 152.6, 268.3, 390.7, 686.6),
        50: (7.5, 33.9, 72.0, 126.5, 390.7),
        100: (4.3, 16.0, 41.0, 72.0, 268.3),
        300: (1.7, 6.2, 13.3, 28.1, 126.5),
    },
}


def log_errors(element_bytes: float, hidden: float) -> np.ndarray:
    errors = []
    for (n, step_s), rows in TABLE.items():
        for h, cells in rows.items():
            for share, gbit in zip(SHARES, cells, strict=True):
                if gbit is not None:
                    rate = local_sgd.needed_bytes_per_s(n, step_s, h, share, element_bytes, hidden)
                    errors.append(np.log(rate * 8e-9 / gbit))
    return np.array(errors)


def test_every_published_bandwidth_within_a_factor_of_one_and_a_half_unfitted() -> None:
    errors = log_errors(2.0, local_sgd.HIDDEN_FRAC)  # 16 bits, the backward pass
    assert len(errors) == 74
    assert np.exp(np.abs(errors).max()) < 1.5
    assert errors.mean() == pytest.approx(0.186, abs=0.01)  # a little careful


def test_fitted_to_the_published_bandwidths_the_form_is_within_its_grid() -> None:
    errors = log_errors(13 / 8, 0.60)
    assert np.sqrt(np.mean(errors**2)) <= 0.12
    assert np.abs(errors).max() < 0.4  # the worst is data-parallel training at 99%


rate = st.floats(1e6, 1e12)


@given(st.floats(1e8, 1e12), st.floats(0.1, 60), st.integers(1, 1000), st.floats(0.3, 0.999))
def test_needed_bandwidth_is_the_inverse_of_utilisation(
    n: float, step_s: float, h: int, share: float
) -> None:
    needed = local_sgd.needed_bytes_per_s(n, step_s, float(h), share, 2.0, 2 / 3)
    exchange_s = 2.0 * n / needed
    assert local_sgd.utilisation_frac(exchange_s, step_s, float(h), 2 / 3) == pytest.approx(share)


def test_published_utilisations_of_wide_area_runs() -> None:
    """OpenDiLoCo (arXiv 2407.07852) and INTELLECT-1: 83 to 96% of the time computing, H of 100."""
    exchange_s = 10e9 * 1.0 / 0.25e9  # 10e9 parameters in 8 bits over 2 Gbit/s
    share = local_sgd.utilisation_frac(exchange_s, 5.0, 100.0, local_sgd.HIDDEN_FRAC)
    assert 0.83 < share < 0.96


def test_rare_exchanges_take_at_most_half_from_the_ratio_of_links() -> None:
    """Appendix B: with H >= W0 / W1, outer exchanges are at most half of the communication."""
    inner, outer, ranks, groups, size = 50e9, 1.25e9, 4096.0, 4.0, 2e10
    h = local_sgd.balancing_steps(inner, outer)
    assert h == 40.0
    never = local_sgd.communication_s(size, ranks, groups, 1e12, inner, outer, 0.0, 0.0)
    for more in (1.0, 2.0, 10.0):
        every = local_sgd.communication_s(size, ranks, groups, h * more, inner, outer, 0.0, 0.0)
        assert every - never <= 0.5 * every * (1 + groups / ranks)
    assert local_sgd.balancing_steps(1e9, 5e9) == 1.0


def test_the_plain_all_reduce_by_hand() -> None:
    # 2e9 bytes, 4 ranks, 400 Gbit/s and 0.1 ms
    assert local_sgd.plain_all_reduce_s(2e9, 4.0, 50e9, 1e-4) == pytest.approx(0.0601)


@given(st.floats(0, 20), st.floats(1, 1e4))
def test_jitter_shrinks_with_the_root_of_the_steps(doublings: float, steps: float) -> None:
    felt = local_sgd.shared_jitter(doublings, steps)
    assert felt == pytest.approx(doublings * steps**-0.5)
    assert local_sgd.shared_jitter(doublings, 1.0) == doublings
