"""Random small training jobs as YAML text, for property tests through the door."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

__all__ = ["jobs", "text_of"]

PRESETS = {
    "dgx-h100": ("megatron-core", "fsdp-compile", "fsdp-eager", "megatron-deepspeed"),
    "dgx-a100-40gb": ("megatron-core", "fsdp-eager", "megatron-2022", "internevo"),
    "dgx-b200": ("megatron-core", "fsdp-compile"),
    "mi300x": ("primus", "fsdp-compile"),
    "gb200-nvl72": ("megatron-core",),
    "tpu-v5p": ("maxtext",),
}


def text_of(raw: Mapping[str, Any]) -> str:
    """Return a job as text that the loader reads (JSON is YAML)."""
    return json.dumps(raw)


@st.composite
def models(draw: st.DrawFn, moe: bool | None = None) -> dict[str, Any]:
    """Draw a decoder of 50 M to 8 B parameters, dense or a mixture."""
    heads = draw(st.sampled_from((8, 16, 32)))
    hidden = heads * draw(st.sampled_from((64, 128)))
    model: dict[str, Any] = {
        "name": "small",
        "layers": draw(st.sampled_from((4, 6, 8, 12, 22))),
        "hidden": hidden,
        "ffn_hidden": hidden * draw(st.sampled_from((2, 4))),
        "heads": heads,
        "kv_heads": draw(st.sampled_from((heads, heads // 2, 4))),
        "vocab": draw(st.sampled_from((32000, 128256))),
        "gated_mlp": draw(st.booleans()),
        "tied_embeddings": draw(st.booleans()),
        "position": draw(st.sampled_from(("rope", "learned"))),
    }
    for switch in ("qk_norm", "qkv_bias", "linear_bias", "norm_bias", "post_norms"):
        if draw(st.integers(0, 4)) == 0:
            model[switch] = True
    if moe if moe is not None else draw(st.integers(0, 3)) == 0:
        model["moe"] = {
            "experts": draw(st.sampled_from((8, 16))),
            "top_k": 2,
            "ffn_hidden": hidden,
            "first_dense_layers": draw(st.sampled_from((0, 1))),
        }
    if draw(st.integers(0, 4)) == 0:
        model["vision"] = draw(towers())
    return model


@st.composite
def towers(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a vision tower of 20 to 600 M parameters, whose images fit in 1,024 tokens."""
    heads = draw(st.sampled_from((8, 12, 25)))
    tower: dict[str, Any] = {
        "layers": draw(st.sampled_from((4, 9))),
        "hidden": 64 * heads,
        "ffn_hidden": 256 * heads,
        "heads": heads,
        "gated_mlp": draw(st.booleans()),
        "tokens": 1024,
        "merge": 2,
        "images_per_sequence": draw(st.sampled_from((0.5, 1.0, 4.0))),
        "position": draw(st.sampled_from(("learned", "rope"))),
        "norm_bias": draw(st.booleans()),
        "qk_norm": draw(st.booleans()),
        "qkv_bias": draw(st.booleans()),
        "output_bias": False,
        "mlp_bias": False,
        "extra_parameters": draw(st.sampled_from((0, 1_000_000))),
    }
    if draw(st.booleans()):
        tower |= {"window": 64, "full_attention_layers": 1}
    return tower


@st.composite
def jobs(
    draw: st.DrawFn,
    *,
    systems: tuple[str, ...] = tuple(PRESETS),
    presets: tuple[str, ...] | None = None,
    moe: bool | None = None,
    tight: bool = False,
    devices: tuple[int, ...] = (8, 16, 32, 64),
) -> dict[str, Any]:
    """Draw a job for 8 to 64 devices.

    Parameters
    ----------
    tight : give the device little memory, so that the limit decides
    """
    system = draw(st.sampled_from(systems))
    fitting = [p for p in PRESETS[system] if presets is None or p in presets]
    raw: dict[str, Any] = {
        "workload": {
            "kind": "training",
            "model": draw(models(moe=moe)),
            "sequence_length": draw(st.sampled_from((1024, 4096, 8192))),
            "global_batch": draw(st.sampled_from((16, 48, 64, 128))),
            "precision": draw(st.sampled_from(("bf16", "fp8"))),
        },
        "hardware": {"system": system, "devices": draw(st.sampled_from(devices))},
        "software": {"preset": draw(st.sampled_from(fitting))},
    }
    if tight or draw(st.booleans()):
        raw["hardware"]["set"] = {"memory_bytes": draw(st.sampled_from((12e9, 20e9, 40e9)))}
    if draw(st.booleans()):
        raw["workload"]["tokens"] = 1e10
    return raw
