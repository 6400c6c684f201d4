"""The door for jobs: what is read, what is resolved, and what every mistake is answered with."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.models.load import load as load_model
from planner.spec import dump, load, load_mapping, with_set
from planner.strategy import RecomputeFull

TEXT = """\
name: llama3-70b-on-1024-h100
workload:
  kind: training
  model: llama-3.1-70b
  sequence_length: 8192
  global_batch: 1024
  tokens: 15.0e12
  precision: bf16
hardware:
  system: dgx-h100
  devices: 1024
  set: {memory_bytes: 80.0e9}
objective: {metric: step_time}
constraints: {memory_reserve: 0.06, max_cost_usd: null, confidence: 0.9}
failure: {node_mtbf_s: null, checkpoint_async: true, spare_nodes: 0}
strategy: {}
software: {preset: megatron-core}
emit: [megatron, torchtitan]
"""
MIXTRAL = "workload.model=mixtral-8x7b"


def message(*sets: str, text: str = TEXT) -> str:
    with pytest.raises(SpecError) as caught:
        load(text, sets=sets)
    return str(caught.value)


def test_the_contracts_job() -> None:
    job = load(TEXT)
    assert job.name == "llama3-70b-on-1024-h100"
    assert job.workload.model == load_model("llama-3.1-70b")
    assert job.workload.tokens == 15e12
    assert job.workload.optimizer == "adam"
    assert job.hardware.set.memory_bytes == 80e9
    assert job.constraints.max_cost_usd is None
    assert job.emit == ("megatron", "torchtitan")


def test_null_means_absent_everywhere() -> None:
    job = load(TEXT, sets=["constraints.memory_reserve=null", "strategy=null", "name=null"])
    assert job.constraints.memory_reserve == 0.06
    assert job.strategy.tp is None
    assert job.name == "job"


def test_a_file_names_itself_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(TEXT.replace("sequence_length", "sequence_lenght"))
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}:5: workload.sequence_lenght: unknown key 'sequence_lenght' in workload; "
        "nearest: sequence_length"
    )
    assert (caught.value.exit_code, caught.value.line) == (2, 5)


def test_an_inline_model() -> None:
    inline = (
        "{name: x, layers: 96, hidden: 12288, ffn_hidden: 49152, heads: 96, kv_heads: 96,"
        " head_dim: 128, vocab: 51200, gated_mlp: false, tied_embeddings: true,"
        " position: learned, attention: {kind: gqa, window: null, causal: true, q_lora_rank: }}"
    )
    assert load(TEXT, sets=[f"workload.model={inline}"]).workload.model.hidden == 12288


def test_a_hugging_face_config_relative_to_the_job(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
    }
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config))
    path = tmp_path / "job.yaml"
    for name in ("tiny/config.json", "./tiny"):
        path.write_text(TEXT.replace("llama-3.1-70b", name))
        model = load(path).workload.model
        assert (model.layers, model.kv_heads, model.vocab) == (2, 2, 1000)
    path.write_text(TEXT.replace("llama-3.1-70b", "tiny/absent.json"))
    with pytest.raises(SpecError, match=r"absent\.json"):
        load(path)


def test_a_profile_file_relative_to_the_job(tmp_path: Path) -> None:
    import hardware_profiles

    shipped = Path(hardware_profiles.__file__).parent / "dgx-h100.yaml"
    (tmp_path / "mine.yaml").write_text(shipped.read_text())
    path = tmp_path / "job.yaml"
    path.write_text(TEXT.replace("system: dgx-h100", "system: mine.yaml"))
    assert load(path).hardware.system == str(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text("name: [")
    with pytest.raises(SpecError, match=r"mine\.yaml"):
        load(path)


def test_lists_of_systems_counts_and_values() -> None:
    job = load(
        TEXT,
        sets=[
            "hardware.system=[dgx-h100, dgx-a100-80gb]",
            "hardware.devices=[64, 128]",
            "strategy={tp: [4, 8], sp: [true], recompute: [none, {full: 2}], zero: 1}",
        ],
    )
    assert job.hardware.systems == ("dgx-h100", "dgx-a100-80gb")
    assert job.hardware.devices == (64, 128)
    assert job.strategy.allowed("tp") == (4, 8)
    assert job.strategy.recompute == ("none", RecomputeFull(full=2))


def test_a_slice_fills_in_devices() -> None:
    sets = ["hardware={system: tpu-v5p, slice: {topology: 4x8x8, count: 2}}"]
    job = load(TEXT, sets=sets)
    assert job.hardware.devices == 512
    assert load_mapping(dump(job)) == job


def test_a_tpu_takes_maxtext_unless_told() -> None:
    on_tpu = load(TEXT, sets=["hardware.system=tpu-v5p", "software=null"])
    assert on_tpu.software.preset == "maxtext"
    assert load(TEXT, sets=["software=null"]).software.preset == "megatron-core"
    told = load(TEXT, sets=["hardware.system=tpu-v5p"])
    assert told.software.preset == "megatron-core"


WRONG = [
    # one mistake each: overrides, where it is said to be, what the message holds
    ("workload.precison=bf16", "workload.precison", "nearest: precision"),
    ("foo=1", "foo", "allowed: name, workload, hardware"),
    ("workload=3", "workload", "is needed"),
    ("workload.kind=", "workload.kind", "allowed: training"),
    ("workload.kind=serving", "workload.kind", "serving is not supported yet; allowed: training"),
    ("workload.kind=trainin", "workload.kind", "got 'trainin'; allowed: training"),
    ("workload.model=llama-3.1-70", "workload.model", "nearest: llama-3.1-70b"),
    ("workload.model=", "workload.model", "is needed: a preset, or a path"),
    ("workload.model={layers: 3}", "workload.model.hidden", "is needed: a whole number"),
    ("workload.precision=bf1", "workload.precision", "one of fp32, fp16, bf16"),
    ("workload.global_batch=1.5", "workload.global_batch", "got 1.5; allowed: a whole number"),
    ("workload.global_batch='8'", "workload.global_batch", "got '8'; allowed: a whole number"),
    ("constraints.confidence=90", "constraints.confidence", "below 1; 90% is 0.9"),
    ("constraints.memory_reserve=6", "constraints.memory_reserve", "below 1; 6% is 0.06"),
    ("workload.tokens=-1", "workload.tokens", "got -1; allowed: a number above 0"),
    ("workload.tokens=.nan", "", ".nan is not a number"),
    ("workload.lora={rank: 4}", "workload.lora", "task is pretrain"),
    ("hardware.system=", "hardware.system", "is needed"),
    ("hardware.system=dgx-h10", "hardware.system", "dgx-h100"),
    ("hardware.system=[dgx-h100, foo]", "hardware.system.1", "foo"),
    ("hardware.devices=", "hardware.devices", "is needed"),
    ("hardware.devices=many", "hardware.devices", "a whole number from 1 up to 10000000, or a ma"),
    ("hardware.devices=20000000", "hardware.devices", "got 20000000"),
    ("hardware.devices={min: 4}", "hardware.devices.max", "is needed: a whole number"),
    ("hardware.devices={min: 4, mox: 8}", "hardware.devices.mox", "nearest: max"),
    ("hardware.devices={min: 8, max: 4}", "hardware.devices.min", "min 8 is more than max 4"),
    ("hardware.set.memory=3", "hardware.set.memory", "nearest: memory_bytes"),
    ("hardware.set.devices_per_node=2.5", "hardware.set.devices_per_node", "got 2.5"),
    ("hardware.slice={topology: 4x8}", "hardware.devices", "devices 1024 is not slice.topology"),
    ("hardware.slice={topology: 4by8}", "hardware.slice.topology", "text like 4x8x8"),
    ("strategy.tp=abc", "strategy.tp", "got 'abc'; allowed: a whole number from 1 up to 100000"),
    ("strategy.tp=[2, x]", "strategy.tp.1", "got 'x'"),
    ("strategy.tp=[]", "strategy.tp", "got an empty list"),
    ("strategy.tp=true", "strategy.tp", "got true"),
    ("strategy.zero=true", "strategy.zero", "got true"),
    ("strategy.sp=1", "strategy.sp", "got 1; allowed: true or false, or a list of them"),
    ("strategy.recompute=ful", "strategy.recompute", "nearest: full"),
    ("strategy.recompute={full: 0}", "strategy.recompute.full", "got 0"),
    ("strategy.recompute={ful: 1}", "strategy.recompute.ful", "nearest: full"),
    ("strategy.recompute=[none, ful]", "strategy.recompute.1", "nearest: full"),
    ("strategy.recompute={selectiv: [moe]}", "strategy.recompute.selectiv", "nearest: selective"),
    (
        "strategy.recompute={selective: [moe, layer_norm]}",
        "strategy.recompute.selective.1",
        "one of core_attn, moe_act, layernorm, mla_up_proj, mlp, moe, shared_experts;"
        " nearest: layernorm",
    ),
    ("strategy.recompute={selective: [moe, moe]}", "strategy.recompute.selective", "twice"),
    ("strategy.recompute={selective: []}", "strategy.recompute.selective", "an empty list"),
    ("strategy.offload=optimizer", "strategy.offload", "a list of (optimizer, activations"),
    ("strategy.mesh_order=[tp, dp]", "strategy.mesh_order", "each of tp, cp, dp, pp once"),
    ("strategy.placement={ep: rack}", "strategy.placement.ep", "allowed: node, cluster"),
    ("strategy.collectives={xx: ring}", "strategy.collectives.xx", "allowed: tp, cp, dp"),
    ("strategy.collectives={tp: rin}", "strategy.collectives.tp", "nearest: ring"),
    ("software.preset=megatron", "software.preset", "nearest: megatron-core"),
    ("software.compile=yes", "software.compile", "got 'yes'; allowed: true or false"),
    ("constraints.memory_reserve=1", "constraints.memory_reserve", "from 0 below 1"),
    ("constraints.confidence=90", "constraints.confidence", "above 0 below 1"),
    ("objective.metric=speed", "objective.metric", "one of step_time"),
    ("emit=megatron", "emit", "a list of"),
    ("name=3", "name", "got 3"),
]


@pytest.mark.parametrize(("override", "key", "said"), WRONG)
def test_one_mistake_one_message(override: str, key: str, said: str) -> None:
    told = message(override)
    assert key in told.split(": ")[:2] or not key
    assert said in told
    assert told.isprintable()


LATER = [
    "parts=[{}]",
    "strategy.sharding={a: b}",
]


@pytest.mark.parametrize("override", LATER)
def test_what_is_not_planned_for_says_so(override: str) -> None:
    assert "is not supported yet" in message(override)


@pytest.mark.parametrize(
    "said",
    ["synchronous", "asynchronous", "{stale: 2}", "{local_sgd: {steps: 8}}", "{local_sgd: {}}"],
)
def test_every_consistency_is_read(said: str) -> None:
    assert load(TEXT, sets=[f"strategy.consistency={said}"]).strategy.consistency


@pytest.mark.parametrize("text", ["", "# nothing", "~", "- a", "3", "text"])
def test_a_job_is_a_mapping(text: str) -> None:
    assert "a job is a mapping" in message(text=text)


def test_pins_are_checked_with_their_line() -> None:
    text = TEXT.replace("strategy: {}", "strategy:\n  pp: 2\n  tp: 3")
    assert message(text=text) == "strategy.tp: tp 3 * pp 2 = 6 does not divide devices 1024"
    with pytest.raises(SpecError) as caught:
        load(text)
    assert caught.value.line == 18


def test_the_inside_of_a_list_is_at_fault_not_the_list() -> None:
    text = TEXT.replace("strategy: {}", "strategy:\n  tp:\n    - 2\n    - x")
    with pytest.raises(SpecError) as caught:
        load(text)
    assert (caught.value.key, caught.value.line) == ("strategy.tp.1", 19)


def test_slices_need_a_torus() -> None:
    told = message("hardware={system: dgx-h100, slice: {topology: 4x8}}")
    assert "slices are for a torus; dgx-h100 has a switch" in told
    told = message("hardware={system: tpu-v5e, slice: {topology: 4x4x4}}")
    assert "topology 4x4x4 has 3 axes; tpu-v5e has 2" in told


def test_given_levels_name_the_placement() -> None:
    levels = "hardware.levels=[{name: rack, devices: 64, bytes_per_s: 9.0e11}]"
    job = load(TEXT, sets=[levels, MIXTRAL, "strategy.placement={ep: rack}"])
    assert job.strategy.placement == {"ep": "rack"}
    assert "allowed: rack" in message(levels, "strategy.placement={ep: node}")


def test_set_overrides() -> None:
    raw = {"hardware": {"levels": [{"name": "a", "devices": 1}]}, "strategy": None}
    before = copy.deepcopy(raw)
    changed = with_set(
        raw,
        [
            "hardware.devices=512",
            "hardware.levels.0.devices=72",
            "strategy.recompute={full: 2}",
            "name=a=b",
            "emit=",
        ],
    )
    assert raw == before
    assert changed == {
        "hardware": {"levels": [{"name": "a", "devices": 72}], "devices": 512},
        "strategy": {"recompute": {"full": 2}},
        "name": "a=b",
        "emit": None,
    }


@pytest.mark.parametrize(
    "bad", ["devices", "=3", "a..b=3", ".a=3", "name.x=1", "emit.5=x", "emit.x=1", "tp=[1", "a=!!x"]
)
def test_bad_overrides_are_told(bad: str) -> None:
    with pytest.raises(SpecError, match="--set"):
        load(TEXT, sets=[bad])


def test_plain_values_are_checked_too() -> None:
    for bad in (float("nan"), 10**40, "\ud800", object(), b"x"):
        with pytest.raises(SpecError):
            load_mapping({"name": bad})
    deep: object = 1
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(SpecError, match="nested"):
        load_mapping({"name": deep})


def test_import_is_light() -> None:
    heavy = ("scipy", "matplotlib", "jax", "typer", "rich", "jinja2")
    code = f"import planner.spec, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Properties: every job survives dump and load; no mutation escapes as anything but SpecError.

degree = st.sampled_from([1, 2, 4, 8])
choice = degree | st.lists(degree, min_size=1, max_size=3)
recompute = st.sampled_from(["none", "selective", "per-operator", "projections", "full"]) | (
    st.builds(lambda layers: {"full": layers}, st.integers(1, 4))
)
rate = st.floats(1.0, 1e15)
jobs = st.fixed_dictionaries(
    {
        "workload": st.fixed_dictionaries(
            {
                "kind": st.just("training"),
                "model": st.sampled_from(["llama-3.1-70b", "mixtral-8x22b", "deepseek-v3"]),
                "sequence_length": st.just(8192),
                "global_batch": st.sampled_from([1024, 1.0e4]),
            },
            optional={
                "tokens": rate,
                "precision": st.sampled_from(["bf16", "fp8", "nvfp4"]),
                "task": st.sampled_from(["pretrain", "sft", "lora"]),
                "sequence_lengths": st.just({"mean": 900, "p99": 8000.5}),
                "packing": st.booleans(),
            },
        ),
        "hardware": st.fixed_dictionaries(
            {
                "system": st.sampled_from(["dgx-h100", "tpu-v5p", ["dgx-h100", "dgx-b200"]]),
                "devices": st.sampled_from([1024, [64, 128], {"min": 8, "max": 512}, 2.0e3]),
            },
            optional={
                "set": st.fixed_dictionaries({}, optional={"memory_bytes": rate}),
                "usd_per_device_hour": rate,
                "levels": st.just([{"name": "rack", "devices": 64, "bytes_per_s": 1e9}]),
            },
        ),
    },
    optional={
        "name": st.text(min_size=1, max_size=20),
        "objective": st.fixed_dictionaries({"metric": st.sampled_from(["cost", "devices"])}),
        "constraints": st.fixed_dictionaries({}, optional={"min_tokens_per_s": rate}),
        "failure": st.fixed_dictionaries({}, optional={"spare_nodes": st.integers(0, 9)}),
        "software": st.fixed_dictionaries({}, optional={"compile": st.booleans()}),
        "strategy": st.fixed_dictionaries(
            {},
            optional={
                "tp": choice,
                "sp": st.sampled_from([False, [False, True]]),  # true asks for tp above 1
                "recompute": recompute | st.lists(recompute, min_size=1, max_size=2),
                "offload": st.sampled_from([[], ["optimizer"], ["activations", "optimizer"]]),
                "mesh_order": st.permutations(["tp", "cp", "dp", "pp"]),
                "collectives": st.sampled_from(["auto", {"dp": "ring", "tp": "nvls"}]),
                "zero": st.integers(0, 3) | st.just([1, 3]),
                "schedule": st.sampled_from(["1f1b", ["1f1b", "interleaved"]]),
            },
        ),
        "emit": st.lists(st.sampled_from(["megatron", "jax"]), max_size=2),
    },
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(jobs)
def test_dump_and_load_give_the_same_job(raw: dict[str, object]) -> None:
    job = load_mapping(raw)
    dumped = dump(job)
    text = json.dumps(dumped, allow_nan=False)
    assert load_mapping(dumped) == job
    assert load_mapping(json.loads(text)) == job
    assert dump(load_mapping(dumped)) == dumped


@settings(deadline=None, max_examples=30)
@given(jobs)
def test_the_dump_as_text_is_a_job_file(raw: dict[str, object]) -> None:
    raw.pop("name", None)
    job = load_mapping(raw)
    assert load(json.dumps(dump(job))) == job


hostile = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**25, -1, 0, 1e29, 1e-300, "", "\x00", "../../etc/passwd", "a\x07/\nb"])
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.integers(-1, 3), max_size=3)
    | st.dictionaries(st.sampled_from(["full", "min", "max", "jax", "tp", "x"]), st.integers())
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found: list[tuple[str | int, ...]] = [path] if path else []
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, each in inner:
        found += places(each, (*path, key))
    return found


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(jobs, st.data())
def test_mutated_jobs_raise_spec_errors_only(raw: dict[str, object], data: st.DataObject) -> None:
    raw = copy.deepcopy(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        *around, last = data.draw(st.sampled_from(places(raw)))
        here: object = raw
        for part in around:
            here = here[part]  # type: ignore[index]
        assert isinstance(here, dict | list)
        action = data.draw(st.sampled_from(["delete", "replace", "rename"]))
        if action == "replace":
            here[last] = data.draw(hostile)  # type: ignore[index]
        elif len(here) > 1:
            value = here.pop(last)  # type: ignore[arg-type]
            if action == "rename" and isinstance(here, dict):
                here[data.draw(st.text(max_size=6))] = value
    try:
        load_mapping(raw)
    except SpecError as error:
        assert str(error).isprintable()


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_mutated_text_raises_spec_errors_only(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, min(len(TEXT), start + 40)))
    put = data.draw(st.text(max_size=12) | st.text(alphabet="{}[]:,- \n&*!|'\"0e.", max_size=12))
    try:
        load(TEXT[:start] + put + TEXT[end:])
    except SpecError as error:
        assert str(error).isprintable()


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_override_raises_spec_errors_only(key: str, value: str) -> None:
    for each in (key, f"{key}={value}", f"strategy.tp={value}", f"hardware.system={value}"):
        try:
            load(TEXT, sets=[each])
        except SpecError as error:
            assert str(error).isprintable()


def test_the_name_of_a_repository_is_told_its_preset() -> None:
    said = message("workload.model=meta-llama/Llama-3.1-8B-Instruct")
    assert "no such file or folder; a preset is llama-3.1-8b" in said


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("a100", "'dgx-a100-40gb' or 'dgx-a100-80gb'"),
        ("v6e", "'tpu-v6e'"),
        ("dgx-h10", "'dgx-h100'"),
    ],
)
def test_a_chip_is_told_the_machines_that_have_it(said: str, meant: str) -> None:
    assert f"did you mean {meant}" in message(f"hardware.system={said}")
