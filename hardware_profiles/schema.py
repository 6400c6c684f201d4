"""What a machine is: `HardwareProfile` and its parts, every number with its basis and source.

A profile holds facts about one accelerator, its host and its network, and the kernel and link
constants that measurements gave for it. It knows nothing of jobs, software stacks or plans.

Parts: `Protocol` and `Protocols` (how a library uses a level), `SharedLevel` (what a bus leaves to
many), `NetworkLevel` (one level of the network), `Host`, `Power`, `Reliability`,
`HardwareProfile`; and, so that one import serves, `Figure`, `Basis`, `Kernel`, `Kernels`.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hardware_profiles.figures import Basis, Factor, Figure, Frozen, Positive, Share
from hardware_profiles.kernels import Kernel, Kernels

__all__ = [
    "Basis",
    "Figure",
    "HardwareProfile",
    "Host",
    "Kernel",
    "Kernels",
    "NetworkLevel",
    "Power",
    "Reliability",
    "SharedLevel",
]


class Protocol(Frozen):
    """One alpha-beta line of a communication library at a level of the network.

    `start_s` is the time before the first step, once a collective; `steps` the latency of a step
    as a multiple of the level's `latency_s`; `share` the bandwidth as a multiple of what the
    level's `efficiency` leaves of `bytes_per_s`.
    """

    start_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    steps: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    share: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Protocols(Frozen):
    """What a communication library makes of a level: the cheapest protocol carries a message.

    `rings` gather, scatter and reduce, by rings and trees; `exchanges` carry all-to-all and
    sends; `switch` is in-switch reduction, where the level has it. `own_part` is what a rank's
    own part of a gathered buffer costs (copied, not sent) as a multiple of one that is received,
    `own_scattered` the same in a reduce-scatter (absent: as gathered), `own_exchanged` in an
    all-to-all; `summed` is what adding up a received part costs (processors add slowly; 0 where
    links are what binds). The lines of one fit hold together, so that they have one basis and one
    source.
    """

    basis: Basis
    source: Annotated[str, Field(min_length=3)]
    rings: Annotated[tuple[Protocol, ...], Field(min_length=1)]
    exchanges: Annotated[tuple[Protocol, ...], Field(min_length=1)]
    switch: Protocol | None = None
    own_part: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    own_scattered: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    own_exchanged: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    summed: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class SharedLevel(Frozen):
    """What more than two members of a bus pass beside their own links: the memory of the host.

    Parameters
    ----------
    share     : of a member's achieved bandwidth, what each gets of it while all are at it
    exchanged : of that, what all-to-all gets
    rank_most_bytes   : bytes over a link, for each rank beyond two, by which a ring keeps longer
                        to the protocols before its last; absent: the cheapest carries a message
    peer_most_bytes   : bytes to a peer that all-to-all keeps to the protocols before its last
    """

    share: Share
    exchanged: Share
    rank_most_bytes: Positive | None = None
    peer_most_bytes: Positive | None = None


class NetworkLevel(Frozen):
    """One level of the network, a domain of members joined by one fabric.

    Levels are listed inner to outer. A member of the innermost level is a device; a member of
    any other level is a whole domain of the level below.

    Parameters
    ----------
    name        : node, rack, pod, cluster, site, ici, dcn ...
    kind        : switch | mesh (all pairs wired) | torus | bus (PCIe)
    devices     : devices in one domain; None for the outermost level, which holds them all
    bytes_per_s : one member's bandwidth, one direction, all its links together (nominal)
    latency_s   : alpha, seconds per step of a collective
    efficiency  : share of bytes_per_s that large transfers reach, in (0, 1]
    protocols   : the library's alpha-beta lines, relative to these; one line where absent
    shared      : bus only: what more than two members pass beside their own links
    pair_most_bytes : bytes over a link from which the library carries what two devices reduce,
                  gather or scatter by its last protocol of rings, quicker or not; absent: never
    in_switch_reduction : the switch reduces (NVLS, SHARP): an all-reduce moves each byte once
    oversubscription    : >= 1, by how much the fabric above the members is short
    rails       : parallel planes; member k of each domain reaches only its peers on rail k at
                  full speed (1: any to any)
    torus_dims  : torus only, the number of torus axes (2 or 3); bytes_per_s is shared evenly
                  by the 2 * torus_dims links of a chip
    """

    name: str
    kind: Literal["switch", "mesh", "torus", "bus"] = "switch"
    devices: Annotated[int, Field(ge=1)] | None = None
    bytes_per_s: Positive
    latency_s: Figure
    efficiency: Share
    in_switch_reduction: bool = False
    oversubscription: Factor | None = None
    rails: Annotated[int, Field(ge=1)] = 1
    torus_dims: Annotated[int, Field(ge=1, le=3)] | None = None
    protocols: Protocols | None = None
    shared: SharedLevel | None = None
    pair_most_bytes: Positive | None = None


class Host(Frozen):
    """The machine that fails as one: its devices, the link to each, and its memory per device.

    `contention` is what each further device at work costs the others of the host, where they
    share its cores or its memory: rate(k) = rate(1) / (1 + c (k - 1)), c in [0, 1]; absent, they
    are apart. All figures of the profile are as with `busy` of its devices at work (absent: all).
    `new_memory_bytes_per_s` is how fast a device gets memory that its program did not hold before,
    where what a step works in is given back after it, as a processor's is; absent, it is kept.
    """

    devices: Annotated[int, Field(ge=1)]
    link_bytes_per_s: Positive
    memory_bytes_per_device: Figure
    contention: Figure | None = None
    busy: Annotated[int, Field(ge=1)] | None = None
    new_memory_bytes_per_s: Positive | None = None

    @model_validator(mode="after")
    def _check(self) -> "Host":
        if self.contention is not None and self.contention.value > 1:
            raise ValueError(f"contention is at most 1 (is {self.contention.value:g})")
        return self


class Power(Frozen):
    """Watts: of a device at full load, of a device idle, of the rest of the host per device.

    `overhead` is the data centre's total power over the computers' power (PUE), >= 1.
    """

    device_w: Positive
    idle_w: Figure
    host_w_per_device: Figure
    overhead: Factor


class Reliability(Frozen):
    """Failures: mean time between failures of one host, restart and replacement of one.

    `checkpoint_bytes_per_s` is what one host writes to storage; `restart_s` is from a failure
    until training runs again, reading the checkpoint not counted; `replacement_s` is the time to
    get another host when no spare is left.
    """

    host_mtbf_s: Positive
    restart_s: Figure
    replacement_s: Figure
    checkpoint_bytes_per_s: Positive


class HardwareProfile(Frozen):
    """One kind of machine: accelerator, host, network, and what they achieve.

    Parameters
    ----------
    name            : the profile's name, also the file's
    accelerator     : the chip, as its vendor names it
    vendor, family  : relatives share constants where a chip has no measurements (family: volta,
                      ampere, hopper, ada, blackwell, cdna3, cdna4, tpu, gaudi, cpu)
    peak_flop_per_s : dense peak by precision, FLOP/s
    instead         : precisions that the chip has no units for, though it has a peak of their
                      width, and the precision that software computes in there
    memory_bytes    : what a framework can allocate on an empty device
    memory_bytes_per_s : datasheet bandwidth of the device's memory
    network         : levels, inner to outer; the first is the scale-up domain (a *node*)
    usd_per_device_hour : price of one device for an hour, on demand
    """

    name: str
    description: str
    accelerator: str
    vendor: Literal["nvidia", "amd", "google", "intel", "generic"]
    family: str
    peak_flop_per_s: dict[Literal["fp32", "bf16", "fp16", "fp8", "fp4", "int8"], Positive]
    memory_bytes: Positive
    memory_bytes_per_s: Positive
    network: Annotated[tuple[NetworkLevel, ...], Field(min_length=1)]
    host: Host
    power: Power
    reliability: Reliability
    usd_per_device_hour: Figure
    kernels: Kernels
    instead: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> "HardwareProfile":
        if "bf16" not in self.peak_flop_per_s or "bf16" not in self.kernels.matmul:
            raise ValueError("peak_flop_per_s and kernels.matmul must both give bf16")
        sizes = [level.devices for level in self.network]
        if sizes[-1] is not None or None in sizes[:-1]:
            raise ValueError("every network level but the last gives devices; the last gives none")
        inner = [size for size in sizes if size is not None]
        if any(b % a for a, b in zip(inner, inner[1:], strict=False)):
            raise ValueError("each network level must hold whole domains of the level below")
        if any((level.kind == "torus") != (level.torus_dims is not None) for level in self.network):
            raise ValueError("torus_dims is for levels of kind torus, and they need it")
        return self
