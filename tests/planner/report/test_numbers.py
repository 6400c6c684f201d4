"""Numbers for people: units, prefixes, three digits, and text made safe."""

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0 s"),
        (3.3e-6, "3.30 µs"),
        (0.0009996, "1.00 ms"),
        (0.0473, "47.3 ms"),
        (0.9996, "1.00 s"),
        (9.98, "9.98 s"),
        (119.0, "119 s"),
        (121.0, "2.02 min"),
        (7300.0, "2.03 h"),
        (215 * 86400.0, "215 days"),
        (3 * 365.25 * 86400.0, "3.00 years"),
        (math.inf, "unlimited"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert numbers.seconds(value) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("memory_bytes", 61.226e9, "61.2 GB"),
        ("memory_bytes", 999.7e6, "1.00 GB"),
        ("bytes_per_s", 3.35e12, "3.35 TB/s"),
        ("inter_node_bytes_per_s", 4e11, "400 GB/s"),
        ("peak_flop_per_s", 9.89e14, "989 TFLOP/s"),
        ("tokens_per_s_per_device", 821.4, "821 tokens/s"),
        ("cost_usd", 4.03e6, "$4.03 M"),
        ("cost_usd", 2.1e9, "$2.10 B"),
        ("cost_usd", 12.5, "$12.50"),
        ("cost_usd", 12345.6, "$12,346"),
        ("usd_per_device_hour", 3.0, "$3.00/h"),
        ("energy_j", 1.31e13, "3.64 GWh"),
        ("energy_j", 3.2e6, "3.20 MJ"),
        ("power_cap_w", 700, "700 W"),
        ("mfu", 0.4512, "45.1%"),
        ("gap", 0.0, "0.0%"),
        ("devices", 1024, "1,024"),
        ("tokens", 15e12, "15.0 T"),
        ("parameters", 671026419200, "671 B"),
        ("comm_to_compute", 0.3249, "0.325"),
        ("fits", True, "yes"),
        ("offload", [], "none"),
        ("mesh_order", ["tp", "dp"], "tp, dp"),
        ("placement", {"ep": "rack"}, "ep rack"),
        ("x", None, "-"),
        ("x", 10**400, "unlimited"),
    ],
)
def test_quantity_takes_its_unit_from_the_name(name: str, value: object, text: str) -> None:
    assert numbers.quantity(name, value) == text


@given(st.floats(min_value=1e-12, max_value=1e26))
def test_prefixed_numbers_have_three_digits_and_the_right_size(value: float) -> None:
    written, unit = numbers.byte_count(value).split(" ")
    power = {"p": -4, "n": -3, "µ": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5}
    power |= {"E": 6, "Z": 7, "Y": 8}
    assert 1 <= float(written) < 1000
    assert len(written.replace(".", "")) == 3
    assert float(written) * 1000.0 ** power[unit.removesuffix("B")] == pytest.approx(value, 6e-3)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_writer_takes_every_float(value: float) -> None:
    for name in ("x", "a_s", "a_bytes", "a_usd", "a_j", "a_frac", "tokens_per_s", "flop"):
        assert numbers.quantity(name, value)


@given(st.text())
def test_clean_text_cannot_steer_a_terminal(text: str) -> None:
    cleaned = numbers.clean(text)
    assert len(cleaned) == len(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in cleaned)
    assert numbers.clean(cleaned) == cleaned
    cleaned.encode("utf-8")


def test_clean_takes_out_escapes_and_keeps_words() -> None:
    assert numbers.clean("a\x1b[2Jb\u202ec\nd") == "a\ufffd[2Jb\ufffdc d"
    assert numbers.clean("Größe 模型 🙂") == "Größe 模型 🙂"


@pytest.mark.parametrize(
    ("name", "words"),
    [("step_time_s", "step time"), ("p_star", "p star"), ("mfu", "mfu"), ("tp_bytes", "tp")],
)
def test_label(name: str, words: str) -> None:
    assert numbers.label(name) == words
