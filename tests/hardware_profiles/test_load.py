"""Profile files: all are there and sound, and a bad one is refused with one clear message."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hardware_profiles
from hardware_profiles.load import ProfileError, load, names
from hardware_profiles.schema import Figure, HardwareProfile

CONTRACT = [
    "dgx-v100", "dgx-a100-40gb", "dgx-a100-80gb", "dgx-h100", "dgx-h200", "dgx-b200", "dgx-b300",
    "gb200-nvl72", "gb300-nvl72", "mi300x", "mi325x", "mi355x", "tpu-v4", "tpu-v5e", "tpu-v5p",
    "tpu-v6e", "tpu-v7x", "gaudi2", "l40s", "rtx-pro-6000", "cpu-host",
]  # fmt: skip
H100 = Path(hardware_profiles.__file__).parent / "dgx-h100.yaml"


def figures(value: object, path: str = "") -> list[tuple[str, Figure]]:
    """Every figure in a profile with its dotted path."""
    if isinstance(value, Figure):
        return [(path, value)]
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, tuple):
        items = list(enumerate(value))
    elif hasattr(value, "model_fields_set"):
        items = list(dict(value).items())
    else:
        return []
    return [found for key, inner in items for found in figures(inner, f"{path}.{key}")]


def changed(tmp_path: Path, old: str, new: str) -> str:
    text = H100.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "changed.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return str(path)


def test_every_system_of_the_contract_ships() -> None:
    assert set(CONTRACT) <= set(names())
    assert names() == tuple(sorted(names()))


def test_a_profile_is_named_as_its_file(profile: HardwareProfile) -> None:
    assert load(profile.name) is profile


def test_figures_are_positive_and_sourced(profile: HardwareProfile) -> None:
    found = figures(profile)
    assert len(found) > 30
    for path, figure in found:
        assert figure.value > 0 or path.endswith(
            ("fill", "cast_bytes", "softmax_dim", "tail", "growth", "last_rows", "wait_s")
        ), path
        assert len(figure.source) >= 8, path
        assert not figure.source.startswith("assumed"), path  # the basis says so already


def test_a_relative_that_a_source_names_exists(profile: HardwareProfile) -> None:
    for path, figure in figures(profile):
        for word in figure.source.replace("(", " ").replace(",", " ").split():
            if word.startswith(("dgx-", "gb200-", "gb300-", "tpu-")):
                assert word.rstrip(").;:") in names(), path


def test_shares_and_order_of_peaks(profile: HardwareProfile) -> None:
    peak = {name: figure.value for name, figure in profile.peak_flop_per_s.items()}
    if profile.peak_flop_per_s["bf16"].basis != "measured":  # a processor may be slower in bf16
        assert peak["fp32"] <= peak["bf16"]
    assert peak.get("fp16", peak["bf16"]) == peak["bf16"]
    assert peak["bf16"] <= peak.get("fp8", peak["bf16"]) <= peak.get("fp4", float("inf"))
    assert set(profile.kernels.matmul) <= set(peak)
    assert profile.kernels.grouped_matmul.efficiency.value < 1.5


def test_a_bigger_domain_has_the_slower_share(profile: HardwareProfile) -> None:
    inner, outer = profile.network[0], profile.network[1]
    assert inner.devices is not None
    per_device = outer.bytes_per_s.value / inner.devices
    assert per_device < inner.bytes_per_s.value
    assert profile.host.devices <= inner.devices


def test_memory_that_the_contract_fixes() -> None:
    fixed = {"dgx-a100-80gb": 85.0e9, "dgx-h100": 85.0e9, "dgx-v100": 34.1e9,
             "tpu-v5p": 95 * 2**30}  # fmt: skip
    for name, expected in fixed.items():
        assert load(name).memory_bytes.value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "node", "node_bytes_per_s", "outside_bytes_per_s", "host"),
    [
        ("dgx-v100", 8, 150e9, 50e9, 8),
        ("dgx-a100-80gb", 8, 300e9, 200e9, 8),
        ("dgx-h100", 8, 450e9, 400e9, 8),
        ("dgx-b200", 8, 900e9, 400e9, 8),
        ("dgx-b300", 8, 900e9, 800e9, 8),
        ("gcp-a3-mega", 8, 450e9, 200e9, 8),
        ("gb200-nvl72", 72, 900e9, 3.6e12, 4),
        ("gb300-nvl72", 72, 900e9, 7.2e12, 4),
        ("tpu-v5p", 8960, 600e9, 8960 * 6.25e9, 4),
        ("tpu-v5e", 256, 200e9, 256 * 3.125e9, 8),
    ],
)
def test_networks_as_published(
    name: str, node: int, node_bytes_per_s: float, outside_bytes_per_s: float, host: int
) -> None:
    profile = load(name)
    inner, outer = profile.network
    assert (inner.devices, profile.host.devices) == (node, host)
    assert inner.bytes_per_s.value == pytest.approx(node_bytes_per_s)
    assert outer.bytes_per_s.value == pytest.approx(outside_bytes_per_s)


def test_only_switches_of_the_third_generation_and_later_reduce() -> None:
    reducing = {name for name in names() if load(name).network[0].in_switch_reduction}
    assert reducing == {"dgx-h100", "dgx-h200", "dgx-b200", "dgx-b300", "gb200-nvl72",
                        "gb300-nvl72", "gcp-a3-mega"}  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        ["dgx-v100", "dgx-a100-80gb", "dgx-h100", "dgx-b200", "gb200-nvl72"],
        ["dgx-a100-40gb", "dgx-a100-80gb"],
        ["dgx-h100", "dgx-h200", "dgx-b200", "dgx-b300"],
        ["gb200-nvl72", "gb300-nvl72"],
        ["mi300x", "mi325x", "mi355x"],
        ["tpu-v4", "tpu-v5p", "tpu-v7x"],
        ["tpu-v5e", "tpu-v6e"],
    ],
)
def test_newer_is_never_less(line: list[str]) -> None:
    for old, new in zip(map(load, line), map(load, line[1:]), strict=False):
        assert old.peak_flop_per_s["bf16"].value <= new.peak_flop_per_s["bf16"].value
        assert old.memory_bytes.value <= new.memory_bytes.value
        assert old.memory_bytes_per_s.value <= new.memory_bytes_per_s.value
        assert old.network[0].bytes_per_s.value <= new.network[0].bytes_per_s.value


def test_achieved_bf16_rises_from_chip_to_chip() -> None:
    rates = [
        profile.peak_flop_per_s["bf16"].value * profile.kernels.matmul["bf16"].efficiency.value
        for profile in map(load, ["dgx-v100", "dgx-a100-80gb", "dgx-h100", "dgx-b200"])
    ]
    assert rates == sorted(rates)


def test_unknown_name_says_the_nearest() -> None:
    with pytest.raises(ProfileError, match="did you mean 'dgx-h100'") as caught:
        load("dgx-h10")
    assert "shipped: cpu-host, cpu-host-2-cores, dgx-a100-40gb" in str(caught.value)


def test_a_profile_by_path_equals_the_shipped_one(tmp_path: Path) -> None:
    assert load(changed(tmp_path, "units: 132", "units: 132")) == load("dgx-h100")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    assert load(changed(tmp_path, "units: 132", "units: 131")).kernels.units == 131
    assert load(changed(tmp_path, "units: 132", "units: 130")).kernels.units == 130


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("memory_bytes:", "memory_byte:", "memory_byte", "did you mean 'memory_bytes'"),
        ("    rails: 8", "    rail: eight", "network.1.rail", "did you mean 'rails'"),
        ("rails: 8", "rials: 8", "network.1.rials", "did you mean 'rails'"),
        ("idle_w:", "idl_w:", "power.idl_w", "did you mean 'idle_w'"),
        ("vendor: nvidia", "vendor: nvidai", "vendor", "did you mean 'nvidia'"),
        ("value: 989.4e12, basis: datasheet", "value: 989.4e12, basis: datashet",
         "peak_flop_per_s.fp16.basis", "did you mean 'datasheet'"),
        ("  fp8: {", "  fp9: {", "peak_flop_per_s.fp9", "did you mean 'fp8'"),
        ("value: 85e9", "value: many", "memory_bytes.value", "valid number"),
        ("value: 85e9", "value: -1", "memory_bytes.value", "greater than or equal to 0"),
        ("value: 85e9", "value: 0", "memory_bytes", "above 0"),
        ("value: 85e9", "value: .inf", "memory_bytes.value", "finite"),
        ("{value: 0.792,", "{value: 1.71,", "network.0.efficiency", "at most 1"),
        ("devices: 8\n", "devices: 0\n", "network.0.devices", "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_message_with_line_and_key(
    tmp_path: Path, old: str, new: str, key: str, message: str
) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(ProfileError, match=message) as caught:
        load(path)
    text = Path(path).read_text(encoding="utf-8")
    assert caught.value.key == key
    assert caught.value.line == text[: text.index(new)].count("\n") + 1
    assert str(caught.value).startswith(f"{path}:{caught.value.line}: {key}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a profile is a mapping"),
        ("- 1\n", "a profile is a mapping"),
        ("name: [\n", "not YAML"),
        ("name: a\nname: b\n", "not YAML"),
        ("name: !!python/object:os.system x\n", "not YAML"),
        ("name: 2024-99-99\n", "name|not YAML"),
        ("[" * 3000, "at most 400 brackets"),
        ("- " * 3000, "nested too deeply"),
        ("name: x\n" * 20_000, "at most 50000 bytes"),
        ("name: x\n", "description"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    start = time.perf_counter()
    with pytest.raises(ProfileError, match=message):
        load(str(path))
    assert time.perf_counter() - start < 1.0


def test_unreadable_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\xfe")
    for name, message in (
        ("none.yaml", "no such file"), ("latin.yaml", "not UTF-8"), ("", "cannot be read"),
        ("a\0b.yaml", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(ProfileError, match=message):
            load(f"{tmp_path}/{name}")


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(rows), encoding="utf-8")
    start = time.perf_counter()
    with pytest.raises(ProfileError) as caught:
        load(str(path))
    assert time.perf_counter() - start < 1.0
    assert len(str(caught.value)) < 2000


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # noqa: E501
@given(data=st.data())
def test_no_damage_to_a_file_raises_anything_else(tmp_path: Path, data: st.DataObject) -> None:
    text = H100.read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 60))
    junk = data.draw(st.text(max_size=20))
    path = tmp_path / "damaged.yaml"
    path.write_bytes((text[:start] + junk + text[start + length :]).encode("utf-8", "replace"))
    try:
        assert isinstance(load(str(path)), HardwareProfile)
    except ProfileError as error:
        assert str(error)
