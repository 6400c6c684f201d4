"""Planning of a model that is a JAX function: meshes, microbatches, each operator's sharding.

Parts: `context` (the job resolved), `meshes` (what is tried), `step` (the price of a whole step),
`search` and `operator_search` (the choice), `layouts` (specs of parameters and inputs), `figures`
(the prediction), `reasons` (the checklist, the design, the patterns), `document` (plan.json),
`path` (`plan` and `predict`).
"""
