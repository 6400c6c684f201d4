"""What a pool of devices knows of the pools beside it, for its price in a job over several.

Parts: `Beside` (the others, and the link to them), `Stretch` (its place in a pipeline over all).
"""

from dataclasses import dataclass

__all__ = ["Beside", "Stretch"]


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside a pool in a job over several.

    Parameters
    ----------
    copies      : pools that each hold whole copies of the model, this one counted; gradients are
                  reduced across them
    hosts       : hosts of the other pools
    bytes_per_s : what one pool sends to the others, all its devices together; `latency_s` of it
    device_bytes_per_s : what one device sends to another pool
    """

    copies: float
    hosts: float
    bytes_per_s: float
    latency_s: float
    device_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """The stages of a pipeline that one pool holds, where the pipeline crosses pools.

    Parameters
    ----------
    before, stages, total : stages before it, of it, and of the whole pipeline
    layers_before : decoder layers before it
    """

    before: int
    stages: int
    total: int
    layers_before: int
