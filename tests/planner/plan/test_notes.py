"""Notes of a plan on figures that look like another unit, and on what is paid or left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner import recommend, spec

JOB: dict[str, Any] = {
    "workload": {"kind": "training", "model": "llama-3.2-1b", "sequence_length": 2048,
                 "global_batch": 64},
    "hardware": {"system": "dgx-h100", "devices": 16},
}  # fmt: skip
NODE = {"name": "box", "devices": 8, "bytes_per_s": 4.0e11, "latency_s": 1.0e-6}
FAR = {"name": "wan", "devices": 16, "bytes_per_s": 1.0e9, "latency_s": 0.02}


def noted(**sections: dict[str, Any]) -> str:
    raw = {key: value | sections.get(key, {}) for key, value in JOB.items()}
    return " ".join(notes_of(raw))


def notes_of(raw: dict[str, Any]) -> list[str]:
    made: Any = recommend.plan(spec.load_mapping(raw))
    return list(made.get("notes", ()))


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"hardware": {"set": {"peak_flop_per_s": 989}}}, "is it in FLOP/s?"),
        ({"hardware": {"set": {"power_cap_w": 0.35}}}, "is it in watts?"),
        ({"hardware": {"set": {"intra_node_bytes_per_s": 450}}}, "is it in bytes/s?"),
        (
            {"hardware": {"levels": [NODE, {**FAR, "bytes_per_s": 50, "latency_s": 1.0e-5}]}},
            "is it 50 of level wan?",
        ),
        ({"workload": {"global_batch": 2**20}}, "global_batch counts sequences, not tokens"),
        ({"workload": {"tokens": 1000}}, "the run is one step: of 131,072 tokens"),
        ({"hardware": {"levels": [FAR]}}, "wan joins 2 sites of one node, 8 devices, each"),
        ({"hardware": {"devices": 1}}, "paid for whole: 7 of 8 idle"),
        ({"workload": {"optimizer": "muon"}}, "not the products that make its updates orthogonal"),
    ],
    ids=str,
)
def test_what_may_be_mistaken_is_said(sections: dict[str, Any], said: str) -> None:
    assert said in noted(**sections)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"hardware": {"set": {"peak_flop_per_s": 5.0e14, "power_cap_w": 350}}},
        {"hardware": {"levels": [NODE, FAR]}},
    ],
    ids=str,
)
def test_what_is_plain_is_not(sections: dict[str, Any]) -> None:
    text = noted(**sections)
    assert not any(word in text for word in ("is it", "counts", "joins", "paid for whole"))


def test_a_short_run_does_not_wait_for_hosts() -> None:
    """One step and its checkpoint: half of the time is no step, but no host is lost."""
    assert "lost hosts" not in noted(workload={"tokens": 1000})
    short = JOB | {"failure": {"node_mtbf_s": 1.0e4, "restart_s": 1.0e4}}
    assert "lost hosts leave" in " ".join(notes_of(short))


def test_a_vision_tower_that_is_not_planned_is_said(tmp_path: Path) -> None:
    inner = {"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 512, "vocab_size": 1000,
             "intermediate_size": 1024, "num_attention_heads": 8}  # fmt: skip
    outer = {"model_type": "llava", "text_config": inner, "vision_config": {"model_type": "clip"}}
    (tmp_path / "config.json").write_text(json.dumps(outer), "utf-8")
    work = JOB["workload"] | {"model": str(tmp_path)}
    found = notes_of(JOB | {"workload": work})
    assert any("language model alone is planned: its vision encoder (clip)" in n for n in found)
