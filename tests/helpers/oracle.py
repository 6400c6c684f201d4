"""The price of a training plan, written again with plain loops and numbers.

Ranks are enumerated, layers and microbatches are looped over, nothing is folded and nothing is a
column. Shares no code with `planner` or `costmodels`: it reads the figures of a machine and of a
stack, a job and a strategy as plain values, and returns seconds and bytes by name.

Covers dense and mixture models with grouped-query attention on networks of switches, whole
sequences, full training. The formulas are those of docs/cost-model.md.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from hardware_profiles.load import load, matmul_kernel, peak_flop_per_s, with_overrides
from hardware_profiles.stack import load_stack

__all__ = ["price"]

WIDTH = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "mxfp8": 1.03}
FLOWS = ("matmul", "experts", "attention", "memory", "launch", "tp", "cp", "ep")
AGAIN = {
    "none": {},
    "selective": {"attention": 1.0},
    "per-operator": {"matmul": 0.5, "experts": 0.5, "memory": 1.0, "launch": 0.6, "tp": 0.5},
    "projections": {"attention": 1.0, "memory": 1.0, "launch": 0.5, "cp": 1.0},
    "full": dict.fromkeys(FLOWS, 1.0),
}


def price(job: dict[str, Any], plan: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Return exposed seconds and bytes by name; `plan` is a whole strategy, as plan.json has it."""
    here = _Job(job, plan)
    stages = [_Stage(here, s) for s in range(plan["pp"])]
    return _seconds(here, stages), _bytes(here, stages)


@dataclass
class _Work:
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
class _Level:
    """Devices of a member and of a domain, bytes/s of a member; links of a mesh, else 0."""

    inside: int
    domain: int
    rate: float
    alpha: float
    reduces: bool
    links: float


@dataclass
class _Layer:
    """A layer or an end of the model: its ops, and how many exchanges it makes."""

    name: str
    ops: list[_Work] = field(default_factory=list)
    pairs: float = 0.0
    trips: int = 0


class _Job:
    """A job, its machine and its stack, as numbers."""

    def __init__(self, job: dict[str, Any], plan: dict[str, Any]) -> None:
        self.plan, work = plan, job["workload"]
        self.model, self.tokens = work["model"], float(work["sequence_length"])
        hardware = job["hardware"]
        self.profile = with_overrides(load(hardware["system"]), hardware.get("set") or {})
        self.devices = hardware["devices"]
        software = job.get("software") or {}
        self.stack = load_stack(software.get("preset", "megatron-core"))
        self.family = self.stack.family
        given = {k: v for k, v in software.items() if k not in ("preset", "runtime")}
        self.on = self.stack.switches.model_copy(update=given)
        self.precision = work.get("precision", "bf16")
        wide = self.precision != "fp32"
        self.act = 2.0 if wide else 4.0
        self.product = WIDTH[self.precision]
        self.grad = WIDTH[self.on.grad_dtype]
        self.master = 4.0 if wide and self.on.master_weights and not self.family.shards_master else 0.0
        self.moments = {"adam": 8.0, "adamw": 8.0, "sgd": 4.0}[work.get("optimizer", "adam")]
        self.stored = self.act
        if self.family.shards_master:
            self.stored = 4.0 if self.on.master_weights or not wide else 2.0
        moe = self.model.get("moe")
        self.load = 1.0
        if moe:
            self.load = 1.15 if moe.get("imbalance") is None else moe["imbalance"]
            if not moe.get("dropless", True):
                self.load = moe.get("capacity_factor") or 1.0
        self.levels = self._levels()
        self.kernel()

    def kernel(self) -> None:
        """Rates of the chip's kernels."""
        kernels, profile = self.profile.kernels, self.profile
        self.bandwidth = profile.memory_bytes_per_s.value * kernels.memory.efficiency.value
        self.memory_fixed = kernels.memory.fixed_s.value
        wide = self.precision if self.precision in ("fp32", "fp16") else "bf16"
        self.rate = {}
        for name, kind in (("low", self.precision), ("wide", wide)):
            kernel = matmul_kernel(profile, kind)
            peak = peak_flop_per_s(profile, kind).value
            self.rate[name] = (peak * kernel.efficiency.value, kernel.fixed_s.value)
        peak = peak_flop_per_s(profile, wide).value
        self.attention_rate = (
            peak * kernels.attention_forward.efficiency.value,
            peak * kernels.attention_backward.efficiency.value,
        )
        self.attention_fixed = kernels.attention_forward.fixed_s.value
        self.grouped = kernels.grouped_matmul.efficiency.value
        self.tile = (kernels.tile_m, kernels.tile_n, kernels.units)

    def _levels(self) -> list[_Level]:
        made: list[_Level] = []
        inside = 1
        for level in self.profile.network:
            assert level.kind != "torus", "the oracle has no torus"
            domain = min(self.devices, level.devices or self.devices)
            short = level.oversubscription.value if level.oversubscription else 1.0
            rate = level.bytes_per_s.value * level.efficiency.value / short
            links = (level.devices or 0) / inside - 1 if level.kind == "mesh" else 0
            if not made or domain > made[-1].domain:
                alpha, reduces = level.latency_s.value, level.in_switch_reduction
                made.append(_Level(inside, domain, rate, alpha, reduces, links))
            inside = domain
        return made

    def layer(self, number: int) -> _Layer:
        """Ops of decoder layer `number`."""
        m = self.model
        h = float(m["hidden"])
        gates = 2.0 if m.get("gated_mlp") else 1.0
        bias = bool(m.get("linear_bias"))
        norm_weights = h * (2.0 if m.get("norm_bias") else 1.0)
        head = m.get("head_dim") or m["hidden"] // m["heads"]
        q, k = float(m["heads"] * head), float((m.get("kv_heads") or m["heads"]) * head)
        norm = _Work("memory", "sequence", touched=2 * h, kept=h, weights=norm_weights, result=h)
        residual = _Work("memory", "sequence", touched=3 * h, result=h)

        def product(inner: float, outer: float, split: str, biased: bool = False) -> _Work:
            weights = inner * outer + (outer if biased else 0.0)
            region = "heads" if split else ""
            return _Work("matmul", region, inner, outer, split, kept=inner, weights=weights,
                         result=outer)  # fmt: skip

        ops = [norm, product(h, q + 2 * k, "out", bool(m.get("qkv_bias")) or bias)]
        if m.get("qk_norm"):
            ops.append(_Work("memory", "heads", touched=2 * (q + k), kept=q + k,
                             weights=2.0 * head, starts=2.0))  # fmt: skip
        if m.get("position", "rope") == "rope":
            ops.append(_Work("memory", "heads", touched=2 * (q + k), starts=2.0))
        attention = _Work("attention", "heads", q, k, touched=2 * q + 2 * k, kept=q + 2 * k,
                          scores=2.5 * m["heads"] * self.tokens, result=q)  # fmt: skip
        ops += [attention, product(q, h, "in", bias)]
        post = [norm] if m.get("post_norms") else []
        ops += [*post, residual, norm]
        moe = m.get("moe")
        mixture = moe and number >= moe.get("first_dense_layers", 0) and (
            (number + 1) % moe.get("every", 1) == 0
        )  # fmt: skip
        made = _Layer("moe" if mixture else "dense", pairs=2.0)

        def mlp(width: float) -> list[_Work]:
            act = _Work("memory", "heads", touched=(gates + 1) * width, kept=gates * width,
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
            router = _Work("matmul", "", h, float(experts), weights=h * experts, wide=True,
                           result=float(experts))  # fmt: skip
            up = _Work("grouped", "experts", h, gates * width, "out", kept=top * h,
                       weights=experts * gates * width * h, result=top * gates * width)  # fmt: skip
            act = _Work("memory", "experts", touched=top * (gates + 1) * width,
                        kept=top * gates * width, result=top * width)  # fmt: skip
            down = _Work("grouped", "experts", width, h, "in", kept=top * width,
                         weights=experts * width * h, result=top * h)  # fmt: skip
            trip = _Work("dispatch", "experts", result=top * h)
            permute = _Work("memory", "sequence", touched=2 * top * h, starts=3.0, result=top * h)
            back = _Work("memory", "sequence", touched=(top + 1) * h, result=h)
            ops += [router, permute, trip, up, act, down, trip, back]
            made.pairs -= 1.0
            made.trips = 2
        ops += [*post, residual]
        made.ops = ops
        return made

    def embedding(self) -> _Layer:
        """Return the lookup at the start."""
        m, h = self.model, float(self.model["hidden"])
        weights = m["vocab"] * h
        if m.get("position", "rope") == "learned":
            weights += (m.get("max_positions") or 2048) * h
        op = _Work("memory", "sequence", touched=2 * h, weights=weights, result=h)
        return _Layer("embedding", [op], pairs=0.5)

    def head(self) -> _Layer:
        """Return the final normalisation, the logits and the loss."""
        m, h, vocab = self.model, float(self.model["hidden"]), float(self.model["vocab"])
        norm_weights = h * (2.0 if m.get("norm_bias") else 1.0)
        weights = 0.0 if m.get("tied_embeddings") else h * vocab
        norm = _Work("memory", "sequence", touched=2 * h, kept=h, weights=norm_weights, result=h)
        logits = _Work("matmul", "heads", h, vocab, "out", kept=h, weights=weights, wide=True,
                       result=vocab)  # fmt: skip
        loss = _Work("memory", "heads", touched=4 * vocab, starts=6.0)
        return _Layer("head", [norm, logits, loss], pairs=0.5)

    # ----- groups of ranks and what they exchange

    def group(self, axis: str) -> list[int]:
        """Device numbers of the group of `axis` that device 0 is in."""
        p = self.plan
        stride, order = 1, p["mesh_order"]
        strides = {}
        for name in order:
            strides[name] = stride
            stride *= p[name]

        def composite(names: tuple[str, ...]) -> list[int]:
            ranks = [0]
            for name in (a for a in order if a in names):
                ranks = [r + i * strides[name] for i in range(p[name]) for r in ranks]
            return ranks

        if axis in strides:
            return composite((axis,))
        replicas = composite(("cp", "dp"))
        stage = composite(("tp", "cp", "dp"))
        expert = p["etp"] * p["ep"]
        alike = stage[::expert]
        group, shards = p["zero_group"], self.expert_shards()
        return {
            "replicas": replicas,
            "shards": replicas[:group],
            "copies": replicas[::group],
            "etp": stage[: p["etp"]],
            "ep": stage[: expert : p["etp"]],
            "expert replicas": alike,
            "expert shards": alike[:shards],
            "expert copies": alike[::shards],
        }[axis]

    def shards(self) -> int:
        return self.plan["zero_group"] if self.plan["zero"] else 1

    def expert_shards(self) -> int:
        p = self.plan
        if not p["zero"]:
            return 1
        return max(1, p["zero_group"] * p["tp"] // (p["ep"] * p["etp"]))

    def hops(self, ranks: list[int]) -> list[tuple[float, float, float, bool]]:
        """(members, alpha, bytes/s, reduces) of a group at every level."""
        made, before = [], 1
        for level in self.levels:
            within = sum(1 for r in ranks if r // level.domain == ranks[0] // level.domain)
            rate = level.rate * min(1.0, before / level.inside)
            if level.links:  # all pairs are wired: the group has the links to its own ranks
                rate *= max(1.0, within / before - 1) / level.links
            made.append((within / before, level.alpha, rate, level.reduces))
            before = within
        return made

    def ring_latency(self, ranks: list[int]) -> float:
        """Latency of a turn of the ring in rank order, step by step."""
        total = 0.0
        for a, b in zip(ranks, ranks[1:], strict=False):
            total += next(x.alpha for x in self.levels if a // x.domain == b // x.domain)
        return total

    def gather(self, ranks: list[int], size: float) -> float:
        """Seconds of an all-gather to `size` bytes, or of a reduce-scatter from them."""
        n = len(ranks)
        if n == 1:
            return 0.0
        hops = self.hops(ranks)
        slowest = min(rate for r, _, rate, _ in hops if r > 1)
        ring = self.ring_latency(ranks) + (n - 1) / n * size / slowest
        return min(ring, self.levels_pass(hops, size))

    @staticmethod
    def levels_pass(hops: list[tuple[float, float, float, bool]], size: float) -> float:
        latency = sum((r - 1) * alpha for r, alpha, _, _ in hops)
        return latency + max((r - 1) / r * size / rate for r, _, rate, _ in hops)

    def reduce(self, ranks: list[int], size: float, axis: str) -> float:
        """Seconds of an all-reduce of `size` bytes."""
        n = len(ranks)
        if n == 1:
            return 0.0
        hops = self.hops(ranks)
        slowest = min(rate for r, _, rate, _ in hops if r > 1)
        # a chain inside the innermost domain, a tree of domains
        depth = (hops[0][0] - 1) * hops[0][1]
        depth += sum(alpha * math.ceil(math.log2(r)) for r, alpha, _, _ in hops[1:])
        each = {
            "ring": 2 * (self.ring_latency(ranks) + (n - 1) / n * size / slowest),
            "tree": 2 * depth + 2 * size / (0.92 * slowest),
            "hierarchical": 2 * self.levels_pass(hops, size),
            "in-switch": math.inf,
        }
        inner, _, rate, reduces = hops[0]
        if reduces and inner > 2:
            moved = 25e-6 + size * (1 + 1 / inner) / (0.85 * rate)
            beyond = 2 * self.levels_pass(hops[1:], size) if hops[1:] else 0.0
            each["in-switch"] = moved + beyond
        chosen = self.plan["collectives"]
        named = chosen.get(axis) if isinstance(chosen, dict) else None
        return each[named] if named and named != "auto" else min(each.values())

    def exchange(self, ranks: list[int], size: float, copies: float = 1.0) -> float:
        """Seconds of an all-to-all in which each rank sends `size` bytes."""
        n, inside, slowest = len(ranks), 1.0, 0.0
        for depth, (r, alpha, rate, _) in enumerate(self.hops(ranks)):
            domains = n / inside
            once = 1.0
            if depth:
                once = min(1.0, domains * (1 - (1 - 1 / domains) ** copies) / copies)
            crossing = (1 - inside / n) * once * inside
            if r > 1:
                slowest = max(slowest, alpha * (r - 1) + size * crossing / rate)
            inside *= r
        return slowest

    def send(self, ranks: list[int], size: float) -> float:
        """Seconds of a send to the next rank of the group, all sending."""
        crossed = [
            (alpha, rate / max(1.0, r - 1) if level.links else rate)
            for level, (r, alpha, rate, _) in zip(self.levels, self.hops(ranks), strict=True)
            if r > 1
        ]
        return max(a for a, _ in crossed) + size / min(b for _, b in crossed)

    def hides(self, axis: str) -> float:
        """Share of the exchange on an axis that can run under compute."""
        switch = {
            "dp": self.on.overlap_grad_reduce, "gather": self.on.overlap_param_gather,
            "tp": self.on.overlap_tp, "cp": self.on.overlap_cp, "ep": self.on.overlap_ep,
            "pp": self.on.overlap_p2p,
        }[axis]  # fmt: skip
        if not switch:
            return 0.0
        shares = self.family.overlap_compiled if self.on.compile else self.family.overlap
        return float(getattr(shares, "dp" if axis == "gather" else axis).value)

    # ----- one pass through one layer

    def local(self, region: str) -> float:
        """Tokens of a microbatch that a rank sees in a region."""
        p = self.plan
        tokens = p["micro_batch"] * self.tokens / p["cp"]
        if region == "experts":
            return tokens / p["tp"] * p["etp"]
        if region in ("", "sequence"):
            return tokens / p["tp"] if p["sp"] else tokens
        return tokens

    def matmul(self, m: float, n: float, k: float, wide: bool) -> float:
        rate, fixed = self.rate["wide" if wide else "low"]
        element = self.act if wide else self.product
        tile_m, tile_n, units = self.tile
        tiles = math.ceil(m / tile_m) * math.ceil(n / tile_n)
        arithmetic = 2 * k * tile_m * tile_n * (tiles + 0.5 * (units - 1)) / rate
        traffic = ((m * k + k * n) * element + m * n * self.act) / self.bandwidth
        return fixed + _norm(arithmetic, traffic, 4.0)

    def experts(self, inner: float, outer: float) -> float:
        moe, p = self.model["moe"], self.plan
        rate, fixed = self.rate["low"]
        local = moe["experts"] / p["ep"]
        rows = moe["top_k"] * self.local("experts") * (self.load if p["ep"] > 1 else 1.0)
        rows += local * self.tile[0] / 2
        arithmetic = 2 * rows * inner * outer / (rate * self.grouped)
        moved = rows * (inner + outer) * 0.5 * (self.product + self.act)
        moved += local * inner * outer * self.product
        return fixed + _norm(arithmetic, moved / self.bandwidth, 4.0)

    def attend(self, op: _Work, forward: bool) -> float:
        p, m = self.plan, self.model
        tokens = p["micro_batch"] * self.tokens / p["cp"] / p["tp"]
        causal = (m.get("attention") or {}).get("causal", True)
        pairs = (self.tokens + 1) / 2 if causal else self.tokens
        flop = 4 * pairs * op.width_in * tokens * (1.0 if forward else 2.5)
        touched = op.touched * tokens * self.act * (1.0 if forward else 2.0)
        if self.on.flash_attention:
            rate = self.attention_rate[0 if forward else 1]
            return self.attention_fixed * p["cp"] + _norm(flop / rate, touched / self.bandwidth, 4.0)
        passes = (6.5 if forward else 9.0) * (1.0 if self.on.fused_kernels else 2.0)
        scores = passes * m["heads"] * self.tokens * tokens * self.act
        product = (2.0 if causal else 1.0) * flop / self.rate["wide"][0]
        return product + (touched + scores) / self.bandwidth + 5 * self.memory_fixed

    def run(self, layer: _Layer, forward: bool) -> tuple[dict[str, float], float]:
        """Exposed seconds of a pass by flow, and those that compute gradients of weights."""
        p = self.plan
        fused = self.on.fused_kernels or self.on.compile
        times = dict.fromkeys(FLOWS, 0.0)
        starts = weight = 0.0
        for op in layer.ops:
            if op.kind == "dispatch":
                # a trip is a product of tokens to nobody: its backward is one more of itself
                starts += 1.0
            elif op.kind == "memory":
                share = {"sequence": 1, "heads": p["tp"], "experts": p["etp"]}[op.region]
                moved = op.touched * (1.0 if forward else 1.6) * self.local(op.region) / share
                moved *= self.act * (1.0 if fused else 2.2)
                times["memory"] += moved / self.bandwidth + self.memory_fixed * op.starts
                starts += op.starts * (1.0 if fused else 4.0)
            elif op.kind == "attention":
                times["attention"] += self.attend(op, forward)
                starts += (1.0 if forward else 2.0) * (1.0 if self.on.flash_attention else 5.0)
            else:
                degree = p["etp"] if op.kind == "grouped" else p["tp"]
                inner = op.width_in / (degree if op.split == "in" else 1)
                outer = op.width_out / (degree if op.split == "out" else 1)
                rows = self.local(op.region)
                if op.kind == "grouped":
                    each = [self.experts(inner, outer)] * (1 if forward else 2)
                    times["experts"] += sum(each)
                elif forward:
                    each = [self.matmul(rows, outer, inner, op.wide)]
                    times["matmul"] += sum(each)
                else:
                    each = [
                        self.matmul(rows, inner, outer, op.wide),
                        self.matmul(inner, outer, rows, op.wide),
                    ]
                    times["matmul"] += sum(each)
                starts += len(each)
                weight += each[-1] if not forward else 0.0
        return self.expose(layer, times, starts, forward), weight

    def expose(
        self, layer: _Layer, times: dict[str, float], starts: float, forward: bool
    ) -> dict[str, float]:
        """Add what communication shows, and what the host's launches add."""
        device = sum(times[f] for f in ("matmul", "experts", "attention", "memory"))
        under = {"tp": device, "ep": device, "cp": times["attention"]}
        alone = {"tp": self.tensor_s(layer), "cp": self.context_s(layer, forward), "ep": self.expert_s(layer)}
        for axis, seconds in alone.items():
            able = self.hides(axis) * seconds
            times[axis] = seconds - able + max(0.0, able - under[axis])
        busy = device + times["tp"] + times["cp"] + times["ep"]
        figure = self.family.launch_s_compiled if self.on.compile else self.family.launch_s
        each = figure.value * (1 + self.family.launch_tp_growth.value * math.log2(self.plan["tp"]))
        times["launch"] = _norm(busy, starts * each, self.family.launch_power.value) - busy
        return times

    def tensor_s(self, layer: _Layer) -> float:
        p = self.plan
        if p["tp"] == 1:
            return 0.0
        size = p["micro_batch"] * self.tokens / p["cp"] * self.model["hidden"] * self.act
        ranks = self.group("tp")
        pair = 2 * self.gather(ranks, size) if p["sp"] else self.reduce(ranks, size, "tp")
        return layer.pairs * pair

    def context_s(self, layer: _Layer, forward: bool) -> float:
        p = self.plan
        found = [op for op in layer.ops if op.kind == "attention"]
        if not found or p["cp"] == 1:
            return 0.0
        (op,) = found
        share = p["micro_batch"] * self.tokens / p["cp"] / p["tp"] * self.act
        keys, everything = 2 * op.width_out * share, (2 * op.width_in + 2 * op.width_out) * share
        ranks, turns = self.group("cp"), 1 if forward else 2
        if p["cp_comm"] == "p2p":
            return turns * (len(ranks) - 1) * self.send(ranks, keys)
        if p["cp_comm"] == "all-gather":
            return turns * self.gather(ranks, keys * len(ranks))
        if p["cp_comm"] == "a2a":
            return self.exchange(ranks, everything)
        node = self.levels[0].domain
        inner = [r for r in ranks if r // node == 0]
        outer = ranks[:: len(inner)]
        around = turns * (len(outer) - 1) * self.send(outer, keys) if len(outer) > 1 else 0.0
        return self.exchange(inner, everything) + around

    def expert_s(self, layer: _Layer) -> float:
        if not layer.trips:
            return 0.0
        p, moe = self.plan, self.model["moe"]
        tokens = p["micro_batch"] * self.tokens / p["cp"] / p["tp"]
        size = tokens * moe["top_k"] * self.model["hidden"] * self.act
        load = self.load if moe.get("dropless", True) else 1.0
        swap = load * self.exchange(self.group("ep"), size, float(moe["top_k"]))
        return layer.trips * (swap + self.gather(self.group("etp"), size * p["etp"]))


def _norm(a: float, b: float, power: float) -> float:
    """The p-norm of two bounds."""
    high, low = max(a, b), min(a, b)
    return high * (1 + (low / high) ** power) ** (1 / power) if high else 0.0


class _Stage:
    """The layers of one pipeline stage, and what a microbatch takes on it."""

    def __init__(self, job: _Job, index: int) -> None:
        p = job.plan
        self.job, self.index = job, index
        self.first, self.last = index == 0, index == p["pp"] - 1
        numbers, start = [], 0
        for chunk, size in enumerate(p["layers_per_stage"]):
            if chunk % p["pp"] == index:
                numbers += range(start, start + size)
            start += size
        self.layers = [job.layer(n) for n in numbers]
        self.ends = [job.embedding()] * self.first + [job.head()] * self.last
        self.parameters()
        self.microbatch()

    def parameters(self) -> None:
        """Weights that one rank holds: (dense, of experts)."""
        self.dense = self.expert = self.widest = 0.0
        for layer in [*self.layers, *self.ends]:
            dense, expert = self.weights_of(layer)
            self.dense, self.expert = self.dense + dense, self.expert + expert
            if layer in self.layers:
                self.widest = max(self.widest, dense + expert)
        if self.last and not self.first and self.job.model.get("tied_embeddings"):
            self.dense += self.weights_of(self.job.embedding())[0]

    def weights_of(self, layer: _Layer) -> tuple[float, float]:
        p = self.job.plan
        dense = expert = 0.0
        for op in layer.ops:
            if op.kind == "grouped":
                expert += op.weights / (p["ep"] * p["etp"])
            elif op.split or layer.name == "embedding" or op.region == "heads":
                dense += op.weights / p["tp"]
            else:
                dense += op.weights
        return dense, expert

    def microbatch(self) -> None:
        """Seconds of one microbatch, forward and backward, by flow."""
        job, p = self.job, self.job.plan
        mode, count = p["recompute"], len(self.layers)
        every = not isinstance(mode, dict)
        name = mode if every else "full"
        share = 1.0 if every else min(mode["full"], count) / max(1, count)
        self.share = share
        self.forward, self.backward, self.again = [], [], []
        self.end_passes = []
        weight = 0.0
        for layer in self.layers:
            go, _ = job.run(layer, True)
            back, grad = job.run(layer, False)
            weight += grad
            self.forward.append(go)
            self.backward.append(back)
            self.again.append({f: share * AGAIN[name].get(f, 0.0) * go[f] for f in FLOWS})
        for end in self.ends:
            go, _ = job.run(end, True)
            back, grad = job.run(end, False)
            weight += grad
            self.end_passes += [(go, True), (back, False)]
        self.weight_s = weight
        self.forward_s = sum(sum(x.values()) for x in self.forward)
        self.backward_s = sum(sum(x.values()) for x in [*self.backward, *self.again])
        self.forward_s += sum(sum(x.values()) for x, go in self.end_passes if go)
        self.backward_s += sum(sum(x.values()) for x, go in self.end_passes if not go)
        device = ("matmul", "experts", "attention", "memory", "launch")
        self.forward_device = sum(x[f] for x in self.forward for f in device)
        self.backward_device = sum(x[f] for x in [*self.backward, *self.again] for f in device)
        self.forward_device += sum(x[f] for x, go in self.end_passes if go for f in device)
        self.backward_device += sum(x[f] for x, go in self.end_passes if not go for f in device)
        self.accumulate_s = 0.0
        if p["microbatches"] > 1:
            self.accumulate_s = 2 * job.grad * (self.dense + self.expert) / job.bandwidth
        self.sends_s = 0.0
        if p["pp"] > 1:
            tokens = p["micro_batch"] * job.tokens / p["cp"] / (p["tp"] if p["sp"] else 1)
            size = tokens * job.model["hidden"] * job.act
            self.sends_s = 2 * p["vpp"] * job.send(job.group("pp"), size)
        shown = self.sends_s * (1 - job.hides("pp"))
        self.total_s = self.forward_s + self.backward_s + shown + self.accumulate_s


def _seconds(job: _Job, stages: list[_Stage]) -> dict[str, float]:
    p = job.plan
    slow = stages[0]
    for stage in stages:
        if stage.total_s > slow.total_s:
            slow = stage
    named: dict[str, float] = {}

    def add(name: str, seconds: float) -> None:
        named[name] = named.get(name, 0.0) + seconds

    for _ in range(p["microbatches"]):
        for way, passes in (("forward", slow.forward), ("backward", slow.backward)):
            for one in passes:
                add(f"matrix products, {way}", one["matmul"])
                add(f"attention, {way}", one["attention"])
                add("expert products", one["experts"])
                add("norms and elementwise", one["memory"])
        for one in slow.again:
            add("recomputation", sum(one.values()))
        for one in [*slow.forward, *slow.backward, *(x for x, _ in slow.end_passes)]:
            add("launch gaps", one["launch"])
            add("tensor-parallel collectives", one["tp"])
            add("context-parallel exchange", one["cp"])
            add("expert all-to-all", one["ep"])
        for one, _ in slow.end_passes:
            add("embedding, logits and loss", one["matmul"] + one["attention"] + one["memory"])
        add("gradient accumulation", slow.accumulate_s)
        add("stage boundary sends", slow.sends_s * (1 - job.hides("pp")))
    others = sum(stage.total_s for stage in stages) - slow.total_s
    both = slow.forward_s + slow.backward_s
    free = max(0.0, both - 2 * slow.weight_s) / both
    halves = max(0.0, p["pp"] / 2 - 1) / max(1, p["pp"] - 1)
    scale = {
        "gpipe": 1.0, "1f1b": 1.0, "interleaved": 1 / p["vpp"], "zero-bubble": free,
        "dualpipe": halves * free,
    }[p["schedule"]]  # fmt: skip
    add("pipeline bubble", others * scale)
    _share(job, stages, slow, add)
    hosts = job.devices / job.profile.host.devices
    add("stragglers", sum(named.values()) * job.family.jitter.value * math.log2(max(1.0, hosts)))
    return named


def _share(job: _Job, stages: list[_Stage], slow: _Stage, add: Any) -> None:
    """Gradients and weights between replicas, the optimizer, the host link."""
    p, family = job.plan, job.family
    dense, expert = max(s.dense for s in stages), max(s.expert for s in stages)
    replicas = p["dp"] * p["cp"]
    calls = max(1.0, dense / max(40e6, 1e6 * replicas))
    if family.gather_per_microbatch and p["zero"] >= 3:
        calls = float(max(1, len(slow.layers)))
    reduce = gather = 0.0
    kinds = [(dense, "", job.shards())]
    if job.model.get("moe"):
        kinds.append((expert, "expert ", job.expert_shards()))
    for parameters, prefix, shards in kinds:
        gradients, weights = parameters * job.grad / calls, parameters * job.act / calls
        if p["zero"] == 0:
            reduce += calls * job.reduce(job.group(f"{prefix}replicas"), gradients, "dp")
            continue
        each = job.gather(job.group(f"{prefix}shards"), gradients)
        each += job.reduce(job.group(f"{prefix}copies"), gradients / shards, "dp")
        reduce += calls * each
        gather += calls * job.gather(job.group(f"{prefix}shards"), weights)
    often = 1
    if family.gather_per_microbatch and p["pp"] == 1 and p["zero"] >= 2:
        often = p["microbatches"]
    forward, backward = slow.forward_device, slow.backward_device
    again = gather if p["zero"] >= 3 else 0.0
    able = job.hides("gather")
    hidden = min(able * again, backward)
    shown = _shown(gather, forward, able) + again - hidden
    add("gradient reduction", often * _shown(reduce, backward - hidden, job.hides("dp")))
    add("parameter gathering", often * shown)
    mine = dense / job.shards() + expert / job.expert_shards()
    state = job.master + job.moments + (job.stored if family.shards_master else 0.0)
    traffic = mine * (2 * state + 2 * job.grad + job.act)
    link = job.profile.host.link_bytes_per_s.value
    memory = job.profile.memory_bytes_per_s.value * family.optimizer_efficiency.value
    step = traffic / memory
    if "optimizer" in p["offload"]:
        step = traffic / 50e9 + mine * (job.grad + job.act) / link
    step += family.step_s.value
    if job.stack.serial_broadcast and p["zero"]:
        step += family.shard_rank_s.value * (job.shards() - 1)
    add("optimizer step", step)
    fetched = 2 * job.act * (dense + expert) * p["microbatches"] if "parameters" in p["offload"] else 0.0
    add("parameters from the host", fetched / link)
    if "activations" in p["offload"]:
        kept = max(sum(_kept(job, x, s.share) for x in s.layers) for s in stages)
        moved, beside = 2 * kept / link, forward + backward
        add("activations to the host", p["microbatches"] * max(0.0, moved - beside))


def _shown(seconds: float, beside: float, share: float) -> float:
    able = share * seconds
    return seconds - able + max(0.0, able - beside)


def _bytes(job: _Job, stages: list[_Stage]) -> dict[str, float]:
    """Bytes by name on the fullest stage, the first of several that tie."""
    every = [_stage_bytes(job, stage, stages) for stage in stages]
    best = every[0]
    for one in every:
        if sum(one.values()) > sum(best.values()) * (1 + 1e-15):
            best = one
    return best


def _stage_bytes(job: _Job, stage: _Stage, stages: list[_Stage]) -> dict[str, float]:
    p, family = job.plan, job.family
    z, pp, vpp, m = p["zero"], p["pp"], p["vpp"], p["microbatches"]
    shards, expert_shards = job.shards(), job.expert_shards()

    def over(least: int) -> float:
        on = z >= least
        return stage.dense / (shards if on else 1) + stage.expert / (expert_shards if on else 1)

    whole = stage.dense + stage.expert
    if family.shards_master:
        weights = job.stored * over(1) + (job.act * whole if z < 3 else 0.0)
    else:
        weights = job.stored * over(3)
    gathered = 0.0
    if z >= 3 and p["dp"] * p["cp"] > 1:
        widest = max(s.widest for s in stages)
        gathered = widest * (family.gathered_layers + 1.0) * job.act
        if pp > 1:
            gathered = (job.act + job.grad) * whole
    count = max(1, len(stage.layers))
    if "parameters" in p["offload"]:
        gathered += 2 * weights / count
        weights = 0.0
    twice = 2.0 if p["schedule"] == "dualpipe" else 1.0
    s = stage.index
    flight = {
        "gpipe": m * vpp, "1f1b": min(m, pp - s), "zero-bubble": min(m, pp - s),
        "interleaved": min(m * vpp, 2 * (pp - s - 1) + (vpp - 1) * pp + 1),
        "dualpipe": min(m, pp + 1),
    }[p["schedule"]]  # fmt: skip
    kept = work = 0.0
    for layer in stage.layers:
        kept += _kept(job, layer, stage.share)
    for other in stages:
        for layer in other.layers:
            work = max(work, _working(job, layer))
    loss = 0.0
    if stage.last:
        each = family.logit_bytes_compiled if job.on.compile else family.logit_bytes
        loss = p["micro_batch"] * job.tokens / p["cp"] * job.model["vocab"] / p["tp"] * each.value
        loss /= 8.0 if job.on.chunked_loss else 1.0
    work = max(0.0, work - loss)
    in_flight = kept * flight / vpp
    if "activations" in p["offload"]:
        in_flight = 2 * kept / count
    axes = sum(1 for a in ("tp", "cp", "pp", "dp", "ep") if p[a] > 1)
    return {
        "weights": weights * twice,
        "gradients": job.grad * over(2),
        "optimizer states": 0.0 if "optimizer" in p["offload"] else (job.master + job.moments) * over(1),
        "gathered layers": gathered,
        "optimizer's copies": job.stack.optimizer_transient_bytes * over(1),
        "activations in flight": in_flight,
        "working layer": work,
        "logits and loss": loss,
        "communication buffers": family.group_bytes.value * axes + job.stack.bucket_bytes,
        "framework": family.base_bytes.value,
        "fragmentation": family.fragmentation.value * (in_flight + work + loss),
    }


def _parts(job: _Job, layer: _Layer) -> tuple[float, float, float, float, float, float]:
    """Bytes that a layer keeps: all, its softmax, its input, its products', its attention's, largest."""
    p = job.plan
    every = softmax = products = attention = largest = 0.0
    sequence = job.local("sequence")
    for op in layer.ops:
        element = job.act
        if op.kind in ("matmul", "grouped") and not (layer.name == "head" and op.wide):
            element = min(job.product, job.act)
        if op.region == "experts":
            split = op.split == "in" or op.kind == "memory"
            kept = op.kept * job.local("experts") / (p["etp"] if split else 1) * job.load
        elif op.kind == "attention" or (op.kind == "memory" and op.region == "heads"):
            kept = op.kept * job.local("heads") / p["tp"]
        elif op.split == "in":
            kept = op.kept * job.local("heads") / p["tp"]
        else:
            kept = op.kept * sequence
        every += kept * element
        if op.kind == "attention" and not job.on.flash_attention:
            softmax += op.scores * job.local("heads") / p["tp"] * job.act
        if op.kind == "grouped":
            out = op.result * job.local("experts") / (p["etp"] if op.split == "out" else 1) * job.load
        elif op.kind == "attention" or op.split == "out":
            out = op.result * job.local("heads") / p["tp"]
        else:
            out = op.result * sequence
        out *= job.act
        products += out if op.kind in ("matmul", "grouped") else 0.0
        attention += out if op.kind == "attention" else 0.0
        largest = max(largest, out)
    entry = job.model["hidden"] * sequence * job.act
    return every + softmax, softmax, entry, products, attention, largest


def _mode(job: _Job, layer: _Layer) -> float:
    every, softmax, entry, products, attention, _ = _parts(job, layer)
    mode = job.plan["recompute"]
    return {
        "none": every, "selective": every - softmax, "full": entry,
        "per-operator": entry + attention + 0.5 * products, "projections": entry + products,
    }["full" if isinstance(mode, dict) else mode]  # fmt: skip


def _kept(job: _Job, layer: _Layer, share: float) -> float:
    every, _, entry, _, _, _ = _parts(job, layer)
    mode = job.plan["recompute"]
    if isinstance(mode, dict) or mode == "full":
        return share * entry + (1 - share) * every
    return _mode(job, layer)


def _working(job: _Job, layer: _Layer) -> float:
    every, _, _, _, _, largest = _parts(job, layer)
    mode = job.plan["recompute"]
    plain = mode in ("none", "selective")
    return (0.0 if plain else every - _mode(job, layer)) + 2 * largest
