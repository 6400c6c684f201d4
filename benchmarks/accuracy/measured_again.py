"""What the measurements say of themselves: figures that no model can follow all at once.

    python benchmarks/accuracy/measured_again.py TABLE

Prints one table, computed from the runs files and the errors of left-out sources:

releases       : Megatron-Bridge's errors with the source left out, by release of the software
configurations : its runs of one configuration under several releases; how far they lie apart, how
                 far each lies from their mean, and from the mean of the others
layers         : vTrain's seconds of a layer, solved from its step times
ends           : the same of embedding, logits and loss
ranking        : vTrain's ranking and errors with and without `CONTRADICTED`, and `DISTRUSTED`
collectives    : how far settings of one collective lie apart, and how its curve bends
experts        : how far engines lie apart on one exchange of experts' tokens

Reads files; prices nothing.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from collective_noise import engines, spreads
from training_runs import FOLDER, runs_files

from costmodels.units import Column
from planner.report.node import Node
from planner.validate.ranking import Entry, rankings
from planner.validate.runs import Run, load_runs

__all__ = ["CONTRADICTED", "Layers", "layer_seconds", "main", "recurring"]

BRIDGE, VTRAIN = "Megatron-Bridge", "vTrain"
CONTRADICTED = ((1024, 2, 4), (2048, 4, 1), (2048, 4, 2))
"""vTrain's layers (hidden size, tensor degree, micro-batch) that their neighbours contradict: of
each there is one with more work on the same ranks that takes less time, or one with less work that
takes more."""
DISTRUSTED = (*CONTRADICTED, (1024, 8, 1), (2048, 8, 1))
"""What another model than ours found out of line when the runs were gathered."""
MICRO_BATCHES = (1, 2, 4, 8)


def _runs(source: str) -> list[Run]:
    """Return the timed runs of the first source whose name starts so."""
    with runs_files() as files:
        for file in map(load_runs, files):
            if file.source.name.startswith(source):
                return [run for run in file.runs if run.measured.outcome == "ok"]
    raise ValueError(f"no source {source}")


def _left_out() -> dict[str, float]:
    """Return log errors by run, each predicted with its source left out."""
    with (FOLDER.parent / "left_out.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: float(row["log_error"]) for row in csv.DictReader(file)}


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    names = head.split(" | ")
    lines = [f"| {head} |", "| " + " | ".join(["---"] + ["---:"] * (len(names) - 1)) + " |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _size(log_errors: Column) -> float:
    return float(np.abs(np.expm1(log_errors)).mean())


# ---- releases ----


def releases() -> str:
    """Return errors by release, dense models and mixtures of experts apart."""
    errors, found = _left_out(), defaultdict(list)
    for run in _runs(BRIDGE):
        job = Node(run.job)
        runtime = job["software"]["runtime"].text()
        release = runtime.removeprefix(BRIDGE).split(",")[0].strip()
        found[release, bool(job["workload"]["model"]["moe"])].append(errors[run.id])
    rows = []
    for release in sorted({name for name, _ in found}):
        row = [release]
        for moe in (False, True):
            each = np.array(found.get((release, moe), []))
            row += (
                [f"{len(each)}", _percent(_size(each)), _percent(float(np.expm1(each).mean()))]
                if len(each)
                else ["", "", ""]
            )
        rows.append(row)
    return _table("release | dense | mean error | bias | mixtures | mean error | bias", rows)


@dataclass(frozen=True)
class Recurring:
    """Runs of one configuration: its model, and by run log(1 / tokens per second) and log error."""

    model: str
    log_s: Column
    log_error: Column

    @property
    def spread(self) -> float:
        """Slowest over fastest, less one."""
        return float(np.expm1(self.log_s.max() - self.log_s.min()))

    @property
    def to_mean(self) -> Column:
        """Log error of the geometric mean of all releases, for each."""
        return np.asarray(self.log_s.mean() - self.log_s)

    @property
    def to_others(self) -> Column:
        """Log error of the geometric mean of the other releases, for each."""
        count = len(self.log_s)
        return np.asarray(self.to_mean * count / (count - 1))


def recurring() -> list[Recurring]:
    """Return Megatron-Bridge's configurations that more than one release ran."""
    errors = _left_out()
    same: dict[str, list[Run]] = defaultdict(list)
    for run in _runs(BRIDGE):
        job = json.loads(json.dumps(run.job))
        job["software"] = {"preset": job["software"]["preset"]}  # the page prints no more
        same[json.dumps(job, sort_keys=True)].append(run)
    made = []
    for job, runs in same.items():
        if len(runs) > 1:
            rate = np.array([run.measured.tokens_per_s_per_device for run in runs], np.float64)
            error = np.array([errors[run.id] for run in runs])
            made.append(
                Recurring(json.loads(job)["workload"]["model"]["name"], -np.log(rate), error)
            )
    return made


def configurations() -> str:
    """Return the table of configurations that recur, by model and of all."""
    every = recurring()
    rows = []
    for name in (*sorted({each.model for each in every}), "all"):
        mine = [each for each in every if name in (each.model, "all")]
        spreads = [each.spread for each in mine]
        joined = [np.concatenate([getattr(each, part) for each in mine])
                  for part in ("to_mean", "to_others", "log_error")]  # fmt: skip
        rows.append(
            (
                name,
                f"{len(joined[0])}",
                f"{len(mine)}",
                _percent(median(spreads)),
                _percent(max(spreads)),
                *(_percent(_size(each)) for each in joined),
            )
        )
    head = "model | runs | configurations | median spread | largest | mean of releases"
    return _table(f"{head} | mean of the others | left out", rows)


# ---- layers ----


def _whole(node: Node) -> int:
    return int(node.size())


def _cell(run: Run) -> tuple[int, int, int]:
    job = Node(run.job)
    strategy = job["strategy"]
    hidden = job["workload"]["model"]["hidden"]
    return _whole(hidden), _whole(strategy["tp"]), _whole(strategy["micro_batch"])


@dataclass(frozen=True)
class Layers:
    """Seconds by (hidden size, tensor degree, micro-batch), and the worst residual.

    Parameters
    ----------
    seconds : of a layer
    ends    : of what a microbatch takes beside its layers: embedding, logits, loss
    """

    seconds: dict[tuple[int, int, int], float]
    ends: dict[tuple[int, int, int], float]
    residual: float


def layer_seconds() -> Layers:
    """Solve vTrain's step times without pipelines for the time of a layer.

    step = m L layer(micro-batch) + m ends(micro-batch) + L update(dp) + rest(dp), with L layers and
    m microbatches; linear least squares for each hidden size and tensor degree.
    """
    parts: dict[tuple[int, int], list[tuple[Run, int, int, int]]] = defaultdict(list)
    for run in _runs(VTRAIN):
        job, (hidden, tp, micro_batch) = Node(run.job), _cell(run)
        if _whole(job["strategy"]["pp"]) == 1:
            dp = _whole(job["hardware"]["devices"]) // tp
            micro = _whole(job["workload"]["global_batch"]) // (dp * micro_batch)
            layers = _whole(job["workload"]["model"]["layers"])
            parts[hidden, tp].append((run, dp, micro, layers))
    seconds, ends, worst = {}, {}, 0.0
    for (hidden, tp), rows in parts.items():
        step_s = np.array([row[0].measured.step_time_s for row in rows], np.float64)
        batch, dp, micro, layers = (
            np.array(each, np.float64)
            for each in zip(*((_cell(r)[2], d, m, n) for r, d, m, n in rows), strict=True)
        )
        by_batch = [(batch == each) * micro for each in MICRO_BATCHES]
        by_dp = [(dp == each) * 1.0 for each in np.unique(dp)]
        columns = [each * layers for each in (*by_batch, *by_dp)] + by_batch + by_dp
        matrix = np.stack(columns, axis=1)
        found = np.linalg.lstsq(matrix, step_s, rcond=None)[0]
        worst = max(worst, float(np.abs(matrix @ found / step_s - 1.0).max()))
        for i, each in enumerate(MICRO_BATCHES):
            seconds[hidden, tp, each] = float(found[i])
            ends[hidden, tp, each] = float(found[len(by_batch) + len(by_dp) + i])
    return Layers(seconds, ends, worst)


def layers() -> str:
    """Return the table of layers, in ms; what `CONTRADICTED` names is bold."""
    return _by_micro_batch(layer_seconds().seconds, CONTRADICTED)


def ends() -> str:
    """Return the same of what stands beside the layers."""
    return _by_micro_batch(layer_seconds().ends)


def _by_micro_batch(
    found: Mapping[tuple[int, int, int], float], bold: Sequence[tuple[int, int, int]] = ()
) -> str:
    rows = []
    for hidden, tp in sorted({cell[:2] for cell in found}):
        cells = [(hidden, tp, each) for each in MICRO_BATCHES]
        shown = [f"{1e3 * found[cell]:.2f}" for cell in cells]
        marked = [f"**{ms}**" if cell in bold else ms
                  for ms, cell in zip(shown, cells, strict=True)]  # fmt: skip
        rows.append((f"{hidden}", f"{tp}", *marked))
    return _table("hidden | tp | " + " | ".join(f"micro-batch {m}" for m in MICRO_BATCHES), rows)


def ranking() -> str:
    """Return vTrain's errors and ranking, of left-out predictions, all rows and without some."""
    errors = _left_out()
    rows = []
    parts: dict[str, tuple[tuple[int, int, int], ...]] = {
        "all": (),
        "without the three layers": CONTRADICTED,
        "without the five": DISTRUSTED,
    }
    for name, left_out in parts.items():
        runs = [run for run in _runs(VTRAIN) if _cell(run) not in left_out]
        entries = [
            Entry(VTRAIN, run.group or "", run.id, run.measured.step_time_s or 0.0,
                  (run.measured.step_time_s or 0.0) * float(np.exp(errors[run.id])))
            for run in runs
        ]  # fmt: skip
        ranked = rankings(entries, {VTRAIN: 0.01})
        size = np.abs(np.expm1([errors[run.id] for run in runs]))
        regret = [each.regret for each in ranked]
        rows.append(
            (
                name,
                f"{len(runs):,}",
                _percent(float(size.mean())),
                _percent(float(np.median(size))),
                f"{len(ranked)}",
                f"{np.mean([each.tau for each in ranked]):.2f}",
                _percent(float(np.mean(regret))),
                _percent(float(np.median(regret))),
            )
        )
    head = "rows | runs | mean error | median | groups | Kendall tau | mean regret | median regret"
    return _table(head, rows)


def collectives() -> str:
    """Return how far times of one shape lie apart, by machine and devices."""
    rows = [
        (each.system, f"{each.devices}", f"{each.shapes}", _percent(each.others),
         _percent(each.large), _percent(each.widest), _percent(each.bend))
        for each in spreads()
    ]  # fmt: skip
    head = "machine | devices | shapes | from the others | from 32 MiB | widest | bend"
    return _table(head, rows)


def experts() -> str:
    """Return how far engines lie apart, by machine and phase."""
    rows = [
        (f"{e.system}, {e.phase}", f"{e.shapes}", f"{e.kinds}", f"{e.middle:.2f}", f"{e.most:.2f}")
        for e in engines()
    ]
    return _table("machine, phase | shapes | engines | slowest over fastest | the most", rows)


TABLES = {
    "releases": releases,
    "configurations": configurations,
    "layers": layers,
    "ends": ends,
    "ranking": ranking,
    "collectives": collectives,
    "experts": experts,
}


def main() -> None:
    """Print the table that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("table", choices=TABLES)
    print(TABLES[parser.parse_args().table]())


if __name__ == "__main__":
    main()
