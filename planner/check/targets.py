"""Chips to compile for that are not here: names, topologies, and what must be installed.

JAX compiles for a chip that is described to it. For TPUs libtpu describes itself; for GPUs the
CUDA plugin takes a description of the card, which stands here. The latter goes through functions
that JAX keeps to itself: they are known to be there in the versions that the extra pins.

Parts: `Target`, `parse`, `devices_of`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import SpecError
from planner.jax_here import first_line, need_module
from planner.nearest import hint

if TYPE_CHECKING:
    import jax

__all__ = ["GPUS", "TPUS", "Target", "devices_of", "parse"]

TPUS: Mapping[str, tuple[str, int]] = {
    "tpu-v4": ("v4", 3),
    "tpu-v5e": ("v5e", 2),
    "tpu-v5p": ("v5p", 3),
    "tpu-v6e": ("v6e", 2),
    "tpu-v7x": ("tpu7x", 3),
}
"""By name of the shipped profile: what libtpu calls the chip, and dims of its torus."""
_CARD = (
    "gpu_device_info {{ threads_per_block_limit: 1024 threads_per_warp: 32"
    " shared_memory_per_block: 49152 shared_memory_per_core: 233472"
    " threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128"
    " block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535"
    " memory_bandwidth: {bandwidth} l2_cache_size: 52428800 clock_rate_ghz: 1.98"
    " device_memory_size: {memory} shared_memory_per_block_optin: 232448"
    " cuda_compute_capability {{ major: 9 }} registers_per_core_limit: 65536"
    ' registers_per_block_limit: 65536 }} platform_name: "CUDA"'
    ' dnn_version_info {{ major: 9 minor: 10 }} device_description_str: "{name}"'
)
GPUS: Mapping[str, str] = {
    "gpu-h100": _CARD.format(
        bandwidth=3352320000000, memory=84978434048, name="NVIDIA H100 80GB HBM3"
    ),
    "gpu-h200": _CARD.format(bandwidth=4814400000000, memory=150110011392, name="NVIDIA H200"),
}
"""By name: the card as XLA describes it. Limits are those of compute capability 9.0 (CUDA
programming guide, table of technical specifications); cores, memory and bandwidth from the data
sheets. They choose tilings and what fits, not what is sent."""
SYSTEMS: Mapping[str, str] = {"gpu-h100": "dgx-h100", "gpu-h200": "dgx-h200"}
_ALIASES = {"tpu-tpu7x": "tpu-v7x", "tpu-7x": "tpu-v7x"}
_SHAPE = re.compile(r"[1-9]\d*(x[1-9]\d*)*")


@dataclass(frozen=True, slots=True)
class Target:
    """A chip and how many: `tpu-v5p:4x4x4` is a torus, `gpu-h100:1x1x8` slices, hosts, cards.

    Parameters
    ----------
    chip   : key of TPUS or GPUS
    shape  : devices along each dim
    system : profile that prices it
    """

    chip: str
    shape: tuple[int, ...]
    system: str

    @property
    def devices(self) -> int:
        """Devices in all."""
        return prod(self.shape)


def parse(text: str) -> Target:
    """Read `tpu-v5p:4x4x4`, `v5e:4x4`, `gpu-h100:1x1x8`; SpecError where it is no such name."""
    name, _, shape = text.partition(":")
    name = name if name.startswith(("tpu-", "gpu-")) else f"tpu-{name}"
    name = _ALIASES.get(name, name)
    known = (*TPUS, *GPUS)
    if name not in known:
        raise SpecError(
            f"no target {text!r}{hint(name, known)}; chips: {', '.join(known)}",
            key="--compile-for",
        )
    dims = TPUS[name][1] if name in TPUS else 3
    if not _SHAPE.fullmatch(shape) or shape.count("x") + 1 != dims:
        example = "x".join(["4"] * dims) if name in TPUS else "1x1x8"
        raise SpecError(
            f"{text!r} needs {dims} sizes, such as {name}:{example}", key="--compile-for"
        )
    return Target(name, tuple(int(size) for size in shape.split("x")), SYSTEMS.get(name, name))


def devices_of(target: Target) -> "Sequence[jax.Device]":
    """Devices of a target, such as one can compile for and not run on.

    Raises
    ------
    SpecError : what must be installed is not; or it refuses the topology
    """
    _need("jax", "sixfold[jax]")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    found = _tpu(target) if target.chip in TPUS else _gpu(target)
    if len(found) != target.devices:
        raise SpecError(
            f"{target.chip} makes {len(found)} devices of {'x'.join(map(str, target.shape))},"
            f" not {target.devices}: of such a chip each core is a device",
            key="--compile-for",
        )
    return found


def _need(module: str, extra: str) -> None:
    need_module(module, extra, "a step is compiled for this chip", "--compile-for")


def _tpu(target: Target) -> "Sequence[jax.Device]":
    _need("libtpu", "sixfold[aot-tpu]")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # no machine around to ask what it is
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    from jax.experimental import topologies

    name = f"{TPUS[target.chip][0]}:{'x'.join(map(str, target.shape))}"
    try:
        found: Sequence[jax.Device] = topologies.get_topology_desc(
            platform="tpu", topology_name=name
        ).devices
    except Exception as error:
        raise _refused(target, error) from None
    return found


def _gpu(target: Target) -> "Sequence[jax.Device]":
    _need("jax_plugins.xla_cuda13", "sixfold[aot-gpu]")
    described: dict[str, Any] = {
        "target_config": GPUS[target.chip],
        "topology": "x".join(map(str, target.shape)),
    }
    import jax
    from jax.experimental import topologies

    jax.local_devices(backend="cpu")  # JAX itself looks for plugins, and may load this one
    plugin = import_module("jax_plugins.xla_cuda13")
    library = Path(str(plugin.__file__)).parent / "xla_cuda_plugin.so"
    try:
        # no public way to a plugin without its hardware
        client = import_module("jax._src.lib").xla_client._xla
        if not client.pjrt_plugin_loaded("cuda"):
            client.load_pjrt_plugin("cuda", str(library), None)
        client.initialize_pjrt_plugin("cuda")
        made = client.get_default_c_api_topology("cuda", "", described)
        return topologies.TopologyDescription(made._make_compile_only_devices()).devices
    except (AttributeError, ImportError):
        raise SpecError(
            f"JAX {jax.__version__} does not let one compile for an absent GPU the way that is"
            " known here: pip install 'sixfold[aot-gpu]'",
            key="--compile-for",
        ) from None
    except Exception as error:
        raise _refused(target, error) from None


def _refused(target: Target, error: Exception) -> SpecError:
    shape = "x".join(map(str, target.shape))
    return SpecError(
        f"no topology {shape} of {target.chip}: {first_line(error)}", key="--compile-for"
    )
