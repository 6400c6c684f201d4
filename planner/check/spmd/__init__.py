"""The checked step under `jax.shard_map`, one idea a file; every collective is written by hand.

`parallel` has the collectives with their gradient rules; `attention`, `feed`, `experts` and
`tables` the parts of the model; `decoder` a layer and a stage; `pipeline` the stages; `state`
gradients, shards and Adam; `program` joins them. These modules import JAX: only
`planner.check.step` imports them.
"""
