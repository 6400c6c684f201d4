"""Collectives under the alpha-beta model, by algorithm, over the levels of a network.

A group of ranks is described by its `Span`: for each level of the network that it crosses, how
many members take part, the latency of a step and the bandwidth that one rank's share of the
level gives. Algorithms are priced side by side; a library picks the cheapest, and so do we.
Knows nothing of what is being communicated, or why.

Parts: `Hop`, `Span`, the ring, tree, hierarchical and in-switch prices, `all_reduce_s`,
`all_gather_s`, `reduce_scatter_s`, `all_to_all_s`, `point_to_point_s`, `all_reduce_choice`,
`all_gather_choice`.
"""

from dataclasses import dataclass

import numpy as np

from costmodels.units import Num

__all__ = [
    "ALGORITHMS",
    "Hop",
    "Span",
    "all_gather_choice",
    "all_gather_s",
    "all_reduce_choice",
    "all_reduce_s",
    "all_to_all_s",
    "point_to_point_s",
    "reduce_scatter_s",
    "usable",
]

ALGORITHMS = ("ring", "tree", "hierarchical", "in-switch")
IN_SWITCH_LATENCY_S = 25e-6
"""Latency of an in-switch reduction (NCCL's constant for NVLS, src/graph/tuning.cc)."""
IN_SWITCH_SHARE = 0.85
"""Share of the links that it reaches (NCCL's constant for Hopper; 0.74 for Blackwell)."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One level of the network as a group of ranks sees it.

    Parameters
    ----------
    ranks       : members of the group at this level (1: the group does not cross it)
    alpha_s     : seconds per step
    bytes_per_s : what a ring of the group gets through this level, one direction: a device's
                  bandwidth innermost; further out a domain's, shared by the groups in it
    in_switch   : 1 where the switch reduces, else 0
    """

    name: str
    ranks: Num
    alpha_s: Num
    bytes_per_s: Num
    in_switch: bool = False


Span = tuple[Hop, ...]


def _size(span: Span) -> Num:
    ranks: Num = 1.0
    for hop in span:
        ranks = ranks * hop.ranks
    return ranks


def _slowest(span: Span) -> Num:
    """Bandwidth of the narrowest level that the group crosses."""
    slowest: Num = np.inf
    for hop in span:
        slowest = np.minimum(slowest, np.where(hop.ranks > 1, hop.bytes_per_s, np.inf))
    return slowest


def _ring_steps_s(span: Span) -> Num:
    """Latency of one turn of a flat ring: n - 1 steps, one of them leaving each domain."""
    total: Num = 0.0
    outer = _size(span)
    for hop in span:  # inner to outer: domains of this level still to visit
        outer = outer / hop.ranks
        total = total + hop.alpha_s * (hop.ranks - 1.0) * outer
    return total


def _ring_pass_s(total_bytes: Num, span: Span) -> Num:
    """All-gather or reduce-scatter in a flat ring: `(n - 1) alpha + (n - 1)/n V / beta`."""
    n = _size(span)
    return _ring_steps_s(span) + (n - 1.0) / n * total_bytes / _slowest(span)


def _hierarchical_pass_s(total_bytes: Num, span: Span) -> Num:
    """All-gather or reduce-scatter level by level.

        sum over levels of (r - 1) alpha  +  max over levels of (r - 1)/r V / beta

    An outer level gathers one rank's share of the levels inside it, and all ranks of a domain
    fill its link together, so what crosses a domain's link is (r - 1)/r of V at every level. In
    large messages the levels work beside each other, chunk after chunk: the slowest paces them.
    """
    latency: Num = 0.0
    slowest: Num = 0.0
    for hop in span:
        crossing_bytes = (hop.ranks - 1.0) / hop.ranks * total_bytes
        latency = latency + (hop.ranks - 1.0) * hop.alpha_s
        slowest = np.maximum(slowest, crossing_bytes / hop.bytes_per_s)
    return latency + slowest


def _pass_s(total_bytes: Num, span: Span) -> Num:
    return np.minimum(_ring_pass_s(total_bytes, span), _hierarchical_pass_s(total_bytes, span))


def all_gather_s(gathered_bytes: Num, span: Span) -> Num:
    """Time to give every rank the `gathered_bytes` of which each holds an n-th.

        min(ring, hierarchical);   ring = (n - 1) alpha + (n - 1)/n V / beta

    Source: Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005; hierarchical as in NCCL and MPI.
    """
    return np.where(_size(span) > 1, _pass_s(gathered_bytes, span), 0.0)


def reduce_scatter_s(input_bytes: Num, span: Span) -> Num:
    """Time to sum `input_bytes` over the ranks and leave each an n-th; costs as `all_gather_s`."""
    return all_gather_s(input_bytes, span)


def _all_reduce_each(message_bytes: Num, span: Span) -> list[Num]:
    n = _size(span)
    ring = 2.0 * _ring_pass_s(message_bytes, span)
    inner, outer = span[0], span[1:]
    depth = inner.alpha_s * (inner.ranks - 1.0)  # a chain inside the domain, a tree of domains
    for hop in outer:
        depth = depth + hop.alpha_s * np.ceil(np.log2(np.maximum(hop.ranks, 1.0)))
    tree = 2.0 * depth + 2.0 * message_bytes / (0.92 * _slowest(span))
    hierarchical = 2.0 * _hierarchical_pass_s(message_bytes, span)
    if inner.in_switch:
        moved_bytes = message_bytes * (1.0 + 1.0 / inner.ranks)
        one_level = IN_SWITCH_LATENCY_S + moved_bytes / (IN_SWITCH_SHARE * inner.bytes_per_s)
        beyond = 2.0 * _hierarchical_pass_s(message_bytes, outer) if outer else 0.0
        in_switch = np.where(inner.ranks > 2, one_level + beyond, np.inf)
    else:
        in_switch = np.inf * np.ones_like(ring)
    return [np.where(n > 1, cost, 0.0) for cost in (ring, tree, hierarchical, in_switch)]


def all_reduce_s(message_bytes: Num, span: Span, algorithm: str = "auto") -> Num:
    """Time of an all-reduce of `message_bytes` per rank: the cheapest algorithm's, or the named.

        ring          2 (n - 1) alpha + 2 (n - 1)/n V / beta
        tree          2 ((r - 1) alpha_in + alpha_out log2 domains) + 2 V / (0.92 beta)
        hierarchical  reduce-scatter inwards, all-gather outwards, level by level
        in-switch     25 us + (1 + 1/r) V / (0.85 beta) in the domain, hierarchical beyond

    Notes
    -----
    Ignores the reduction's arithmetic. Where a group cannot use the named algorithm (no switch
    that reduces, two ranks), the cheapest of the others is priced, as a library falls back.
    Source: Thakur et al. 2005; Sanders, Speck, Traeff, Parallel Computing 35(12), 2009 (two
    trees); the NCCL tuning model (0.92; the tree is a chain of r ranks inside a domain;
    in-switch reduction moves each byte once).
    """
    each = _all_reduce_each(message_bytes, span)
    best = each[0]
    for cost in each[1:]:
        best = np.minimum(best, cost)
    if algorithm == "auto":
        return best
    named = each[ALGORITHMS.index(algorithm)]
    return np.where(np.isfinite(named), named, best)


def usable(span: Span, algorithm: str) -> bool:
    """Tell whether a group can reduce by an algorithm (for one plan, not for columns)."""
    return bool(np.isfinite(_all_reduce_each(1.0, span)[ALGORITHMS.index(algorithm)]).all())


def all_reduce_choice(message_bytes: float, span: Span, algorithm: str = "auto") -> str:
    """Name of the algorithm that `all_reduce_s` priced (for one plan, not for columns)."""
    each = [float(np.max(cost)) for cost in _all_reduce_each(message_bytes, span)]
    if algorithm != "auto" and np.isfinite(each[ALGORITHMS.index(algorithm)]):
        return algorithm
    return ALGORITHMS[int(np.argmin(each))]


def all_gather_choice(gathered_bytes: float, span: Span) -> str:
    """Name of the algorithm that `all_gather_s` priced (for one plan, not for columns)."""
    ring, levels = _ring_pass_s(gathered_bytes, span), _hierarchical_pass_s(gathered_bytes, span)
    return "ring" if float(np.max(ring)) <= float(np.max(levels)) else "hierarchical"


def all_to_all_s(sent_bytes: Num, span: Span, copies: Num = 1.0) -> Num:
    """Time for each rank to send `sent_bytes` in equal parts to all ranks of the group.

        max over levels of  alpha (r - 1) + V_level / beta_level

    where V_level, per rank, is the share that leaves the domains inside the level.

    Parameters
    ----------
    sent_bytes : per rank, all destinations together, itself included
    copies     : k destinations drawn per token; tokens that go to one domain several times cross
                 its link once, so V shrinks to D (1 - (1 - 1/D)^k) / k of itself, D domains

    Notes
    -----
    Levels run beside each other (pairwise exchange), so the slowest decides.
    Source: alpha-beta model of pairwise exchange, Thakur et al. 2005; DeepSeek-V3, 2024, section
    3.2 (one crossing per node for each token).
    """
    n = _size(span)
    slowest: Num = 0.0
    inside: Num = 1.0
    for depth, hop in enumerate(span):
        leaving = 1.0 - inside / n
        domains = n / inside
        once: Num = 1.0
        if depth > 0:
            distinct = domains * (1.0 - (1.0 - 1.0 / domains) ** copies)
            once = np.minimum(1.0, distinct / copies)
        crossing = leaving * once * inside  # `inside` ranks share the domain's link
        cost = hop.alpha_s * (hop.ranks - 1.0) + sent_bytes * crossing / hop.bytes_per_s
        slowest = np.maximum(slowest, np.where(hop.ranks > 1, cost, 0.0))
        inside = inside * hop.ranks
    return slowest


def point_to_point_s(message_bytes: Num, alpha_s: Num, bytes_per_s: Num) -> Num:
    """Time to send a message to one neighbour: `alpha + n / beta`."""
    return alpha_s + message_bytes / bytes_per_s
