"""Questions about a plan: what binds, why not another, what if a figure were another.

Parts: `explanation` (all that `sixfold explain` says), `chosen` (the plan of a plan.json), `pool`
(the candidates, to be priced again), `binds`, `freed`, `levers`, `why_not`, `whatif`.
"""

from planner.explain.explanation import explain

__all__ = ["explain"]
