"""A plan put down: plan.json, or why there is none.

Parts: `document` (plan.json), `prediction`, `comparable` (its interval), `alternatives`, `notes`,
`findings` (how answers are put), `infeasible` (nothing fits: what came nearest).
"""
