"""Kinds of jobs, one folder or file each: the table that the rest of the planner reads."""

from planner.workloads import training

__all__ = ["SHAPES"]

SHAPES = {shape.NAME: shape for shape in (training,)}
