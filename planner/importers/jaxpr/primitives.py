"""JAX primitives by how a compiler treats them: what is free, fused, priced apart, or unknown.

Only names; how labels pass through each of them is in `rules`. A primitive that no table here
lists is opaque: it runs whole on every device, and the import says so.
"""

__all__ = [
    "ALONG",
    "CHEAP",
    "ELEMENTWISE",
    "FREE",
    "FRESH",
    "LINEAR",
    "LOOKUP",
    "OPAQUE",
    "PRODUCT",
    "REDUCTION",
    "SCATTER",
    "TRANSCENDENTAL",
    "VIEW",
    "class_of",
]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


VIEW = _names("""reshape transpose broadcast_in_dim squeeze expand_dims convert_element_type copy
    copy_p stop_gradient slice split index stack reduce_precision optimization_barrier name
    sharding_constraint bitcast_convert_type pvary real imag layout_constraint
    mul_identity""")
"""Read in passing by whoever uses the result: no work and no memory of their own."""
FRESH = frozenset({"transpose", "slice", "split", "index"})
"""Views whose readers see other labels than those of who reads the whole tensor."""
TRANSCENDENTAL = _names("""exp exp2 expm1 log log1p tanh logistic erf erfc erf_inv sin cos tan
    asin acos atan atan2 sinh cosh asinh acosh atanh sqrt rsqrt cbrt pow lgamma digamma
    igamma""")
ELEMENTWISE = TRANSCENDENTAL | _names("""add add_any sub mul div neg sign abs max min rem floor
    ceil round integer_pow square select_n clamp eq ne lt le gt ge not and or xor is_finite
    nextafter shift_left shift_right_logical shift_right_arithmetic population_count clz
    complex conj carry random_bits random_wrap random_unwrap random_fold_in random_seed
    threefry2x32""")
CHEAP = ELEMENTWISE - TRANSCENDENTAL - {"div", "integer_pow"}
"""Worth computing again instead of keeping the result (what XLA's fusion duplicates)."""
LINEAR = _names("""add add_any sub neg mul div select_n select_and_scatter_add reduce_sum pad
    concatenate rev cumsum carry dynamic_slice dynamic_update_slice""")
"""Backward passes need no value of the forward pass, beside constant factors."""
REDUCTION = _names("""reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or
    reduce_xor argmax argmin""")
ALONG = _names("""cumsum cumprod cummax cummin cumlogsumexp sort rev pad concatenate
    dynamic_slice dynamic_update_slice reduce_window_sum reduce_window_max reduce_window_min
    reduce_window select_and_scatter_add select_and_gather_add top_k""")
"""Work along dims that stay whole; all other dims can be split."""
PRODUCT = frozenset({"dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general"})
LOOKUP = frozenset({"gather"})
SCATTER = frozenset({"scatter", "scatter_add", "scatter-add", "scatter_mul", "scatter_min",
                     "scatter_max", "scatter-update"})  # fmt: skip
FREE = frozenset(
    {
        "iota",
        "rng_uniform",
        "rng_bit_generator",
        "create_token",
        "empty",
        "axis_index",
        "platform_index",
    }
)
"""Made from nothing."""
OPAQUE = "opaque"

_CLASSES = (
    ("view", VIEW), ("elementwise", ELEMENTWISE), ("reduction", REDUCTION), ("along", ALONG),
    ("product", PRODUCT), ("lookup", LOOKUP), ("scatter", SCATTER), ("free", FREE),
)  # fmt: skip


def class_of(primitive: str) -> str:
    """Return the name of the table that lists a primitive, or opaque."""
    return next((name for name, table in _CLASSES if primitive in table), OPAQUE)
