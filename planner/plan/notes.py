"""What a reader must know before trusting a plan: fallbacks, assumptions, regimes.

Each note is one sentence that follows from the job, the machine or the figures. Changes no
number.
"""

from collections.abc import Mapping, Sequence

from costmodels.reliability import FEW_DEVICES, mtbf_is_optimistic
from hardware_profiles.lookup import computed_in, measured, peak_flop_per_s
from hardware_profiles.schema import HardwareProfile
from planner.cluster import Cluster
from planner.cluster.torus import has_slice, slices_beside
from planner.job import Job
from planner.plan.comparable import Interval
from planner.plan.odd_figures import odd_figures
from planner.workloads import training
from planner.workloads.training.consistency import across_level
from planner.workloads.training.context import DEFAULT_IMBALANCE
from planner.workloads.training.recipes import recipes_for
from planner.workloads.training.spec import TrainingSpec

__all__ = ["LITTLE_GOODPUT", "notes"]

LITTLE_GOODPUT = 0.7
"""Goodput below which a run waits for lost hosts more than for too few devices."""


def notes(
    job: Job[TrainingSpec],
    context: training.Context,
    strategy: Mapping[str, object],
    figures: Mapping[str, object],
) -> list[str]:
    """Return the notes of a plan, most important first; `figures` are its prediction's."""
    machines = {each.profile.name: each.profile for each in context.cluster.each}
    found = [
        _left_out(job),
        _vendors(list(machines.values())),
        *(_precision(profile, job.workload.precision) for profile in machines.values()),
        *(_unmeasured(profile) for profile in machines.values()),
        *(_slices(job, each) for each in context.cluster.each),
        _sites(job, context.cluster),
        *(_foreign(profile, context.stack.family.name) for profile in machines.values()),
        _deadline(job, figures),
        _waiting(job, figures),
        _sharded(context, strategy),
        _offload(job, strategy),
        *(note for each in context.cluster.each for note in odd_figures(job, each)),
        *(_idle(each) for each in context.cluster.each),
        _imbalance(job, strategy),
        _optimizer(job),
        _runtime(job, context.cluster),
        _failures(job, context),
    ]
    return [note for note in dict.fromkeys(found) if note]


def _runtime(job: Job[TrainingSpec], cluster: Cluster) -> str:
    """Say which settings the recipes of the job's runtime brought."""
    software, work, machine = job.software, job.workload, cluster.profile.name
    own = software.switches()
    found = recipes_for(job, machine)
    brought: dict[str, object] = {
        name: on for one in found for name, on in one.switches.items() if name not in own
    }
    kernels = [one.attention_kernels for one in found if one.attention_kernels]
    if kernels and software.attention_kernels is None:
        brought["attention_kernels"] = kernels[-1]
    if not brought:
        return ""
    said = ", ".join(f"{name}: {str(value).lower()}" for name, value in sorted(brought.items()))
    return (
        f"the recipes of {software.runtime} for {work.model.name} in {work.precision} on {machine}"
        f" set {said}; a switch in software goes before them"
    )


def _left_out(job: Job[TrainingSpec]) -> str:
    """Say what the model's file describes and the plan leaves out."""
    model = job.workload.model
    if model.left_out is None:
        return ""
    return f"of {model.name} the language model alone is planned: its {model.left_out} is left out"


def _vendors(machines: Sequence[HardwareProfile]) -> str:
    """Say what a job over accelerators of several vendors asks of its software."""
    vendors = list(dict.fromkeys(profile.vendor for profile in machines))
    if len(vendors) < 2:
        return ""
    return (
        f"accelerators of {' and '.join(vendors)} in one job: their collective libraries do not"
        " talk to each other, so the exchange between the pools needs one that runs on both"
    )


def _deadline(job: Job[TrainingSpec], figures: Mapping[str, object]) -> str:
    """Say so where the deadline holds less surely than asked, for what predictions may miss."""
    chance, wanted = figures.get("deadline_chance"), job.constraints.confidence
    deadline_s, ends = job.constraints.deadline_s, figures.get("interval_s")
    step_s, coverage = figures.get("step_time_s"), figures.get("interval_coverage")
    if not isinstance(chance, float) or chance >= wanted or deadline_s is None:
        return ""
    assert isinstance(ends, list) and isinstance(step_s, float) and isinstance(coverage, float)
    sure = Interval(ends[0] / step_s, ends[1] / step_s, coverage, "")
    late = max(1.0, sure.factor(wanted))
    return (
        f"confidence {wanted:g} is of failures: with what the prediction itself may miss, the"
        f" deadline holds with {chance:.0%}; asking for deadline_s {deadline_s / late:.3g} makes"
        " up for that"
    )


def _waiting(job: Job[TrainingSpec], figures: Mapping[str, object]) -> str:
    """Say that spares would help where lost hosts take much of the run, and it has none."""
    goodput = figures.get("goodput")
    if not isinstance(goodput, float) or goodput >= LITTLE_GOODPUT or job.failure.spare_nodes:
        return ""
    lost = [figures.get(key) for key in ("failures_expected", "preemptions_expected")]
    if job.workload.tokens and sum(one for one in lost if isinstance(one, float)) < 1.0:
        return ""  # a short run, and its last checkpoint
    return (
        f"lost hosts leave {goodput:.0%} of the time to the run, which has no spares:"
        " failure.spare_nodes are hosts that step in at once"
    )


def _precision(profile: HardwareProfile, precision: str) -> str:
    used = computed_in(profile, precision)
    if used != precision:
        return f"{profile.name} has no {precision} units: matrix products are priced in {used}"
    peak = peak_flop_per_s(profile, precision)
    if peak.basis == "assumed":
        return f"the {used} peak of {profile.name} is assumed: {peak.source}"
    return ""


def _unmeasured(profile: HardwareProfile) -> str:
    if measured(profile):
        return ""
    return (
        f"no measurement of {profile.name} is in the fit: its kernel constants are those of a"
        " relative, and the interval is wider for that by a factor that is assumed"
    )


def _slices(job: Job[TrainingSpec], cluster: Cluster) -> str:
    """Say where no slice of a torus has as many chips as the job asks for."""
    profile, chips = cluster.profile, cluster.devices
    given = job.hardware.slice
    if given is not None:
        chips = given.devices // given.count
    if job.hardware.levels or has_slice(profile, chips):
        return ""
    below, above = slices_beside(profile, chips)
    nearest = f"{below} and {above} chips" if below else f"{above} chips"
    return (
        f"no slice of {profile.name} has {chips} chips: the nearest have {nearest}; several"
        " smaller ones are hardware.slice with a topology and a count"
    )


def _sites(job: Job[TrainingSpec], cluster: Cluster) -> str:
    """Say that sites cannot train on their own where the batch does not divide among them."""
    level, batch = across_level(cluster), job.workload.global_batch
    sites = cluster.devices // level.inside
    if (
        cluster.pools
        or not level.wide
        or job.strategy.consistency is not None
        or batch % sites == 0
    ):
        return ""
    whole = cluster.devices if batch > cluster.devices else sites
    nearest = [n for n in (batch // whole * whole, (batch // whole + 1) * whole) if n]
    return (
        f"{batch} sequences do not divide among {sites} sites, so local updates, each site on its"
        f" own, are left out: a global_batch of {' or '.join(map(str, nearest))} would have them"
        " searched"
    )


def _foreign(profile: HardwareProfile, family: str) -> str:
    if (family == "xla") == (profile.vendor == "google"):
        return ""
    if family == "xla":
        return f"the xla stack was measured on TPUs, hardly on {profile.vendor} devices"
    return f"the {family} stack does not run on {profile.vendor} devices; maxtext does"


def _idle(cluster: Cluster) -> str:
    """Say that whole hosts are paid for where a job uses them in part."""
    host = cluster.profile.host.devices
    idle = -cluster.devices % host
    if not idle or not cluster.profile.usd_per_device_hour.value:
        return ""
    return (
        f"hosts of {cluster.profile.name} have {host} devices and are paid for whole: {idle} of"
        f" {cluster.devices + idle} idle; for a share of a host give usd_per_device_hour"
        f" x {cluster.devices}/{cluster.devices + idle}"
    )


def _sharded(context: training.Context, strategy: Mapping[str, object]) -> str:
    """Say that a pinned plan shards what its software cannot."""
    supports, piped = context.stack.supports, strategy.get("pp") != 1
    zero = strategy.get("zero")
    if zero in (supports.pipeline_zero if piped else supports.zero):
        return ""
    where = " in a pipeline" if piped and zero in supports.zero else ""
    return (
        f"{context.stack.name} has no zero {zero}{where}, as the job pins: the price is of software"
        " that would"
    )


def _offload(job: Job[TrainingSpec], strategy: Mapping[str, object]) -> str:
    what = strategy.get("offload")
    if not isinstance(what, list) or not what:
        return ""
    kept = " and ".join(f"{state} states" if state == "optimizer" else str(state) for state in what)
    if job.strategy.offload is not None:
        return f"{kept} stay in the host's memory, as the job pins"
    return f"{kept} stay in the host's memory: without that this plan would not fit"


def _imbalance(job: Job[TrainingSpec], strategy: Mapping[str, object]) -> str:
    moe = job.workload.model.moe
    if moe is None or moe.imbalance is not None or not moe.dropless:
        return ""
    if strategy.get("ep") == 1:
        return ""
    return (
        f"the busiest expert rank is taken to have {DEFAULT_IMBALANCE:g} times the mean load;"
        " model.moe.imbalance changes that"
    )


def _optimizer(job: Job[TrainingSpec]) -> str:
    """Say what of an optimizer's step is not priced."""
    if job.workload.optimizer != "muon":
        return ""
    return "of muon its states are priced, not the products that make its updates orthogonal"


def _failures(job: Job[TrainingSpec], context: training.Context) -> str:
    if job.workload.tokens is None or job.failure.node_mtbf_s is not None:
        return ""
    if not bool(mtbf_is_optimistic(float(context.cluster.devices))):
        return ""
    return (
        f"below {FEW_DEVICES:,.0f} devices jobs fail more often than their hardware: software and"
        " users do the rest, up to four times as often in one published cluster;"
        " failure.node_mtbf_s sets your own rate"
    )
