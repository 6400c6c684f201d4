"""Why a plan is what it is, from its own numbers: stages, slots, patterns, what was rejected.

Parts: `one_plan` (what is read), `ceilings`, `checklist` (the six stages), `slots` (the six slots),
`patterns`, `scaling`, `rejected`, `rejected_consistency` and `rejected_upkeep` (other choices,
priced), `evened` (the plan with like stages). Knows one plan; nothing of how it was found.
"""
