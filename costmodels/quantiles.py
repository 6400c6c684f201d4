"""Quantiles of the normal and of a gamma distribution, as arithmetic on columns.

The run's price needs the time that a run keeps with a stated probability, for a million candidate
plans at once. Refuses to know what is random.

Parts: `normal_quantile`, `gamma_quantile`.
"""

import numpy as np

from costmodels.units import Num

__all__ = ["gamma_quantile", "normal_quantile"]

# Wichura's PPND16: numerator and denominator, lowest power first, of three ranges.
_CENTRE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_MIDDLE = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)
_LEAST = 1e-300
_MOST = 1.0 - 2.0**-53


def _ratio(table: tuple[tuple[float, ...], tuple[float, ...]], x: Num) -> Num:
    above: Num = 0.0
    below: Num = 0.0
    for top, bottom in zip(reversed(table[0]), reversed(table[1]), strict=True):
        above, below = above * x + top, below * x + bottom
    return above / below


def normal_quantile(probability: Num) -> Num:
    """Return the z for which a standard normal value is below z with this probability.

    Parameters
    ----------
    probability : 0 to 1; the ends are taken as the nearest float inside

    Notes
    -----
    Three rational approximations, relative error below 1e-15.
    Source: Wichura, Algorithm AS 241 (PPND16), Applied Statistics 37(3), 1988.

    >>> print(f"{normal_quantile(0.975):.12f}")
    1.959963984540
    """
    p = np.minimum(np.maximum(probability, _LEAST), _MOST)
    q = p - 0.5
    central = np.abs(q) <= 0.425
    tail = np.sqrt(-np.log(np.minimum(p, 1.0 - p)))
    middle = _ratio(_MIDDLE, np.minimum(tail, 5.0) - 1.6)
    far = _ratio(_FAR, np.maximum(tail, 5.0) - 5.0)
    outside = np.sign(q) * np.where(tail <= 5.0, middle, far)
    inside = q * _ratio(_CENTRE, 0.180625 - np.where(central, q * q, 0.0))
    return np.where(central, inside, outside)[()]


def gamma_quantile(probability: Num, mean: Num, deviation: Num) -> Num:
    """Quantile of the gamma distribution with this mean and standard deviation.

        mean * max(0, 1 - v / 9 + z sqrt(v) / 3) ** 3,  v = (deviation / mean)^2

    Parameters
    ----------
    probability : 0 to 1
    mean        : >= 0; zero gives zero
    deviation   : >= 0, the standard deviation

    Notes
    -----
    Within 2.5% of the exact quantile for probabilities from 0.5 to 0.999 where the deviation is at
    most the mean; within 7% up to twice the mean. Too low in the left tail beyond that.
    Source: Wilson and Hilferty, PNAS 17(12), 1931.
    """
    spread = deviation / np.maximum(mean, np.maximum(1e-3 * deviation, _LEAST))
    root = 1.0 - spread * spread / 9.0 + normal_quantile(probability) * spread / 3.0
    return mean * np.maximum(root, 0.0) ** 3
