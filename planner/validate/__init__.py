"""Predicted against measured.

Parts: `runs` (the file of measured runs), `prepared` (a run's job on its cluster, pinned),
`validation` (errors by source and group), `ranking` (order inside a group).
"""

from planner.validate.validation import Validation, compare, validate

__all__ = ["Validation", "compare", "validate"]
