"""The protocols of a profile's network level as the cost models take them.

Knows profiles and `costmodels.hops`; nothing of clusters or jobs.
"""

from math import inf

from costmodels.hops import PLAIN, Line, Shared, Transport
from hardware_profiles.schema import HardwareProfile, NetworkLevel, Protocol, SharedLevel

__all__ = ["transport_of"]


def transport_of(profile: HardwareProfile, level: NetworkLevel) -> Transport:
    """Return what a library makes of a level of the profile's network.

    A level without protocols is one alpha-beta line. Machines of a torus gather and reduce level
    by level (XLA); all others round one ring (NCCL, RCCL and their kin).
    """
    by_levels = any(each.kind == "torus" for each in profile.network)
    given = level.protocols
    shared = _shared(level.shared) if level.shared else None
    if given is None:
        return Transport(by_levels=by_levels, shared=shared)
    return Transport(
        rings=tuple(_line(each) for each in given.rings),
        exchanges=tuple(_line(each) for each in given.exchanges),
        switch=_line(given.switch) if given.switch else PLAIN.switch,
        own_part=given.own_part,
        own_scattered=given.own_scattered,
        own_exchanged=given.own_exchanged,
        summed=given.summed,
        by_levels=by_levels,
        pair_most=level.pair_most_bytes.value if level.pair_most_bytes else PLAIN.pair_most,
        shared=shared,
    )


def _shared(given: SharedLevel) -> Shared:
    return Shared(
        given.share.value,
        given.exchanged.value,
        given.rank_most_bytes.value if given.rank_most_bytes else inf,
        given.peer_most_bytes.value if given.peer_most_bytes else 0.0,
    )


def _line(protocol: Protocol) -> Line:
    return Line(protocol.start_s, protocol.steps, protocol.share)
