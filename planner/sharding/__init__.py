"""Each operator's sharding, from the operator graph alone.

Parts: `mesh` (axes and their links), `layouts` (what splitting a label does to every tensor),
`resharding` (collectives between two layouts), `price` (an operator's seconds), `operator_nodes`,
`tensor_nodes` and `parameters` (decisions: labels, layouts, storage; `nodes`: what they share),
`edges` (what joins two of them), `problem` (all of it), `words` (picks as mappings, and back),
`transformer` (a model configuration as an operator graph, by the `roles` of its ops). Knows no
solver.
"""
