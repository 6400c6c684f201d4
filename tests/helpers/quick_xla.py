"""Environment under which XLA compiles in a fraction of the time what tests compile and run.

Its kernels are plainer; shardings, collectives, their bytes and the losses are the same.
"""

from importlib.metadata import version

__all__ = ["FLAGS", "QUICK"]

FLAGS = "--xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""
"""For XLA_FLAGS; releases that may not know the flag go without."""
QUICK = {"XLA_FLAGS": FLAGS, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
