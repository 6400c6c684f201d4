"""The oracle's model: a decoder's layers as plain operators, counted for one token.

Knows an architecture as a mapping; no machine, no mesh.
"""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Layer", "Model", "Work"]


@dataclass
class Work:
    """One op of one layer, forward, for one token of the whole model."""

    kind: str
    region: str
    width_in: float = 0.0
    width_out: float = 0.0
    split: str = ""
    touched: float = 0.0
    kept: float = 0.0
    scores: float = 0.0
    weights: float = 0.0
    starts: float = 1.0
    wide: bool = False
    result: float = 0.0


@dataclass
class Layer:
    """A layer or an end of the model: its ops, and how many exchanges it makes."""

    name: str
    ops: list[Work] = field(default_factory=list)
    pairs: float = 0.0
    trips: int = 0


class Model:
    """Layers of a decoder, for sequences of `tokens`."""

    def __init__(self, model: dict[str, Any], tokens: float) -> None:
        self.model, self.tokens = model, tokens

    def layer(self, number: int) -> Layer:
        """Ops of decoder layer `number`."""
        m = self.model
        h = float(m["hidden"])
        gates = 2.0 if m.get("gated_mlp") else 1.0
        bias = bool(m.get("linear_bias"))
        norm_weights = h * (2.0 if m.get("norm_bias") else 1.0)
        head = m.get("head_dim") or m["hidden"] // m["heads"]
        q, k = float(m["heads"] * head), float((m.get("kv_heads") or m["heads"]) * head)
        norm = Work("memory", "sequence", touched=2 * h, kept=h, weights=norm_weights, result=h)
        residual = Work("memory", "sequence", touched=3 * h, result=h)

        def product(inner: float, outer: float, split: str, biased: bool = False) -> Work:
            weights = inner * outer + (outer if biased else 0.0)
            region = "heads" if split else ""
            return Work("matmul", region, inner, outer, split, kept=inner, weights=weights,
                         result=outer)  # fmt: skip

        ops = [norm, product(h, q + 2 * k, "out", bool(m.get("qkv_bias")) or bias)]
        if m.get("qk_norm"):
            ops.append(Work("memory", "heads", touched=2 * (q + k), kept=q + k,
                             weights=2.0 * head, starts=2.0))  # fmt: skip
        if m.get("position", "rope") == "rope":
            ops.append(Work("memory", "heads", touched=2 * (q + k), starts=2.0))
        attention = Work("attention", "heads", q, k, touched=2 * q + 2 * k, kept=q + 2 * k,
                          scores=2.5 * m["heads"] * self.tokens, result=q)  # fmt: skip
        ops += [attention, product(q, h, "in", bias)]
        post = [norm] if m.get("post_norms") else []
        ops += [*post, residual, norm]
        moe = m.get("moe")
        mixture = moe and number >= moe.get("first_dense_layers", 0) and (
            (number + 1) % moe.get("every", 1) == 0
        )  # fmt: skip
        made = Layer("moe" if mixture else "dense", pairs=2.0)

        def mlp(width: float) -> list[Work]:
            act = Work("memory", "heads", touched=(gates + 1) * width, kept=gates * width,
                        result=width)  # fmt: skip
            up, down = product(h, gates * width, "out", bias), product(width, h, "in", bias)
            return [up, act, down]

        if not mixture:
            ops += mlp(float(m["ffn_hidden"]))
        else:
            top, width, experts = float(moe["top_k"]), float(moe["ffn_hidden"]), moe["experts"]
            shared = moe.get("shared_ffn_hidden") or moe.get("shared_experts", 0) * width
            if shared:
                ops += mlp(float(shared))
                made.pairs += 1.0
            router = Work("matmul", "", h, float(experts), weights=h * experts, wide=True,
                           result=float(experts))  # fmt: skip
            up = Work("grouped", "experts", h, gates * width, "out", kept=top * h,
                       weights=experts * gates * width * h, result=top * gates * width)  # fmt: skip
            act = Work("memory", "experts", touched=top * (gates + 1) * width,
                        kept=top * gates * width, result=top * width)  # fmt: skip
            down = Work("grouped", "experts", width, h, "in", kept=top * width,
                         weights=experts * width * h, result=top * h)  # fmt: skip
            trip = Work("dispatch", "experts", result=top * h)
            permute = Work("memory", "sequence", touched=2 * top * h, starts=3.0, result=top * h)
            back = Work("memory", "sequence", touched=(top + 1) * h, result=h)
            ops += [router, permute, trip, up, act, down, trip, back]
            made.pairs -= 1.0
            made.trips = 2
        ops += [*post, residual]
        made.ops = ops
        return made

    def embedding(self) -> Layer:
        """Return the lookup at the start."""
        m, h = self.model, float(self.model["hidden"])
        weights = m["vocab"] * h
        if m.get("position", "rope") == "learned":
            weights += (m.get("max_positions") or 2048) * h
        op = Work("memory", "sequence", touched=2 * h, weights=weights, result=h)
        return Layer("embedding", [op], pairs=0.5)

    def head(self) -> Layer:
        """Return the final normalisation, the logits and the loss."""
        m, h, vocab = self.model, float(self.model["hidden"]), float(self.model["vocab"])
        norm_weights = h * (2.0 if m.get("norm_bias") else 1.0)
        weights = 0.0 if m.get("tied_embeddings") else h * vocab
        norm = Work("memory", "sequence", touched=2 * h, kept=h, weights=norm_weights, result=h)
        logits = Work("matmul", "heads", h, vocab, "out", kept=h, weights=weights, wide=True,
                       result=vocab)  # fmt: skip
        loss = Work("memory", "heads", touched=4 * vocab, starts=6.0)
        return Layer("head", [norm, logits, loss], pairs=0.5)
