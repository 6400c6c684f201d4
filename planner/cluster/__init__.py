"""A machine profile times a device count: its network levels, tori, transports.

Parts: `levels` (the cluster and who talks over what), `torus` (groups on a torus of chips),
`transports` (the protocols of a level), `choices` (the clusters that a job may run on).
"""

from planner.cluster.levels import BETWEEN, WIDE_AREA_S, Cluster, Level, Segment, build, joined

__all__ = ["BETWEEN", "WIDE_AREA_S", "Cluster", "Level", "Segment", "build", "joined"]
