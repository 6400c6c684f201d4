"""Jobs of a third round of users, through the command line: each once had a wrong answer."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from planner.cli import app


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def told(job: str, *command: str) -> Any:
    """Run a command on a job."""
    Path("job.yaml").write_text(job, "utf-8")
    return CliRunner().invoke(app, [*(command or ("plan",)), "job.yaml"])


def ran(job: str, command: str = "plan") -> dict[str, Any]:
    """Return the document of a job that is planned or predicted."""
    result = told(job, command, "--json", "-")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


FINE_TUNE = """\
workload: {kind: training, model: llama-3.1-70b, task: sft, sequence_length: 4096, global_batch: 64}
hardware: {system: %s, devices: %d}
"""
"""Fine-tuning of all of 70 billion parameters: 847 GB of optimizer states, in fp32."""


def test_a_host_holds_no_more_than_its_memory():
    """Weights and gradients fit on eight L40S, but their host has 768 GB for 847 GB of states."""
    result = told(FINE_TUNE % ("l40s", 8))
    assert result.exit_code == 3, result.stdout
    assert "offload optimizer" in result.stderr
    pins = "strategy: {offload: [optimizer], tp: 2, pp: 4, recompute: full}\n"
    made = ran(FINE_TUNE % ("l40s", 8) + pins, "predict")["prediction"]
    held = {part["name"]: part["bytes"] for part in made["memory"]}
    assert made["fits"] is False
    assert held["beyond the host's memory"] > 1e9
    assert sum(part["bytes"] for part in made["memory"]) == made["memory_bytes"]


def test_what_a_host_can_hold_is_offloaded_as_before():
    made = ran(FINE_TUNE % ("l40s", 16))
    assert made["prediction"]["fits"] is True
    assert all(part["name"] != "beyond the host's memory" for part in made["prediction"]["memory"])


def test_idle_devices_leave_their_share_of_the_host_to_others():
    """847 GB on the host of four H100: over 4 x 256 GB less the reserve if no other share."""
    job = FINE_TUNE % ("dgx-h100", 2)
    pins = "strategy: {offload: [optimizer], tp: 2, recompute: full}\n"
    made = ran(job + pins, "predict")["prediction"]
    assert all(part["name"] != "beyond the host's memory" for part in made["memory"])


def test_the_nearest_miss_counts_what_can_be_offloaded():
    """70 billion parameters on two H100: 565 GB a device only while nothing is on the host."""
    found = re.search(r"with devices of (\d+) GB", told(FINE_TUNE % ("dgx-h100", 2)).stderr)
    assert found and int(found[1]) < 250
    roomy = f"{{memory_bytes: {int(found[1]) + 1}.0e9}}"
    job = FINE_TUNE.replace("%d}", f"%d, set: {roomy}}}") % ("dgx-h100", 2)
    assert ran(job)["prediction"]["fits"] is True


def test_fewer_devices_than_the_model_asks_for_say_why():
    job = FINE_TUNE % ("dgx-h100", 4) + "objective: {metric: devices}\n"
    because = ran(job)["checklist"]["ceiling"]["because"]
    assert "where they hold all of it; the plan has 4, with optimizer on the host" in because


def test_a_token_rate_that_is_missed_asks_for_no_time():
    job = """\
workload: {kind: training, model: llama-3.2-1b, sequence_length: 8192, global_batch: 8}
hardware: {system: dgx-h100, devices: 8}
constraints: {min_tokens_per_s: 1.0e9}
"""
    result = told(job)
    assert result.exit_code == 3
    assert "a lower rate" in result.stderr and "more time" not in result.stderr


SIX_NODES = """\
workload: {kind: training, model: llama-3.1-8b, sequence_length: 8192, global_batch: 48}
hardware: {system: dgx-h100, devices: 48}
"""


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("zero_group: 5", "job.yaml:3: strategy.zero_group: zero_group 5 does not divide"),
        ("zero_group: 8, tp: 4", "zero_group 8 * tp 4 = 32 does not divide devices 48"),
    ],
)
def test_a_pin_that_can_never_be_is_the_users_mistake(strategy: str, said: str):
    result = told(f"{SIX_NODES}strategy: {{{strategy}}}\n")
    assert result.exit_code == 2
    assert said in result.stderr


def test_heads_that_do_not_divide_name_the_degrees_that_would():
    result = told(f"{SIX_NODES}strategy: {{tp: 3}}\n")
    assert result.exit_code == 3
    assert "tp 3 does not divide the model's 32 attention heads, tp 2 or 4 would" in result.stderr


@pytest.mark.parametrize(
    ("section", "key", "meant"),
    [
        ("workload", "adapters: {rank: 8}", "lora"),
        ("workload", "batch_size: 8", "global_batch"),
        ("hardware", "gpus: 8", "devices"),
        ("strategy", "tensor_parallel_degree: 8", "tp"),
        ("constraints", "budget: 8", "max_cost_usd"),
    ],
)
def test_a_word_of_another_tool_gets_the_key_that_it_means(section: str, key: str, meant: str):
    sections = {
        "workload": "kind: training, model: llama-3.2-1b, sequence_length: 8192, global_batch: 8",
        "hardware": "system: dgx-h100, devices: 8",
    }
    sections[section] = ", ".join(filter(None, [sections.get(section), key]))
    result = told("\n".join(f"{name}: {{{held}}}" for name, held in sections.items()))
    assert result.exit_code == 2
    assert result.stderr.rstrip().endswith(f"nearest: {meant}")


def test_a_run_on_spot_machines_counts_its_preemptions():
    job = """\
workload: {kind: training, model: llama-3.2-1b, sequence_length: 8192, global_batch: 64, tokens: 1.0e11}
hardware: {system: dgx-h100, devices: 64}
failure: {preemption_mean_s: 1.0e5, notice_s: 60, replacement_s: 600}
"""  # noqa: E501
    made = ran(job)
    taken = made["prediction"]["preemptions_expected"]
    assert f"{taken:.3g} preemptions and " in made["design"]["fault_tolerance"]["because"]


def test_a_batch_of_threes_and_fives_is_cut_so_too():
    """Micro-batches of 3 and 5 were tried only where another pin left few meshes."""
    job = """\
workload: {kind: training, model: qwen3-30b-a3b, sequence_length: 4096, global_batch: 960}
hardware: {system: dgx-h100, devices: 64}
"""
    free = ran(job)["prediction"]["step_time_s"]
    pinned = ran(job + "strategy: {tp: 1, pp: 4, micro_batch: 5}\n")["prediction"]["step_time_s"]
    assert free <= pinned * 1.002


ENERGY = """\
workload: {kind: training, model: llama-3.2-1b, sequence_length: 8192, global_batch: 64, tokens: 1.0e9}
hardware: {system: dgx-h100, devices: [8, 16, 32]}
objective: {metric: energy}
"""  # noqa: E501


def test_the_least_energy_is_bounded_by_what_devices_draw_at_least():
    made = ran(ENERGY)
    power_w = 8 * 100.0  # the fewest devices, each well above this with its host
    least_s = min(point["step_time_s"] for point in made["frontier"])
    steps = made["prediction"]["steps"]
    assert power_w * steps * least_s < made["search"]["bound"] <= made["prediction"]["energy_j"]
    assert made["search"]["gap"] < 0.9


def test_a_frontier_shows_what_the_objective_asks_for():
    said = told(ENERGY).stdout
    table = said[said.index("Systems and counts") :].partition("\n\n")[0]
    assert " energy " in table and table.count("Wh") == 3


def test_counts_whose_shards_do_not_fit_are_marked_along_the_curve():
    """Eight billion parameters: 16 bytes each, sharded over the replicas that there are."""
    job = """\
workload: {kind: training, model: llama-3.1-8b, sequence_length: 8192, global_batch: 64}
hardware: {system: dgx-h100, devices: 16}
strategy: {tp: 1, pp: 1, cp: 1, zero: 1, offload: []}
"""
    points = {point["devices"]: point["fits"] for point in ran(job)["scaling"]["points"]}
    assert points[1] is False and points[16] is True
    said = told(job).stdout
    assert "does not fit" in said[said.index("Scaling") :].partition("\n\n")[0]


def test_memory_in_another_unit_is_told_what_it_counts():
    job = """\
workload: {kind: training, model: llama-3.2-1b, sequence_length: 2048, global_batch: 8}
hardware: {system: dgx-h100, devices: 8, set: {memory_bytes: 80}}
"""
    result = told(job)
    assert result.exit_code == 3
    assert "memory_bytes 80 counts bytes: 80 GB is 80.0e9" in result.stderr


@pytest.mark.parametrize(
    ("hardware", "strategy", "said"),
    [
        (
            "system: dgx-v100, devices: 8",
            "",
            "dgx-v100 has no bf16 units: matrix products are priced in fp16",
        ),
        (
            "system: dgx-h100, devices: 8, levels:"
            " [{name: node, devices: 8, bytes_per_s: 3.0e11, latency_s: 2}]",
            "consistency: synchronous",
            "is it 2 s of level node?",
        ),
        ("system: dgx-h100, devices: 8", "offload: [optimizer]", "memory, as the job pins"),
    ],
)
def test_what_a_reader_must_know_is_said(hardware: str, strategy: str, said: str):
    job = f"""\
workload: {{kind: training, model: llama-3.2-1b, sequence_length: 2048, global_batch: 8}}
hardware: {{{hardware}}}
strategy: {{{strategy}}}
"""
    stdout = " ".join(told(job).stdout.split())
    assert said in stdout
    assert "without that this plan would not fit" not in stdout


def test_a_run_that_mostly_fails_has_failures_for_its_ceiling():
    job = """\
workload: {kind: training, model: llama-3.2-1b, sequence_length: 8192, global_batch: 64, tokens: 1.0e11}
hardware: {system: dgx-h100, devices: 16}
failure: {node_mtbf_s: 600}
"""  # noqa: E501
    made = ran(job)
    assert made["prediction"]["goodput"] < 0.5
    assert made["checklist"]["tax"]["choice"] == "failures are the new ceiling"


def test_what_crosses_sites_and_experts_is_named():
    far = """\
workload: {kind: training, model: llama-3.2-1b, sequence_length: 2048, global_batch: 256, tokens: 1.0e10}
hardware:
  system: dgx-h100
  devices: 16
  levels: [{name: wan, devices: 16, bytes_per_s: 1.25e8, latency_s: 3.0e-2}]
"""  # noqa: E501
    choice = ran(far)["design"]["communication"]["choice"]
    assert re.search(r"sites: local updates: \d+ steps, then across wan", choice)
    split = """\
workload: {kind: training, model: mixtral-8x7b, sequence_length: 4096, global_batch: 64}
hardware: {system: tpu-v5p, slice: {topology: 4x4x4}}
strategy: {tp: 4, ep: 1, etp: 4, pp: 1, zero: 3}
"""
    choice = ran(split, "plan")["design"]["communication"]["choice"]
    assert "ep: tokens gathered and scattered" in choice and "all-to-all" not in choice


def test_a_missed_deadline_names_the_machines_and_a_count_between_powers_of_two():
    job = """\
workload: {kind: training, model: llama-3.2-1b, sequence_length: 8192, global_batch: 480, tokens: 1.0e10}
hardware: {system: dgx-h100, devices: %d}
constraints: {deadline_s: %g}
"""  # noqa: E501
    late = told(job % (16, 1.0)).stderr
    needs = re.search(r"the fastest plan needs ([\d.e+]+) s .*, on 16 x dgx-h100", late)
    assert needs
    deadline_s = float(needs[1]) / 1.2
    found = re.search(r"It would hold with (\d+) devices", told(job % (16, deadline_s)).stderr)
    assert found and int(found[1]) == 24
    assert ran(job % (24, deadline_s))["prediction"]["fits"] is True


def test_the_free_plan_is_no_slower_than_one_of_its_own_kind():
    """Its bounds lie so close together that 200 meshes were dealt without the best."""
    job = """\
workload: {kind: training, model: gpt-oss-120b, sequence_length: 8192, global_batch: 512}
hardware: {system: dgx-b200, devices: 64}
"""
    pins = (
        "strategy: {tp: 1, cp: 1, pp: 2, vpp: 9, ep: 8, etp: 1, zero: 1, zero_group: 16,"
        " micro_batch: 2, schedule: interleaved, recompute: {selective: [moe_act]}, offload: [],"
        " layers_per_stage: [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 1]}\n"
    )
    pinned = ran(job + pins, "predict")["prediction"]
    assert pinned["fits"] is True
    assert ran(job)["prediction"]["step_time_s"] <= pinned["step_time_s"] * 1.002
