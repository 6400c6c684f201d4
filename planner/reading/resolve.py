"""What a job file names -> what it means: model presets and files, systems, software presets.

Also says which keys are read but not yet planned for. Works on the plain values of a file and on
the validated job; validates no types itself (`planner.reading.complain` tells of those).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from hardware_profiles.load import ProfileError, load, names, with_overrides
from hardware_profiles.schema import HardwareProfile
from hardware_profiles.stack import stack_names
from planner.cluster import WIDE_AREA_S
from planner.cluster.choices import cluster_of
from planner.errors import SpecError
from planner.job import Hardware, HardwareSet, Job, Pool, Software
from planner.models.load import load as load_model
from planner.models.load import names as model_names
from planner.nearest import hint, nearest, shown
from planner.reading.document import Document, PathKey, Value, clean
from planner.strategy import LocalSgd
from planner.workloads.training.consistency import across_level

__all__ = [
    "KINDS",
    "check_kind",
    "refuse_later",
    "resolve_function",
    "resolve_hardware",
    "resolve_model",
    "without_nulls",
]

W = TypeVar("W", bound=BaseModel)
KINDS = ("training",)
LATER_KINDS = (
    "serving",
    "recommender",
    "batch",
    "reinforcement",
    "federated",
    "retrieval",
    "swarm",
    "scoring",
)
LATER: dict[PathKey, str] = {
    ("parts",): "a job of several parts",
    ("strategy", "sharding"): "a choice for each operator of a transformer",
}
"""Keys of the grammar that this version does not plan for."""


def without_nulls(value: Value) -> Value:
    """Leave out the keys whose value is null: absent and null both mean not given."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def refuse_later(document: Document, besides: tuple[PathKey, ...] = ()) -> None:
    """Raise SpecError for a key that is not planned for; `besides` are keys that are."""
    for path, what in LATER.items():
        if path in besides:
            continue
        value: Value = document.value
        for part in path:
            value = value.get(str(part)) if isinstance(value, dict) else None
        if value is not None:
            said = f"{what} is not supported yet (got {shown(value)})"
            raise document.error(said, path)


def check_kind(document: Document) -> None:
    """Raise SpecError unless `workload.kind` is a kind that this version plans."""
    raw = document.value
    workload = raw.get("workload") if isinstance(raw, dict) else None
    if isinstance(raw, dict) and workload is None and raw.get("parts") is not None:
        said = "a job of several parts is not supported yet: give one workload, a file each"
        raise document.error(said, ("parts",))
    if not isinstance(workload, dict):
        raise document.error("is needed: a mapping with key kind", ("workload",))
    path = ("workload", "kind")
    said = f"allowed: {', '.join(KINDS)}"
    if "kind" not in workload:
        raise document.error(f"is needed; {said}", path)
    found = workload["kind"]
    if found in LATER_KINDS:
        raise document.error(f"kind {found} is not supported yet; {said}", path)
    if not isinstance(found, str) or found not in KINDS:
        raise document.error(f"got {shown(found)}; {said}", path)


def resolve_model(document: Document, base_dir: Path) -> None:
    """Replace `workload.model`, a name or a path, by the mapping it stands for, in place.

    `workload.images_per_sequence` goes into its vision tower.
    """
    raw = document.value
    workload = raw.get("workload") if isinstance(raw, dict) else None
    if not isinstance(workload, dict):
        return
    if isinstance(workload.get("model"), str):
        workload["model"] = _named_model(str(workload["model"]), document, base_dir)
    model, images = workload.get("model"), workload.get("images_per_sequence")
    vision = model.get("vision") if isinstance(model, dict) else None
    if images is not None and isinstance(vision, dict):
        vision["images_per_sequence"] = images


def _named_model(name: str, document: Document, base_dir: Path) -> Value:
    """Return the mapping that a preset's name or a path stands for."""
    try:
        if name in model_names():
            config = load_model(name)
        elif "/" in name or "\\" in name or name.endswith(".json"):
            from planner.importers.huggingface import read_config

            path = base_dir / name
            meant = None if path.exists() else _preset_like(name)
            if meant is not None:
                said = f"a preset is {meant}; repositories are not downloaded"
                raise SpecError(f"{shown(name)}: no such file or folder; {said}")
            config = read_config(path / "config.json" if path.is_dir() else path)
        else:
            said = "or the path of a Hugging Face config.json"
            raise SpecError(f"no model preset {shown(name)}; {hint(name, model_names())}; {said}")
    except SpecError as error:
        raise _of_file(error, document, ("workload", "model")) from None
    except (OSError, ValueError) as error:
        raise document.error(f"cannot read {shown(name)}: {error}", ("workload", "model")) from None
    made: Value = config.model_dump(mode="json", exclude_none=True)
    return made


def _preset_like(name: str) -> str | None:
    """Return the preset that a repository's name, such as meta-llama/Llama-3.1-8B, may mean."""
    if name.endswith(".json"):
        return None
    return nearest(name.replace("\\", "/").rsplit("/", 1)[-1], model_names())


def resolve_function(document: Document, base_dir: Path) -> bool:
    """Tell whether the model is a JAX function; note the job's folder where the module is there."""
    raw = document.value
    workload = raw.get("workload") if isinstance(raw, dict) else None
    model = workload.get("model") if isinstance(workload, dict) else None
    if not isinstance(model, dict) or "jax" not in model:
        return False
    top = str(model["jax"]).partition(":")[0].partition(".")[0]
    if "folder" not in model and any(
        (base_dir / name).exists() for name in (f"{top}.py", f"{top}/__init__.py")
    ):
        model["folder"] = str(base_dir)
    return True


def resolve_hardware(job: Job[W], document: Document, base_dir: Path) -> Job[W]:
    """Check systems, overrides, slices, placement and preset; return the job with paths found.

    A software preset that is not given becomes `maxtext` where every system is a TPU.
    """
    given = job.hardware
    if given.pools:
        return _resolve_pools(job, given.pools, document, base_dir)
    if not given.systems:
        raise document.error(
            "is needed: a shipped system or a profile file", ("hardware", "system")
        )
    if given.devices is None and given.slice is None:
        raise document.error("is needed: a number, {min, max}, or a list", ("hardware", "devices"))
    found = [_system(name, base_dir) for name in given.systems]
    one = isinstance(given.system, str)
    profiles = []
    for index, name in enumerate(found):
        at: PathKey = ("hardware", "system") if one else ("hardware", "system", index)
        profiles.append(_profile(name, at, given.set, document))
    for profile in profiles:
        _check_slice(given, profile, document)
        _check_placement(job, [profile], document)
        _check_across(job, profile, document)
    system = found[0] if isinstance(given.system, str) else tuple(found)
    devices = given.devices if given.devices is not None else given.fixed_devices
    hardware = given.model_copy(update={"system": system, "devices": devices})
    return job.model_copy(
        update={"hardware": hardware, "software": _software(job, profiles, document)}
    )


def _resolve_pools(
    job: Job[W], pools: Sequence[Pool], document: Document, base_dir: Path
) -> Job[W]:
    """Check the pools of a job as `resolve_hardware` checks its systems."""
    found = [_system(pool.system, base_dir) for pool in pools]
    profiles = []
    for index, (pool, name) in enumerate(zip(pools, found, strict=True)):
        at: PathKey = ("hardware", "pools", index, "system")
        profiles.append(_profile(name, at, pool.set, document))
    _check_placement(job, profiles, document)
    made = tuple(
        pool.model_copy(update={"system": name}) for pool, name in zip(pools, found, strict=True)
    )
    hardware = job.hardware.model_copy(update={"pools": made})
    return job.model_copy(
        update={"hardware": hardware, "software": _software(job, profiles, document)}
    )


def _of_file(error: SpecError | ProfileError, document: Document, at: PathKey) -> SpecError:
    """Return the error of a file that the job names at `at`.

    What is wrong inside the file is told at its own line; a file that cannot be read at all, at
    the job's.
    """
    if not error.file:
        return document.error(error.message, at)
    if error.line is None and not error.key and not Path(error.file).is_file():
        return document.error(f"{error.file}: {error.message}", at)
    file = clean(error.file)
    return SpecError(clean(error.message), key=clean(error.key), file=file, line=error.line)


def _system(name: str, base_dir: Path) -> str:
    is_path = name not in names() and ("/" in name or name.endswith((".yaml", ".yml", ".json")))
    return str(base_dir / name) if is_path else name


def _profile(name: str, at: PathKey, given: HardwareSet, document: Document) -> HardwareProfile:
    """Load the profile named at `at`, with the overrides that stand beside it."""
    try:
        return with_overrides(load(name), given.given())
    except ProfileError as error:
        if error.file:
            raise _of_file(error, document, at) from None
        path: PathKey = tuple(error.key.split(".")) if error.key else at
        if "pools" in at and error.key:
            path = (*at[:-1], *path[1:])
        raise document.error(error.message, path) from None


def _check_slice(hardware: Hardware, profile: HardwareProfile, document: Document) -> None:
    given, inner = hardware.slice, profile.network[0]
    if given is None:
        return
    path = ("hardware", "slice")
    if inner.torus_dims is None:
        raise document.error(f"slices are for a torus; {profile.name} has a {inner.kind}", path)
    if len(given.axes) > inner.torus_dims:
        raise document.error(
            f"topology {given.topology} has {len(given.axes)} axes; {profile.name} has"
            f" {inner.torus_dims}",
            path,
        )


def _check_placement(job: Job[W], profiles: Sequence[HardwareProfile], document: Document) -> None:
    """Refuse a placement that names a level which none of the profiles has."""
    given = [level.name for level in job.hardware.levels]
    own = [level.name for profile in profiles for level in profile.network]
    known = list(dict.fromkeys(given or own))
    for axis, level in (job.strategy.placement or {}).items():
        if level not in known:
            name = " and ".join(profile.name for profile in profiles)
            message = f"{name} has no network level {shown(level)}"
            raise document.error(
                f"{message}; allowed: {', '.join(known)}", ("strategy", "placement", axis)
            )


def _check_across(job: Job[W], profile: HardwareProfile, document: Document) -> None:
    """Refuse local updates across a level that is not there, or that joins no whole sites."""
    pinned, devices = job.strategy.consistency, job.hardware.fixed_devices
    if not isinstance(pinned, LocalSgd):
        return
    path: PathKey = ("strategy", "consistency", "local_sgd", "across")
    name = pinned.local_sgd.across
    given = job.hardware.levels
    known = [level.name for level in given]
    if not given or given[0].latency_s >= WIDE_AREA_S:  # the profile's own are used, or below
        known = [*(level.name for level in profile.network), *known]
    if name is not None and name not in known:
        raise document.error(f"no network level {shown(name)}; {hint(name, known)}", path)
    if devices is None:
        return
    cluster = cluster_of(job.hardware, profile, devices)
    reached = [level.name for level in cluster.levels]
    if name is not None and name not in reached:
        said = (
            f"{devices} devices are inside one domain below {name}: there are no sites to average"
        )
        raise document.error(f"{said}; they cross {', '.join(reached)}", path)
    level = across_level(cluster, name)
    dp = job.strategy.pinned_count("dp")
    if devices % level.inside:
        said = f"devices {devices} are not whole sites of the {level.inside} below {level.name}"
        raise document.error(said, path)
    if dp is not None and dp % (devices // level.inside):
        said = (
            f"dp {dp} is not a multiple of the {devices // level.inside} sites below {level.name}"
        )
        raise document.error(said, path)


def _software(job: Job[W], profiles: list[HardwareProfile], document: Document) -> Software:
    software = job.software
    if "preset" not in software.model_fields_set and all(p.vendor == "google" for p in profiles):
        return software.model_copy(update={"preset": "maxtext"})
    if software.preset not in stack_names():
        raise document.error(
            f"no software preset {shown(software.preset)}; {hint(software.preset, stack_names())}",
            ("software", "preset"),
        )
    return software
