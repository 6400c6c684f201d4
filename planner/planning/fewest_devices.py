"""The fewest devices of a job: counts below the fewest that do, searched with what may do.

Parts: `fewest`.
"""

import numpy as np

from planner.cluster.choices import between, clusters
from planner.job import DeviceRange, Job
from planner.planning.cluster_search import search_clusters
from planner.planning.searched import Searched, SearchOptions, system_of
from planner.workloads.training.spec import TrainingSpec

__all__ = ["fewest"]


def fewest(
    job: Job[TrainingSpec],
    results: list[Searched],
    options: SearchOptions,
) -> list[Searched]:
    """Search the counts below the fewest that do, with the rows that may keep the run's limits.

    Of a range, whole nodes or slices between the counts tried are added.
    """
    made = list(results)
    for system in job.hardware.systems:
        own = {
            r.context.cluster.devices: i
            for i, r in enumerate(results)
            if system_of(job, r.context.cluster.profile.name) == system
        }
        enough = min((n for n, i in own.items() if results[i].best is not None), default=0)
        if not enough:
            continue
        counts = [n for n, i in own.items() if n < enough and results[i].found.bound < np.inf]
        if isinstance(job.hardware.devices, DeviceRange):
            counts += between(job.hardware, system, list(own), enough)
        if not counts:
            continue
        fewer = {"system": system, "devices": tuple(counts)}
        for cluster in clusters(job.hardware.model_copy(update=fewer)):
            (result,) = search_clusters(job, [cluster], options, hopeful=True)
            if cluster.devices in own:
                made[own[cluster.devices]] = result
            else:
                made.append(result)
    return made
