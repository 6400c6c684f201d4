"""Fit what stacks hold beside what is counted, to measured peaks of memory, and write it back.

    python benchmarks/accuracy/fit_memory.py [--runs FOLDER] [--write]

States, activations and logits are counted and have no constant here. Fitted are, for all that runs
PyTorch, what a device holds before any work and the allocator's share, and, of a preset, the copies
that its optimizer makes. The sum of absolute relative errors is least on a grid, one constant after
the other until none moves: it forgives the runs that a wrong fact spoils. Runs that leave the
micro-batch open are judged, not fitted: their peak is of a plan that the source does not name.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML
from training_runs import prepared_runs

from costmodels.units import Column
from planner.validate.prepared import Priced, logged_stages

__all__ = ["CONSTANTS", "fit_memory", "main"]

ROOT = Path(__file__).parents[2] / "hardware_profiles"
HELD = 0.3
"""Relative error, summed over runs, that twice a prior costs: it decides where few runs do."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One constant: where it stands, the values that it may take, and one where no run says.

    Priors: CUDA's context and libraries with some cached blocks. Copies, as InternEvo's code makes
    them: gradients flat in 16 bits (2) and in fp32 (4), and the root of the second moment (4);
    fp32 gradients for their norm (4) are pieces of a layer's size, which find room where gathered
    layers were, and none where parameters are whole.
    """

    files: tuple[str, ...]
    key: str
    values: tuple[float, ...]
    prior: float


GIGA = tuple(0.1e9 * n for n in range(41))
SHARES = tuple(0.005 * n for n in range(25))
COPIES = tuple(0.5 * n for n in range(49))
FSDP, MEGATRON, INTERNEVO = "families/fsdp", "families/megatron", "stacks/internevo"
CONSTANTS = (
    Knob((FSDP, MEGATRON), "base_bytes", GIGA, 1.5e9),
    Knob((FSDP, MEGATRON), "fragmentation", SHARES, 0.02),
    Knob((INTERNEVO,), "optimizer_transient_bytes", COPIES, 14.0),
    Knob((INTERNEVO,), "sharded_transient_bytes", COPIES, 10.0),
)

Values = dict[Knob, float]


@dataclass(frozen=True, slots=True)
class Peak:
    """A measured peak, and the stages that could hold it: bytes without constants, and of each.

    `stages` are those whose memory the stack's log prints; `slopes` are bytes per unit of a
    constant: a footprint is linear in all of them.
    """

    run: Priced
    measured: float
    stages: Column
    slopes: dict[Knob, Column]

    def error(self, values: Mapping[Knob, float]) -> float:
        """Predicted over measured - 1."""
        held = self.stages
        for knob, slope in self.slopes.items():
            held = held + values[knob] * slope
        return float(held.max() / self.measured - 1.0)


def peak_of(run: Priced) -> Peak:
    """Price a run's stages with every constant at nought, and with each at one."""
    mine = [knob for knob in CONSTANTS if _touches(knob, run)]
    none = dict.fromkeys(mine, 0.0)
    still = logged_stages(_under(run, none))
    slopes = {knob: logged_stages(_under(run, none | {knob: 1.0})) - still for knob in mine}
    slopes = {knob: slope for knob, slope in slopes.items() if slope.any()}
    measured = run.run.measured.peak_memory_bytes
    assert measured is not None
    return Peak(run, measured, still, slopes)


def fit_memory(peaks: Sequence[Peak]) -> Values:
    """Return the constants that fit the peaks of the runs that pin their micro-batch.

    All start from their priors, and keep them where no such run has them: the answer does not
    depend on what is written.
    """
    pinned = [peak for peak in peaks if peak.run.job.strategy.micro_batch is not None]
    values = {knob: knob.prior for knob in CONSTANTS}
    known = [knob for knob in CONSTANTS if any(knob in peak.slopes for peak in pinned)]
    least = np.inf
    while True:
        for knob in known:
            mine = [peak for peak in pinned if knob in peak.slopes]
            losses = [_loss(mine, values | {knob: value}) for value in knob.values]
            values[knob] = knob.values[int(np.argmin(losses))]
        now = _loss(pinned, values)
        if now >= least - 1e-9:
            return values
        least = now


def _loss(peaks: Sequence[Peak], values: Mapping[Knob, float]) -> float:
    far = sum(abs(value / knob.prior - 1.0) for knob, value in values.items())
    return float(np.abs(errors(peaks, values)).sum()) + HELD * far


def errors(peaks: Sequence[Peak], values: Mapping[Knob, float]) -> Column:
    """Predicted over measured peak - 1, peak by peak."""
    return np.array([peak.error(values) for peak in peaks])


def _touches(knob: Knob, run: Priced) -> bool:
    stack = run.context.stack
    return not {f"families/{stack.family.name}", f"stacks/{stack.name}"}.isdisjoint(knob.files)


def _under(run: Priced, values: Mapping[Knob, float]) -> Priced:
    """Return the run with its stack's constants replaced."""
    stack = run.context.stack.with_values({knob.key: value for knob, value in values.items()})
    return dataclasses.replace(run, context=dataclasses.replace(run.context, stack=stack))


def _read(file: str) -> dict[str, object]:
    read: dict[str, object] = YAML().load((ROOT / f"{file}.yaml").read_text(encoding="utf-8"))
    return read


def _write(values: Values, peaks: Sequence[Peak]) -> None:
    """Put the constants into the files, with their basis and what they rest on."""
    yaml = YAML()
    yaml.width = 4096
    found = errors(peaks, values)
    for file in sorted({file for knob in values for file in knob.files}):
        data = _read(file)
        for knob in (k for k in values if file in k.files):
            mine = np.array([knob in peak.slopes for peak in peaks])
            if not mine.any():
                continue
            figure = data[knob.key]
            assert isinstance(figure, dict)
            figure["value"], figure["basis"] = round(values[knob], 6), "fitted"
            mean = np.abs(found[mine]).mean()
            figure["source"] = f"fit_memory.py: {mine.sum()} peaks, mean error {mean:.1%}"
        with (ROOT / f"{file}.yaml").open("w", encoding="utf-8") as out:
            yaml.dump(data, out)


def _report(peaks: Sequence[Peak], values: Values) -> None:
    """Print the error by source, in the fit and with the source left out of it."""
    every, unseen = errors(peaks, values), np.zeros(len(peaks))
    print(f"{'source':30} {'peaks':>5} {'error':>6} {'bias':>6} {'left out':>8}")
    names = np.array([peak.run.source for peak in peaks])
    for source in dict.fromkeys(names):
        mine = names == source
        others = [peak for peak, own in zip(peaks, mine, strict=True) if not own]
        unseen[mine] = errors(peaks, fit_memory(others))[mine]
        _line(source, every[mine], unseen[mine])
    _line("all", every, unseen)


def _line(source: str, every: Column, unseen: Column) -> None:
    print(f"{source:30} {len(every):5} {np.abs(every).mean():6.1%} {every.mean():6.1%} "
          f"{np.abs(unseen).mean():8.1%}")  # fmt: skip


def main() -> None:
    """Fit, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="a folder of runs files")
    parser.add_argument("--write", action="store_true", help="change hardware_profiles/")
    given = parser.parse_args()
    prepared = prepared_runs(given.runs)
    runs = [run for run in prepared if run.run.measured.peak_memory_bytes is not None]
    peaks = [peak_of(run) for run in runs]
    values = fit_memory(peaks)
    for knob, value in values.items():
        print(f"{', '.join(knob.files)} {knob.key} = {value:g}")
    _report(peaks, values)
    if given.write:
        _write(values, peaks)


if __name__ == "__main__":
    main()
