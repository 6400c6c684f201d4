"""The oracle's model: a decoder's layers as plain operators, counted for one token.

Knows an architecture as a mapping; no machine, no mesh.
"""

from dataclasses import dataclass, field, replace
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
    loss: bool = False
    wide: bool = False
    result: float = 0.0
    pairs: float = 0.0
    seen: float = 0.0
    head: float = 0.0
    reach: float = 0.0
    every_second: float = 0.5
    unread: bool = False
    branches: float = 1.0
    swapped: float = 0.0
    apart: float = 0.0
    scored: float = 0.0
    copied: float = 0.0
    gate: bool = False
    looped: float = 0.0
    name: str = ""
    borrowed: bool = False


@dataclass
class Layer:
    """A layer or an end of the model: its ops, and how many exchanges it makes.

    In a vision tower (`image`), a token has `patches`, and `heads` stay whole on a rank. `apart`:
    keys and values of other ranks are there already.
    """

    name: str
    ops: list[Work] = field(default_factory=list)
    pairs: float = 0.0
    trips: int = 0
    patches: float = 1.0
    image: bool = False
    heads: int = 0
    width: float = 0.0
    apart: bool = False


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

        def product(
            inner: float, outer: float, split: str, biased: bool = False, share: float = 0.5,
            unread: bool = False,
        ) -> Work:  # fmt: skip
            weights = inner * outer + (outer if biased else 0.0)
            region = "heads" if split else ""
            return Work("matmul", region, inner, outer, split, kept=inner, weights=weights,
                         result=outer, every_second=share, unread=unread)  # fmt: skip

        # of query, key, value, out, gate, up and down, every second is saved, from the first
        some = (q + k) / (q + 2 * k)
        ops = [norm, product(h, q + 2 * k, "out", bool(m.get("qkv_bias")) or bias, some)]
        if m.get("qk_norm"):
            ops.append(Work("memory", "heads", touched=2 * (q + k), kept=q + k,
                             weights=2.0 * head, starts=2.0))  # fmt: skip
        if m.get("position", "rope") == "rope":
            ops.append(Work("memory", "heads", touched=2 * (q + k), starts=2.0))
        causal = (m.get("attention") or {}).get("causal", True)
        attention = Work("attention", "heads", q, k, touched=2 * q + 2 * k, kept=q + 2 * k,
                          scores=2.5 * m["heads"] * self.tokens, result=q,
                          pairs=(self.tokens + 1) / 2 if causal else self.tokens,
                          seen=m["heads"] * self.tokens, head=head, reach=self.tokens,
                          name="attention")  # fmt: skip
        ops += [attention, product(q, h, "in", bias, 0.0)]
        post = [norm] if m.get("post_norms") else []
        ops += [*post, residual, replace(norm, name="pre-mlp norm")]
        moe = m.get("moe")
        mixture = moe and number >= moe.get("first_dense_layers", 0) and (
            (number + 1) % moe.get("every", 1) == 0
        )  # fmt: skip
        made = Layer("moe" if mixture else "dense", pairs=2.0, width=h)

        def mlp(width: float, of: str = "") -> list[Work]:
            act = Work("memory", "heads", touched=(gates + 1) * width, kept=gates * width,
                        result=width, name=f"{of}act")  # fmt: skip
            up = product(h, gates * width, "out", bias, 1 / gates)
            up.branches = gates
            down = product(width, h, "in", bias, gates - 1, not m.get("post_norms"))
            up.name, down.name = f"{of}up", f"{of}down"
            up.borrowed = bool(of)  # the router keeps what both read
            return [up, act, down]

        if not mixture:
            ops += mlp(float(m["ffn_hidden"]))
        else:
            top, width, experts = float(moe["top_k"]), float(moe["ffn_hidden"]), moe["experts"]
            shared = moe.get("shared_ffn_hidden") or moe.get("shared_experts", 0) * width
            if shared:
                ops += mlp(float(shared), "shared ")
                made.pairs += 1.0
            router = Work("matmul", "", h, float(experts), kept=h, weights=h * experts,
                           wide=True, result=float(experts), starts=10.0)  # fmt: skip
            up = Work("grouped", "experts", h, gates * width, "out", kept=top * h,
                       weights=experts * gates * width * h, result=top * gates * width,
                       looped=1.0)  # fmt: skip
            clamped = 8 * top * width if m.get("mlp_clamp") else 0.0
            act = Work("memory", "experts", touched=top * (gates + 1) * width,
                        kept=top * gates * width, result=top * width, gate=True,
                        apart=clamped, scored=top * (gates + 1) * width,
                        copied=top * gates * width if clamped else 0.0)  # fmt: skip
            down = Work("grouped", "experts", width, h, "in", kept=top * width,
                         weights=experts * width * h, result=top * h, looped=1.0)  # fmt: skip
            trip = Work("dispatch", "experts", result=top * h, starts=4.0)
            home = Work("dispatch", "experts", result=top * h, starts=2.0)
            permute = Work("memory", "sequence", touched=2 * top * h, starts=8.0, result=top * h,
                            swapped=2 * top * h)  # fmt: skip
            added = bias or bool(m.get("mlp_bias"))
            back = Work("memory", "sequence", touched=(top + 1) * h, result=h,
                         swapped=2 * top * h, apart=14 * top * h if added else 0.0,
                         looped=2.0 if added else 0.0)  # fmt: skip
            names = ("router", "permute", "trip", "experts up", "experts act", "experts down",
                     "home", "unpermute")  # fmt: skip
            parts = (router, permute, trip, up, act, down, home, back)
            ops += [replace(op, name=name) for op, name in zip(parts, names, strict=True)]
            made.pairs -= 1.0
            made.trips = 2
        ops += [*post, residual]
        made.ops = ops
        return made

    def tower(self) -> list[Layer]:
        """Return the vision tower: patches to widths, layers, projector."""
        v = self.model.get("vision")
        if not v:
            return []
        h, w, d = float(v["hidden"]), float(v["ffn_hidden"]), float(self.model["hidden"])
        gates = 2.0 if v.get("gated_mlp") else 1.0
        patches, merge = v["tokens"], v.get("merge", 1) ** 2
        pairs = float(patches)
        if v.get("window"):
            full = v.get("full_attention_layers", 0)
            pairs = (patches * full + min(patches, v["window"]) * (v["layers"] - full)) / v[
                "layers"
            ]
        norm_weights = h * (2.0 if v.get("norm_bias", True) else 1.0)
        norm = Work("memory", "sequence", touched=2 * h, kept=h, weights=norm_weights, result=h)
        residual = Work("memory", "sequence", touched=3 * h, result=h)

        def product(
            inner: float, outer: float, split: str, biased: bool, share: float = 0.5,
            unread: bool = False,
        ) -> Work:  # fmt: skip
            region = "heads" if split else ""
            return Work("matmul", region, inner, outer, split, kept=inner, result=outer,
                         weights=inner * outer + (outer if biased else 0.0),
                         every_second=share, unread=unread)  # fmt: skip

        ops = [norm, product(h, 3 * h, "out", v.get("qkv_bias", True), 2 / 3)]
        if v.get("qk_norm"):
            ops.append(Work("memory", "heads", touched=4 * h, kept=2 * h, starts=2.0,
                             weights=2 * h / v["heads"]))  # fmt: skip
        if v.get("position", "learned") == "rope":
            ops.append(Work("memory", "heads", touched=4 * h, starts=2.0))
        ops.append(Work("attention", "heads", h, h, touched=4 * h, kept=3 * h, result=h,
                         scores=2.5 * v["heads"] * patches, pairs=pairs,
                         seen=v["heads"] * patches, head=h / v["heads"], reach=pairs))  # fmt: skip
        ops += [product(h, h, "in", False, 0.0), residual, norm]
        up = product(h, gates * w, "out", False, 1 / gates)
        up.branches = gates
        ops.append(up)
        ops.append(Work("memory", "heads", touched=(gates + 1) * w, kept=gates * w, result=w))
        ops += [product(w, h, "in", False, gates - 1, True), residual]
        share = v.get("images_per_sequence", 1.0) * patches / self.tokens
        first = product(v.get("patch_values", 588), h, "", False)
        first.weights += v.get("extra_parameters", 0)
        first.split = ""
        layer = Layer("vision", ops, 2.0, patches=share, heads=v["heads"], width=h)
        wide, mid = h * merge, float(v.get("projector_hidden") or d)
        scale = Work("memory", "sequence", touched=2 * wide, kept=wide, result=wide)
        act = Work("memory", "heads", touched=2 * mid, kept=mid, result=mid)
        end = [scale, product(wide, mid, "out", True), act, product(mid, d, "in", True)]
        made = [Layer("patches", [first], patches=share, width=h), *[layer] * v["layers"],
                Layer("projector", end, 1.0, patches=share / merge, width=d)]  # fmt: skip
        for one in made:
            one.image = True
        return made

    def embedding(self) -> Layer:
        """Return the lookup at the start."""
        m, h = self.model, float(self.model["hidden"])
        weights = m["vocab"] * h
        if m.get("position", "rope") == "learned":
            weights += (m.get("max_positions") or 2048) * h
        op = Work("memory", "sequence", touched=2 * h, weights=weights, result=h)
        return Layer("embedding", [op], pairs=0.5, width=h)

    def head(self) -> Layer:
        """Return the final normalisation, the logits and the loss."""
        m, h, vocab = self.model, float(self.model["hidden"]), float(self.model["vocab"])
        norm_weights = h * (2.0 if m.get("norm_bias") else 1.0)
        weights = 0.0 if m.get("tied_embeddings") else h * vocab
        norm = Work("memory", "sequence", touched=2 * h, kept=h, weights=norm_weights, result=h)
        logits = Work("matmul", "heads", h, vocab, "out", kept=h, weights=weights, wide=True,
                       result=vocab)  # fmt: skip
        loss = Work("memory", "heads", touched=4 * vocab, starts=6.0, loss=True)
        return Layer("head", [norm, logits, loss], pairs=0.5, width=h)
