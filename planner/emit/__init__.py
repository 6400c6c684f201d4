"""Configurations for the frameworks that run a plan, one framework a file.

An emitter reads the mapping that `plan.json` holds and returns text; `planner.emit.write` puts
it on disk.
"""

from planner.emit import jax_mesh, megatron, torchtitan
from planner.emit.emitter import Emitter, check_targets, emit_all

__all__ = ["EMITTERS", "Emitter", "check_targets", "emit_all"]

EMITTERS: dict[str, Emitter] = {
    megatron.NAME: megatron,
    torchtitan.NAME: torchtitan,
    jax_mesh.NAME: jax_mesh,
}
