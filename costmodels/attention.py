"""Time of fused attention: over whole sequences, and for one new token of each.

Knows sizes and rates, nothing of layers, chips or software.

Parts: `head_width`, `attention_s`, `decode_attention_s`.
"""

import numpy as np

from costmodels.units import Num

__all__ = [
    "KEYS_TILE",
    "MOST_SHARED",
    "QUERIES_TILE",
    "QUERY_ROWS",
    "REFERENCE_WIDTH",
    "attention_s",
    "decode_attention_s",
    "head_width",
]

QUERY_ROWS = 128
"""Queries of one head that a unit handles together."""
REFERENCE_WIDTH = 128.0
"""Width of a head at which rates of attention are stated."""
SPLIT_TOKENS = 256.0
"""Tokens of a cache that are not worth cutting (decode)."""
KEYS_TILE = 128.0
"""Tokens of a cache that a unit handles together (decode)."""
QUERIES_TILE = 16.0
"""Query heads that a unit handles together where they share a head of keys (decode)."""
AGAIN = 0.5
"""Share of a head of keys that each further `QUERIES_TILE` queries read from memory again: assumed,
fits to three chips are between 0.1 and 0.9, and as good with this."""
MOST_SHARED = 32.0
"""Query heads that can share what they read of one head of keys and values (decode)."""


def head_width(head_dim: Num, softmax_dim: Num) -> Num:
    """Time of attention per FLOP over that of heads 128 wide.

        w = (1 + softmax_dim / head_dim) / (1 + softmax_dim / 128)

    The exponential of a score takes as long as `softmax_dim` elements of its products, however
    wide the head is: narrow heads waste the products' rate.

    Notes
    -----
    Source: Shah et al., FlashAttention-3, 2024, section 1 (the exponential's throughput).

    >>> head_width(128.0, 64.0), head_width(64.0, 64.0) > 1.0
    (1.0, True)
    """
    return (1.0 + softmax_dim / head_dim) / (1.0 + softmax_dim / REFERENCE_WIDTH)


def attention_s(
    flop: Num,
    traffic_bytes: Num,
    flop_per_s: Num,
    bytes_per_s: Num,
    fixed_s: Num,
    tail_flop: Num = 0.0,
) -> Num:
    """Time of a fused attention kernel over whole sequences.

        t = fixed + (flop + tail_flop) / flop_per_s + traffic / bytes_per_s

    A sum, no maximum: what a block of queries does before and after its keys (loading, scaling,
    writing) does not hide under the products of that block.

    Parameters
    ----------
    flop          : of the kernel as executed (half of all pairs where it skips the masked ones)
    traffic_bytes : queries, keys, values and outputs, read and written once
    flop_per_s    : what long sequences of many heads reach
    bytes_per_s   : what the traffic reaches, below the memory's: it stands for all work that
                    grows with the queries alone
    tail_flop     : of the blocks of queries that run while most units idle at the end: for each
                    unit a share of the longest block, `QUERY_ROWS` queries by all their keys

    Notes
    -----
    Within 5 to 10% of measured prefills of 1 to 16,384 tokens.
    Source: Dao et al., FlashAttention, 2022 (traffic linear in the sequence).
    """
    return fixed_s + (flop + tail_flop) / flop_per_s + traffic_bytes / bytes_per_s


def decode_attention_s(
    sequences: Num,
    heads: Num,
    kv_heads: Num,
    head_dim: Num,
    context_tokens: Num,
    element_bytes: Num,
    bytes_per_s: Num,
    fixed_s: Num,
    split_s: Num,
    group_s: Num,
    query_s: Num,
    head_s: Num,
    reread: Num = 1.0,
    wait_s: Num = 0.0,
    units: Num = 1.0,
) -> Num:
    """Time of attention for one new token of each sequence against its cache.

        t = fixed + norm2(starts, bytes / bytes_per_s + split ln(1 + context/256) + waits)
        waits = wait min(1, sequences kv_heads / units) max(0, 1 - 128/context)

    Reading the cache, cut in pieces that are joined again, beside starting the work of so many
    sequences and heads: the root of the sum of squares. Where heads of keys fill the chip, none
    is cut, and a unit that goes from tile to tile waits for each before it reads ahead.

    Parameters
    ----------
    sequences      : new tokens, one a sequence
    context_tokens : in the cache of each
    element_bytes  : of the cache
    bytes_per_s    : what the largest caches are read at
    split_s        : of cutting and joining a sequence, each time that it is e times as long
    group_s        : to start a sequence's head of keys that several queries share, and
    query_s        : to start each of those queries
    head_s         : to start a sequence's query head that shares with none
    reread         : beyond `MOST_SHARED` queries to a head of keys every query reads it for itself,
                     mostly from the chip's cache: `reread` times as fast
    wait_s         : that going from tile to tile adds at most, to queries that share
    units          : of the chip, that work on one head of keys each

    Notes
    -----
    Source: the forms compared on 9,700 measured decode steps; Dao et al., Flash-Decoding, 2023.
    """
    group = heads / kv_heads
    alone = group > MOST_SHARED
    turns = 1.0 + AGAIN * (np.ceil(group / QUERIES_TILE) - 1.0)
    readers = np.where(alone, heads / reread, kv_heads * turns)
    read = 2.0 * sequences * readers * head_dim * context_tokens * element_bytes
    read_s = (read + 4.0 * sequences * heads * head_dim) / bytes_per_s
    read_s = read_s + split_s * np.log1p(context_tokens / SPLIT_TOKENS)
    filled = np.minimum(1.0, sequences * kv_heads / units)
    further = 1.0 - KEYS_TILE / np.maximum(context_tokens, KEYS_TILE)
    read_s = read_s + np.where(alone | (group <= 1.0), 0.0, wait_s * filled * further)
    shared_s = group_s * kv_heads + query_s * heads
    start_s = sequences * np.where(alone | (group <= 1.0), head_s * heads, shared_s)
    return fixed_s + np.hypot(start_s, read_s)
