"""Which recipes a runtime's text names, and what they change of a stack."""

import pytest

from hardware_profiles.load import names
from hardware_profiles.lookup import PRECISIONS
from hardware_profiles.runtime import Recipe, _runtimes, recipes_of, recompute_of, with_recipes
from hardware_profiles.stack import Switches, load_stack
from planner.strategy import Strategy

QWEN = ("qwen3-30b-a3b", "gb300-nvl72", "mxfp8")
FUSED = {"fused_dispatch": True}
WHOLE = {"cuda_graphs": True, "fused_experts": True, "overlap_ep": True, **FUSED}


def switches_of(runtime: str | None, model: str, machine: str, precision: str) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for recipe in recipes_of(runtime, model, machine, precision):
        found |= recipe.switches
    return found


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ("Megatron-Bridge 26.06", WHOLE),
        ("megatron-bridge 26.06.01", WHOLE),
        ("Megatron-Bridge 26.08, page of July", WHOLE),
        ("Megatron Bridge 26.06", WHOLE),
        ("Megatron-Bridge", WHOLE),  # no release: today's
        ("Megatron-Bridge, tuned by us", WHOLE),
        ("Megatron-Bridge 26.04.01", FUSED),
        ("Megatron-Bridge 25.11", FUSED),
        ("Megatron-Bridge 25.09", {}),
        ("Megatron-Bridges 26.06", {}),
        ("Megatron 26.06", {}),
        ("NeMo 26.06", {}),
        ("", {}),
        (None, {}),
    ],
)
def test_a_release_brings_its_own_recipes(runtime, expected):
    assert switches_of(runtime, *QWEN) == expected


def test_a_recipe_is_for_its_models_machines_and_precisions():
    runtime = "Megatron-Bridge 26.06"
    assert switches_of(runtime, "Qwen3 30B-A3B", *QWEN[1:]) == WHOLE
    assert switches_of(runtime, "mixtral-8x7b", *QWEN[1:]) == {}
    assert switches_of(runtime, QWEN[0], "dgx-h100", "mxfp8") == FUSED
    assert switches_of(runtime, *QWEN[:2], "bf16") == FUSED


def test_large_llamas_run_tensor_exchanges_under_products_but_in_nvfp4():
    for model in ("llama3-70b", "llama-3.1-405b"):
        for precision in ("bf16", "fp8", "mxfp8", "nvfp4"):
            set_ = switches_of("Megatron-Bridge 25.09", model, "dgx-h100", precision)
            assert set_ == ({} if precision == "nvfp4" else {"overlap_tp": True})


@pytest.mark.parametrize(
    ("runtime", "model", "overlaps"),
    [
        ("NeMo 24.07, page of commit 4c73f77", "llama2-70b", True),
        ("NeMo launcher, page of commit e3b5040", "llama3-70b", True),
        ("NeMo 23.08", "llama2-70b", False),
        ("NeMo 24.07", "llama2-7b", False),
        ("NeMo 24.07", "gpt3-20b", True),
        ("NeMo 24.07", "gpt3-175b", False),
        ("NeMo 24.07", "nemotron-340b", False),
        ("NeMo 25.02", "nemotron-340b", True),
    ],
)
def test_nemo_s_launcher_overlaps_tensor_exchanges_of_most_models(runtime, model, overlaps):
    expected = {"overlap_tp": True} if overlaps else {}
    assert switches_of(runtime, model, "dgx-h100", "fp8") == expected


def modules(*names: str) -> dict[str, list[str]]:
    return {"selective": list(names)}


@pytest.mark.parametrize(
    ("release", "model", "machine", "precision", "expected"),
    [
        ("25.09", "gpt-oss-120b", "dgx-h100", "bf16", None),
        ("25.11", "gpt-oss-120b", "dgx-h100", "bf16", modules("layernorm", "moe_act")),
        ("26.08", "gpt-oss-120b", "gb200-nvl72", "bf16", modules("layernorm", "moe_act")),
        ("26.04", "gpt-oss-120b", "gb300-nvl72", "bf16", None),
        ("26.04.01", "gpt-oss-120b", "gb200-nvl72", "mxfp8", modules("layernorm", "moe_act")),
        ("26.06", "gpt-oss-120b", "gb200-nvl72", "mxfp8", None),
        ("25.09", "deepseek-v3", "gb200-nvl72", "bf16", modules("mla_up_proj", "mlp")),
        ("25.11", "deepseek-v3", "gb300-nvl72", "fp8", modules("moe_act")),
        ("26.02", "deepseek-v3", "gb300-nvl72", "fp8", modules("mla_up_proj")),
        ("26.06", "DeepSeek-V3", "gb300-nvl72", "mxfp8", "none"),
        ("26.02.01", "kimi-k2", "dgx-h100", "bf16", modules("mla_up_proj", "mlp")),
        ("26.04", "qwen3-30b-a3b", "dgx-h100", "fp8", None),
        ("25.11", "llama-3-8b", "dgx-h100", "fp8", {"full": 5}),
        ("25.11", "llama-3-8b", "dgx-h100", "bf16", None),
    ],
)
def test_what_a_release_recomputes(release, model, machine, precision, expected):
    found = recompute_of(recipes_of(f"Megatron-Bridge {release}", model, machine, precision))
    as_lists = found if not isinstance(found, dict) else {
        key: list(value) if isinstance(value, list | tuple) else value
        for key, value in found.items()
    }  # fmt: skip
    assert as_lists == expected


def test_releases_are_compared_by_their_numbers_and_the_last_one_is_excluded():
    between = Recipe(since="25.9", before="25.11", source="test")
    held = [one for one in ("25.8", "25.9", "25.10.3", "25.11", "26") if between.holds(one, *QWEN)]
    assert held == ["25.9", "25.10.3"]
    assert not between.holds("", *QWEN)
    assert Recipe(since="25.9", source="test").holds("", *QWEN)


def test_settings_take_the_place_of_the_preset_s_and_leave_the_rest():
    eager = load_stack("fsdp-eager")
    assert with_recipes(eager, ()) is eager
    old = with_recipes(eager, recipes_of("Composer FSDP, bf16, PURE", "mpt-7b", "l40s", "bf16"))
    assert (eager.attention_kernels, old.attention_kernels) == ("flash-2", "flash-1")
    assert (eager.switches.fused_loss, old.switches.fused_loss) == (False, True)
    same = old.model_copy(update={
        "attention_kernels": "flash-2",
        "switches": old.switches.model_copy(update={"fused_loss": False}),
    })  # fmt: skip
    assert same == eager


def test_every_recipe_sets_what_there_is_for_what_there_is():
    for runtime in _runtimes():
        for recipe in runtime.recipes:
            assert recipe.switches or recipe.attention_kernels or recipe.recompute is not None
            if recipe.recompute is not None:
                Strategy.model_validate({"recompute": recipe.recompute})
            assert set(recipe.switches) <= set(Switches.model_fields)
            assert set(recipe.machines) <= set(names())
            assert set(recipe.precisions) <= set(PRECISIONS)
            if recipe.before:
                assert recipe.holds(recipe.since, *_one_job(recipe))
                assert not recipe.holds(recipe.before, *_one_job(recipe))


def _one_job(recipe: Recipe) -> tuple[str, str, str]:
    first = (recipe.models, recipe.machines, recipe.precisions)
    model, machine, precision = (given[0] if given else "any" for given in first)
    return model, machine, precision
