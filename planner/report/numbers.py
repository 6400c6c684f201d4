"""Numbers for people: three significant digits, a prefix that fits, the unit that the name ends in.

The only place where seconds become days and bytes become gigabytes. It rounds for reading and
never computes a figure; nothing here may be parsed back. All prefixes are decimal (1 GB = 1e9
bytes), as datasheets write them.

Parts: `count`, `plain`, `percent`, `ratio`, `seconds`, `byte_count`, `dollars`, `joules`,
`quantity` (by the suffix of a name), `label` (a name without its suffix), `clean` (text that
is safe to show).
"""

import math
import unicodedata
from collections.abc import Callable

__all__ = [
    "byte_count",
    "clean",
    "count",
    "dollars",
    "joules",
    "label",
    "percent",
    "plain",
    "quantity",
    "ratio",
    "seconds",
    "unit_of",
]

NOTHING = "-"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL = ("", "m", "µ", "n", "p")
_MINUTE, _HOUR, _DAY, _YEAR = 60.0, 3600.0, 86400.0, 365.25 * 86400.0
_HIDDEN_FORMATS = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


def clean(text: str) -> str:
    """Return text without what would steer a terminal or a page: controls, bidi marks, surrogates.

    Line breaks and tabs become one space; every other character of such a kind becomes U+FFFD.
    """
    if text.isprintable():
        return text
    return "".join(map(_safe, text))


def _safe(character: str) -> str:
    if character in "\n\r\t":
        return " "
    return "\ufffd" if unicodedata.category(character) in _HIDDEN_FORMATS else character


def _round3(value: float) -> float:
    """Round to three significant digits."""
    return float(f"{value:.2e}")


def _digits(value: float) -> str:
    """Write a rounded value below 1000 with its three digits, and larger ones with commas."""
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def plain(value: float | None) -> str:
    """Write a bare number: whole from 100 up, with commas; else three significant digits."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "unlimited" if value > 0 else NOTHING
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 100 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def count(value: float | None) -> str:
    """Write a count: whole below ten million, then 15.0 B or 15.0 T."""
    if value is None or not math.isfinite(value) or abs(value) < 1e7:
        return plain(value)
    return _prefixed(value, "").rstrip().replace("G", "B")


def percent(value: float | None) -> str:
    """Write a fraction in percent, 0.4512 as 45.1%."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value) * 100
    return f"{value * 100:.1f}%" if size < 99.95 or size > 100.05 else f"{value * 100:.0f}%"


def ratio(value: float | None) -> str:
    """Write a factor, 7.486 as 7.49x."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:,.2f}x" if abs(value) < 100 else f"{value:,.0f}x"


def _prefixed(value: float, unit: str) -> str:
    """Write a value of a unit with a decimal prefix."""
    if abs(value) >= 1e27:
        return f"{value:.3g} {unit}"
    value = _round3(value)
    if 0 < abs(value) < 1:
        power = min(math.ceil(-math.log10(abs(value)) / 3), len(_SMALL) - 1)
        return f"{_digits(value * 1000.0**power)} {_SMALL[power]}{unit}"
    power = 0
    while abs(value) >= 1000 and power < len(_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{_digits(value)} {_PREFIXES[power]}{unit}"


def _in_unit(unit: str) -> Callable[[float | None], str]:
    def write(value: float | None) -> str:
        if value is None:
            return NOTHING
        return _prefixed(value, unit) if math.isfinite(value) else plain(value)

    return write


byte_count = _in_unit("B")


def seconds(value: float | None) -> str:
    """Write a time: microseconds to years, the unit that a person would say."""
    if value is None or not math.isfinite(value):
        return plain(value)
    size = abs(value)
    if size < 2 * _MINUTE:
        return _prefixed(value, "s") if size < 100 else f"{value:.0f} s"
    for limit, unit, name in ((2 * _HOUR, _MINUTE, "min"), (2 * _DAY, _HOUR, "h")):
        if size < limit:
            return f"{_digits(_round3(value / unit))} {name}"
    if size < 2 * _YEAR:
        return f"{_digits(_round3(value / _DAY))} days"
    return f"{_digits(_round3(value / _YEAR))} years"


def dollars(value: float | None) -> str:
    """Write US dollars: cents below 100, whole below a million, then $12.3 M.

    Of less than ten cents, two digits that count.
    """
    if value is None or not math.isfinite(value):
        return plain(value)
    if abs(value) >= 1e6:
        number, prefix = _prefixed(value, "").split(" ")
        return f"${number} {prefix.replace('G', 'B')}".rstrip()
    if 0 < abs(value) < 0.1:
        digits = 1 - math.floor(math.log10(abs(value)))
        return f"${value:.{digits}f}" if digits <= 6 else f"${value:.2g}"
    return f"${value:,.2f}" if abs(value) < 100 else f"${value:,.0f}"


def joules(value: float | None) -> str:
    """Write an energy: joules below one kilowatt-hour, watt-hours above."""
    if value is None or not math.isfinite(value) or abs(value) < 3.6e6:
        return _in_unit("J")(value)
    return _prefixed(value / 3600, "Wh")


# Longest suffix first: "bytes_per_s" must win over "s".
_BY_SUFFIX: tuple[tuple[str, Callable[[float | None], str]], ...] = (
    ("tokens_per_s_per_device", lambda v: f"{count(v)} tokens/s"),
    ("model_flop_per_s_per_device", _in_unit("FLOP/s")),
    ("usd_per_device_hour", lambda v: f"{dollars(v)}/h"),
    ("bytes_per_s", _in_unit("B/s")),
    ("tokens_per_s", lambda v: f"{count(v)} tokens/s"),
    ("flop_per_s", _in_unit("FLOP/s")),
    ("per_s", lambda v: f"{count(v)}/s"),
    ("fraction", percent),
    ("efficiency", percent),
    ("goodput", percent),
    ("coverage", percent),
    ("bytes", byte_count),
    ("share", percent),
    ("error", percent),
    ("flop", _in_unit("FLOP")),
    ("frac", percent),
    ("usd", dollars),
    ("mfu", percent),
    ("gap", percent),
    ("s", seconds),
    ("j", joules),
    ("w", _in_unit("W")),
)
_WRITERS = dict(_BY_SUFFIX)
_WORDY = {"fraction", "efficiency", "goodput", "coverage", "share", "error", "mfu", "gap", "flop"}


def _suffix(name: str) -> str:
    return next((s for s, _ in _BY_SUFFIX if name == s or name.endswith(f"_{s}")), "")


def unit_of(path: str) -> str:
    """Return the last part of a dotted path that ends in a unit: of ``peak_flop_per_s.bf16``."""
    return next((part for part in reversed(path.split(".")) if _suffix(part)), "")


def _float(value: float) -> float:
    """Convert an integer of any size; one too large for a float is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def quantity(name: str, value: object) -> str:
    """Write a value of a plan with the unit that its name ends in (house rule: unit as suffix)."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        suffix = _suffix(name)
        write = _WRITERS[suffix] if suffix else count
        return write(_float(value))
    if isinstance(value, list | tuple):
        return ", ".join(quantity(name, item) for item in value) or "none"
    if isinstance(value, dict):
        parts = (f"{clean(str(k))} {quantity(str(k), v)}" for k, v in value.items())
        return ", ".join(parts) or "none"
    return clean(str(value))


def label(name: str) -> str:
    """Turn a key into words without its unit: ``step_time_s`` is "step time"."""
    suffix = _suffix(name)
    if suffix and suffix not in _WORDY and name != suffix:
        name = name[: -len(suffix) - 1]
    return clean(name.replace("_", " "))
