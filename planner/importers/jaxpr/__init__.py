"""Any JAX function as a model: traced on shapes, flattened, fused, labelled, folded."""

from planner.importers.jaxpr.imported import Imported, import_function, imported
from planner.importers.jaxpr.operators import Parameter
from planner.importers.jaxpr.trace import Function, InputShape, find

__all__ = [
    "Function",
    "Imported",
    "InputShape",
    "Parameter",
    "find",
    "import_function",
    "imported",
]
