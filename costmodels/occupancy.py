"""How many different places copies reach that are drawn at random: of tokens, their experts' ranks.

Knows counts; no bytes and no seconds.

Parts: `distinct_share`.
"""

import numpy as np

from costmodels.units import Num

__all__ = ["distinct_share"]


def distinct_share(domains: Num, copies: Num) -> Num:
    """Share of k copies of a token, drawn over D domains, that go to different ones.

        D (1 - (1 - 1/D)^k) / k

    Parameters
    ----------
    domains : D, each as likely as another
    copies  : k

    Notes
    -----
    Source: the expected number of occupied cells of an occupancy problem.

    >>> round(float(distinct_share(8.0, 8.0)), 4)
    0.6564
    """
    return np.minimum(1.0, domains * (1.0 - (1.0 - 1.0 / domains) ** copies) / copies)
