"""The search of a job: clusters, their candidates, stages and pools, from many rows to the best.

Parts: `pooled` (the whole job), `homogeneous` (one kind of device), `cluster_search`,
`near_plans`, `fewest_devices`, `refined` (stage by stage), `pricing` (rows as the metric sees
them), `searched` (what was found). Knows rows and prices; nothing of documents.
"""
