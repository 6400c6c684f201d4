"""The oracle's job: every figure as a number, and the time of one pass through one layer."""

import math
from typing import Any

from oracle_model import Layer, Model, Work
from oracle_network import Network
from oracle_units import launched

from hardware_profiles.load import load, matmul_kernel, peak_flop_per_s, with_overrides
from hardware_profiles.runtime import recipes_of, with_recipes
from hardware_profiles.stack import load_stack

__all__ = ["FLOWS", "Job", "power_norm"]

WIDTH = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "mxfp8": 1.03}
FLOWS = ("matmul", "experts", "attention", "memory", "launch", "tp", "cp", "ep")


class Job(Model, Network):
    """A job, its machine and its stack, as numbers."""

    def __init__(self, job: dict[str, Any], plan: dict[str, Any]) -> None:
        work, hardware = job["workload"], job["hardware"]
        profile = with_overrides(load(hardware["system"]), hardware.get("set") or {})
        Model.__init__(self, work["model"], float(work["sequence_length"]))
        Network.__init__(self, profile, hardware["devices"], plan)
        software = job.get("software") or {}
        recipes = recipes_of(
            software.get("runtime"), work["model"].get("name", ""), profile.name,
            work.get("precision", "bf16"),
        )  # fmt: skip
        self.stack = with_recipes(load_stack(software.get("preset", "megatron-core")), recipes)
        self.family = self.stack.family
        other = ("preset", "runtime", "attention_kernels")
        given = {k: v for k, v in software.items() if k not in other}
        self.on = self.stack.switches.model_copy(update=given)
        self.kernels_said = software.get("attention_kernels")
        self.precision = work.get("precision", "bf16")
        wide = self.precision != "fp32"
        self.act = 2.0 if wide else 4.0
        self.product = WIDTH[self.precision]
        self.grad = WIDTH[self.on.grad_dtype]
        copies = wide and self.on.master_weights and not self.family.shards_master
        self.master = 4.0 if copies else 0.0
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
        self.kernel()

    def kernel(self) -> None:
        """Rates of the chip's kernels."""
        kernels, profile = self.profile.kernels, self.profile
        training = kernels.training
        self.bandwidth = profile.memory_bytes_per_s.value * kernels.memory.efficiency.value
        self.bandwidth *= training.memory.value
        self.memory_fixed = kernels.memory.fixed_s.value
        wide = self.precision if self.precision in ("fp32", "fp16") else "bf16"
        self.rate = {}
        for name, kind in (("low", self.precision), ("wide", wide)):
            kernel = matmul_kernel(profile, kind)
            peak = peak_flop_per_s(profile, kind).value
            share = kernel.efficiency.value
            used = next(k for k, v in kernels.matmul.items() if v is kernel)
            if used in training.matmul:
                share *= training.matmul[used].value
            constants = (kernel.fixed_s.value, kernel.fill.value, kernel.cast_bytes.value)
            self.rate[name] = (peak * share, *constants)
        peak = peak_flop_per_s(profile, wide).value * training.attention.value
        generation = self.kernels_said or self.stack.attention_kernels
        if generation == "flash-2":
            peak *= training.flash_2.value
        elif generation == "flash-1":
            peak *= training.flash_1.value
        self.attention_rate = (
            peak * kernels.attention_forward.efficiency.value,
            peak * kernels.attention_backward.efficiency.value,
        )
        self.attention = kernels.attention_forward
        self.attention_fixed = (
            kernels.attention_forward.fixed_s.value,
            kernels.attention_backward.fixed_s.value,
        )
        self.grouped_fixed = kernels.grouped_matmul.fixed_s.value
        self.grouped = kernels.grouped_matmul.efficiency.value * training.grouped_matmul.value
        self.tile = (kernels.tile_m, kernels.tile_n, kernels.units)
        self.tail, self.split_k = kernels.tail.value, kernels.split.value
        self.growth = kernels.growth.value

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

    def local(self, region: str) -> float:
        """Tokens of a microbatch that a rank sees in a region."""
        p = self.plan
        tokens = p["micro_batch"] * self.tokens / p["cp"]
        if region == "experts":
            return tokens / p["tp"] * p["etp"]
        if region in ("", "sequence"):
            return tokens / p["tp"] if p["sp"] else tokens
        return tokens

    def split(self, layer: Layer, op: Work) -> float:
        """Ranks over which the heads of a tower's layer, or anything else, are dealt."""
        if not layer.heads or op.region != "heads" or not self.of_heads(layer, op):
            return float(self.plan["tp"])
        return layer.heads / math.ceil(layer.heads / self.plan["tp"])

    def of_heads(self, layer: Layer, op: Work) -> bool:
        """Whether an op of a tower's layer stands before the residual of attention."""
        return layer.ops.index(op) < next(
            i
            for i, o in enumerate(layer.ops)
            if o.kind == "memory" and o.touched == 3 * layer.width
        )

    def matmul(self, m: float, n: float, k: float, wide: bool, cast: bool = True) -> float:
        rate, fixed, fill, cast_bytes = self.rate["wide" if wide else "low"]
        element = self.act if wide else self.product
        tile_m, tile_n, units = self.tile
        tiles = math.ceil(m / tile_m) * math.ceil(n / tile_n)
        idling = min(max(tiles, units - 1), (1 + self.growth) * (units - 1))
        idle = self.tail * idling * (min(k, self.split_k) + fill)
        arithmetic = 2 * tile_m * tile_n * (tiles * (k + fill) + idle) / rate
        traffic = ((m * k + k * n) * element + m * n * self.act) / self.bandwidth
        casting = m * k * cast_bytes / self.bandwidth if cast else 0.0
        return fixed + casting + power_norm(arithmetic, traffic, 4.0)

    def experts(self, inner: float, outer: float, cast: float) -> float:
        moe, p = self.model["moe"], self.plan
        rate, fixed = self.rate["low"][0], self.grouped_fixed
        local = moe["experts"] / p["ep"]
        rows = moe["top_k"] * self.local("experts") * (self.load if p["ep"] > 1 else 1.0)
        casting = rows * cast * self.rate["low"][3] / self.bandwidth
        casting = 0.0 if self.on.fused_experts else casting
        rows += local * self.tile[0] / 2
        arithmetic = 2 * rows * inner * outer / (rate * self.grouped)
        moved = rows * (inner + outer) * 0.5 * (self.product + self.act)
        moved += local * inner * outer * self.product
        return fixed + casting + power_norm(arithmetic, moved / self.bandwidth, 4.0)

    def attend(self, layer: Layer, op: Work, forward: bool) -> float:
        p, m = self.plan, self.model
        tokens = p["micro_batch"] * self.tokens / p["cp"] / self.split(layer, op) * layer.patches
        causal = (m.get("attention") or {}).get("causal", True) and not layer.image
        flop = 4 * op.pairs * op.width_in * tokens * (1.0 if forward else 2.5)
        touched = op.touched * tokens * self.act * (1.0 if forward else 2.0)
        if self.on.flash_attention:
            rate, fixed = (x[0 if forward else 1] for x in
                           (self.attention_rate, self.attention_fixed))  # fmt: skip
            given = self.attention
            slow = given.softmax_dim.value
            wider = (1 + slow / op.head) / (1 + slow / 128)
            row = 4 * op.head * op.reach * (1.0 if forward else 2.5)
            last = given.tail.value * self.tile[2] * 128 * row
            moving = touched * given.passes.value / self.bandwidth
            busy = wider * ((flop + last) / rate + moving)
            return fixed * (1 if layer.image else p["cp"]) + busy
        # the scores stand in memory: made by products over a head's width, read by sums over keys
        scores = op.seen * tokens
        keys, rows = self.tokens, op.seen * tokens / self.tokens
        each = (
            self.matmul(rows, keys, op.head, True, cast=False),
            self.matmul(rows, op.head, keys, True, cast=False),
        )
        softmax = (1.5 if forward else 2.0) if causal else (2.0 if forward else 3.0)
        more = self.softmax_apart(layer, op, forward)
        softmax = (37 / 2 if forward else 49 / 2) if more else softmax
        moved = (softmax + 2.5) * scores * self.act
        products = each[0] + (1.0 if forward else 3.0) * each[1]
        return products + moved / self.bandwidth + (2 + more) * self.memory_fixed

    def softmax_apart(self, layer: Layer, op: Work, forward: bool) -> int:
        """Count kernels beyond one that softmax takes: none where a kernel does all of it."""
        heads = (layer.heads or self.model["heads"]) / self.split(layer, op)
        fours = (heads * self.plan["micro_batch"]) % 4 == 0 and self.tokens <= 4096
        if self.on.compile or (self.on.fused_kernels and fours):
            return 0
        return 4 if forward else 5

    def run(self, layer: Layer, forward: bool) -> tuple[dict[str, float], float, float]:
        """Exposed seconds of a pass by flow, those with nothing under them, those of weights."""
        p = self.plan
        fused = self.on.fused_kernels or self.on.compile
        times = dict.fromkeys(FLOWS, 0.0)
        starts = weight = 0.0
        for op in layer.ops:
            if op.kind == "dispatch":
                # a trip is a product of tokens to nobody: its backward is one more of itself
                starts += op.starts
            elif op.kind == "memory":
                heads = self.split(layer, op)
                share = {"sequence": 1, "heads": heads, "experts": p["etp"]}[op.region]
                moved = self.moved(op, forward) * self.local(op.region) / share
                moved *= layer.patches * self.act
                more = 1.0 if fused else 4.0
                if op.loss:
                    one = self.on.fused_loss or self.on.compile
                    moved *= 0.5 if one else 1.4
                    more = 1.0 if one else 3.0
                elif not fused:
                    moved *= 2.2
                times["memory"] += moved / self.bandwidth + self.memory_fixed * op.starts
                starts += op.starts * more + self.loops(op, forward)
            elif op.kind == "attention":
                times["attention"] += self.attend(layer, op, forward)
                starts += (1.0 if forward else 2.0) * (1.0 if self.on.flash_attention else 5.0)
                if not self.on.flash_attention:
                    starts += self.softmax_apart(layer, op, forward)
            else:
                degree = p["etp"] if op.kind == "grouped" else self.split(layer, op)
                inner = op.width_in / (degree if op.split == "in" else 1)
                outer = op.width_out / (degree if op.split == "out" else 1)
                rows = self.local(op.region) * layer.patches
                if op.kind == "grouped":
                    each = [self.experts(inner, outer, inner if forward else outer)]
                    each += [] if forward else [self.experts(inner, outer, 0.0)]
                    times["experts"] += sum(each)
                elif forward:
                    each = [self.matmul(rows, outer, inner, op.wide)]
                    times["matmul"] += sum(each)
                else:
                    each = [
                        self.matmul(rows, inner, outer, op.wide),
                        self.matmul(inner, outer, rows, op.wide, cast=False),
                    ]
                    each = each[1:] if layer.name == "patches" else each
                    times["matmul"] += sum(each)
                starts += len(each) * op.starts + self.loops(op, forward)
                weight += each[-1] if not forward else 0.0
        starts += launched(self, layer, forward)
        return *self.expose(layer, times, starts, forward), weight

    def held(self) -> float:
        """Experts of a rank."""
        return float(self.model["moe"]["experts"]) / self.plan["ep"]

    def moved(self, op: Work, forward: bool) -> float:
        """Elements per token of work bound by memory; of experts' rows what their place adds."""
        touched, apart = op.touched, op.apart
        if op.gate and self.on.fused_experts:
            touched = 0.0
        if self.on.compile or self.on.fused_experts:
            apart = 0.0
        moved = (touched + apart) * (1.0 if forward else 1.6)
        if not (forward or self.on.compile or self.on.fused_experts):
            moved += op.scored
        if not op.swapped or (self.on.fused_dispatch and self.plan["ep"] > 1):
            return moved
        if self.plan["ep"] > 1 and self.held() > 1:
            moved += op.swapped
        dropless = self.model["moe"].get("dropless", True)
        if self.stack.pads_experts and self.product < self.act and dropless:
            moved += 0.0 if self.on.fused_experts else op.swapped  # the same rows, to pad them
        return moved

    def loops(self, op: Work, forward: bool) -> float:
        """Count launches for each expert held: of its products, casts before them, its bias."""
        if not op.looped or self.on.fused_experts:
            return 0.0
        if op.kind != "grouped":
            many = 0.0 if self.on.compile else op.looped * (1.0 if forward else 3.0)
            return 0.15 * many * self.held()
        products = 1.0 if forward else 2.0
        casts = 1.0 if self.rate["low"][3] and not self.on.compile else 0.0
        return 0.15 * (products + casts) * self.held()

    def expose(
        self, layer: Layer, times: dict[str, float], starts: float, forward: bool
    ) -> tuple[dict[str, float], float]:
        """Add what communication shows, and what the host's launches add; return what hides too.

        Compute hides one thing at a time: the context's exchange (under attention alone), then
        the tensor's, then the experts'.
        """
        device = sum(times[f] for f in ("matmul", "experts", "attention", "memory"))
        alone = {
            "cp": self.context_s(layer, forward),
            "tp": self.tensor_s(layer),
            "ep": self.expert_s(layer),
        }
        left = device
        for axis, seconds in alone.items():
            under = min(left, times["attention"]) if axis == "cp" else left
            hides = min(self.hides(axis) * seconds, under)
            times[axis] = seconds - hides
            left -= hides
        busy = device + times["tp"] + times["cp"] + times["ep"]
        if self.plan["tp"] > 1:
            starts += layer.pairs * (2 if self.plan["sp"] else 1)
        figure = self.family.launch_s_compiled if self.on.compile else self.family.launch_s
        starts = 0.0 if self.on.cuda_graphs else starts
        each = figure.value * (1 + self.family.launch_tp_growth.value * math.log2(self.plan["tp"]))
        times["launch"] = power_norm(busy, starts * each, self.family.launch_power.value) - busy
        return times, left + times["launch"]

    def tensor_s(self, layer: Layer) -> float:
        p = self.plan
        if p["tp"] == 1:
            return 0.0
        tokens = p["micro_batch"] * self.tokens / p["cp"] * layer.patches
        size = tokens * layer.width * self.act
        ranks = self.group("tp")
        split = self.gather(ranks, size) + self.scatter(ranks, size)
        pair = split if p["sp"] else self.reduce(ranks, size, "tp")
        return layer.pairs * pair

    def context_s(self, layer: Layer, forward: bool) -> float:
        p = self.plan
        found = [op for op in layer.ops if op.kind == "attention"]
        if not found or p["cp"] == 1 or layer.image or layer.apart:
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

    def expert_s(self, layer: Layer) -> float:
        if not layer.trips:
            return 0.0
        p, moe = self.plan, self.model["moe"]
        tokens = p["micro_batch"] * self.tokens / p["cp"] / p["tp"]
        size = tokens * moe["top_k"] * self.model["hidden"] * self.act
        load = self.load if moe.get("dropless", True) else 1.0
        joined = self.on.fused_dispatch
        swap = load * self.exchange(self.group("ep"), size, float(moe["top_k"]), joined)
        return layer.trips * (swap + self.gather(self.group("etp"), size * p["etp"]))


def power_norm(a: float, b: float, power: float) -> float:
    """Join two bounds."""
    high, low = max(a, b), min(a, b)
    return high * (1 + (low / high) ** power) ** (1 / power) if high else 0.0
