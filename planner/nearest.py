"""Words for messages: the nearest valid name to what a user wrote, and a value cut short."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["hint", "nearest", "shown"]

LISTED = 40
SHOWN = 60

MEANT = {
    "adapter": ("lora",),
    "adapters": ("lora",),
    "peft": ("lora",),
    "batch_size": ("global_batch", "micro_batch"),
    "train_batch_size": ("global_batch",),
    "seq_len": ("sequence_length",),
    "context_length": ("sequence_length",),
    "max_length": ("sequence_length",),
    "dtype": ("precision",),
    "gpus": ("devices",),
    "num_gpus": ("devices",),
    "chips": ("devices",),
    "gpu": ("system",),
    "machine": ("system",),
    "accelerator": ("system",),
    "budget": ("max_cost_usd",),
    "budget_usd": ("max_cost_usd",),
    "goal": ("metric", "objective"),
    "target": ("metric", "emit"),
    "tensor_parallel": ("tp",),
    "context_parallel": ("cp",),
    "pipeline_parallel": ("pp",),
    "data_parallel": ("dp",),
    "expert_parallel": ("ep",),
    "fsdp": ("zero",),
    "activation_checkpointing": ("recompute",),
    "gradient_checkpointing": ("recompute",),
    "gradient_accumulation": ("microbatches", "micro_batch"),
}
"""Words that other tools have for a key of ours, which no spelling tells."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like `word`, by its spelling or by its meaning, or None."""
    by_lower = {choice.lower(): choice for choice in choices}
    for meant in MEANT.get(word[:100].lower().removesuffix("_degree"), ()):
        if meant in by_lower:
            return by_lower[meant]
    found = get_close_matches(word[:100].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def hint(word: str, choices: Iterable[str]) -> str:
    """Return `nearest: x` where one is near, otherwise `allowed: a, b, c`."""
    known = tuple(choices)
    found = nearest(word, known)
    if found is not None:
        return f"nearest: {found}"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"allowed: {', '.join(known[:LISTED])}{more}"


def shown(value: object) -> str:
    """Return a value as a message shows it: short, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
