"""The oracle's pipeline stage: its layers, what it holds, what a microbatch takes on it."""

from oracle_job import FLOWS, Job, power_norm
from oracle_model import Layer
from oracle_modules import modules_of, rerun
from oracle_units import by_units, copied_s

__all__ = ["AGAIN", "Stage"]

AGAIN = {
    "none": {},
    "selective": {"attention": 1.0},
    "per-operator": {"matmul": 0.5, "experts": 0.5, "memory": 1.0, "launch": 0.6, "tp": 0.5},
    "projections": {"attention": 1.0, "memory": 1.0, "launch": 0.5, "cp": 1.0},
    "full": dict.fromkeys(FLOWS, 1.0),
}


class Stage:
    """The layers of one pipeline stage, and what a microbatch takes on it."""

    def __init__(self, job: Job, index: int) -> None:
        p = job.plan
        self.job, self.index = job, index
        own = p["stages"][index] if p.get("stages") else {}
        self.mode = own.get("recompute", p["recompute"])
        self.offload = own.get("offload", p["offload"])
        self.first, self.last = index == 0, index == p["pp"] - 1
        numbers, start = [], 0
        for chunk, size in enumerate(p["layers_per_stage"]):
            if chunk % p["pp"] == index:
                numbers += range(start, start + size)
            start += size
        self.layers = [job.layer(n) for n in numbers]
        self.tower = job.tower() * self.first
        self.ends = self.tower + [job.embedding()] * self.first + [job.head()] * self.last
        self.parameters()
        self.microbatch()

    def parameters(self) -> None:
        """Weights that one rank holds: (dense, of experts)."""
        self.dense = self.expert = self.widest = self.tables = 0.0
        for layer in [*self.layers, *self.ends]:
            dense, expert = self.weights_of(layer)
            self.dense, self.expert = self.dense + dense, self.expert + expert
            if layer in self.layers:
                self.widest = max(self.widest, dense + expert)
            if layer.name in ("embedding", "head"):
                self.tables += dense
        if self.last and not self.first and self.job.model.get("tied_embeddings"):
            self.dense += self.weights_of(self.job.embedding())[0]

    def weights_of(self, layer: Layer) -> tuple[float, float]:
        p = self.job.plan
        dense = expert = 0.0
        for op in layer.ops:
            if op.kind == "grouped":
                expert += op.weights / (p["ep"] * p["etp"])
            elif op.split or layer.name == "embedding" or op.region == "heads":
                dense += op.weights / self.job.split(layer, op)
            else:
                dense += op.weights
        return dense, expert

    def microbatch(self) -> None:
        """Seconds of one microbatch, forward and backward, by flow."""
        job, p = self.job, self.job.plan
        mode, count = self.mode, len(self.layers)
        modules = modules_of(mode)
        every = bool(modules) or not isinstance(mode, dict)
        name = ("none" if modules else mode) if every else "full"
        share = 1.0 if every else min(mode["full"], max(1, count)) / max(1, count)
        self.share = share
        self.forward, self.backward, self.again = [], [], []
        self.end_passes = []
        self.tower_s = 0.0
        device = ("matmul", "experts", "attention", "memory", "launch")
        weight = self.forward_spare = self.backward_spare = 0.0
        for layer in self.layers:
            go, idle, _ = job.run(layer, True)
            back, idle_back, grad = job.run(layer, False)
            again = {f: share * AGAIN[name].get(f, 0.0) * go[f] for f in FLOWS}
            if modules:
                again = job.run(rerun(layer, modules), True)[0]
            weight += grad
            self.forward_spare += idle
            self.backward_spare += idle_back + sum(again[f] for f in device)
            self.forward.append(go)
            self.backward.append(back)
            self.again.append(again)
        for end in self.ends:
            go, idle, _ = job.run(end, True)
            back, idle_back, grad = job.run(end, False)
            weight += grad
            self.forward_spare += idle
            self.backward_spare += idle_back
            self.end_passes += [(go, True), (back, False)]
            self.tower_s += (end in self.tower) * sum(
                way[f] for way in (go, back) for f in ("matmul", "attention", "memory")
            )
            if end.name == "vision":
                again = {f: share * AGAIN[name].get(f, 0.0) * go[f] for f in FLOWS}
                self.backward_spare += sum(again[f] for f in device)
                self.again.append(again)
        self.weight_s = weight
        self.forward_s = sum(sum(x.values()) for x in self.forward)
        self.backward_s = sum(sum(x.values()) for x in [*self.backward, *self.again])
        self.forward_s += sum(sum(x.values()) for x, go in self.end_passes if go)
        self.backward_s += sum(sum(x.values()) for x, go in self.end_passes if not go)
        self.accumulate_s = 0.0
        if p["microbatches"] > 1:
            self.accumulate_s = 2 * job.grad * (self.dense + self.expert) / job.bandwidth
            if job.stack.fused_accumulation:
                both = power_norm(self.weight_s, self.accumulate_s, 4.0)
                self.accumulate_s = both - self.weight_s
        if by_units(job):
            self.accumulate_s = copied_s(job, self.dense + self.expert)
        self.sends_s = 0.0
        if p["pp"] > 1:
            scatters = job.stack.scatters_boundaries
            tokens = p["micro_batch"] * job.tokens / p["cp"]
            size = tokens * job.model["hidden"] * job.act
            part = size / p["tp"] if p["sp"] or scatters else size
            send_s = job.send(job.group("pp"), part)
            if scatters and not p["sp"]:
                send_s += job.gather(job.group("tp"), size)
            self.sends_s = 2 * p["vpp"] * send_s
        under = min(job.hides("pp") * self.sends_s, self.forward_spare + self.backward_spare)
        self.sends_shown_s = self.sends_s - under
        self.total_s = self.forward_s + self.backward_s + self.sends_shown_s + self.accumulate_s
