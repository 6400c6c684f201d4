"""What kernels reach on one device in training: rates and fixed times, resolved from a profile.

Every rate is what the kernel reaches alone (`Kernels`) times what training reaches of that
(`Training`). Knows a profile and a precision; no model, no mesh.

Parts: `Rates`, `AttentionRates`, `rates_of`, `rates_alone`.
"""

from dataclasses import dataclass, replace

from costmodels.attention import QUERY_ROWS, REFERENCE_WIDTH, attention_s, head_width
from costmodels.products import Product
from costmodels.units import Num
from hardware_profiles.kernels import Training
from hardware_profiles.load import matmul_kernel, matmul_training, peak_flop_per_s
from hardware_profiles.schema import HardwareProfile, Kernel, Kernels
from planner.cluster import Cluster

__all__ = ["AttentionRates", "Rates", "rates_alone", "rates_of"]


@dataclass(frozen=True, slots=True)
class AttentionRates:
    """What fused attention reaches, of heads 128 wide.

    Parameters
    ----------
    bytes_per_s : of queries, keys, values and results; see `attention_s`
    tail_rows   : queries of one head whose keys a device computes while it is not full
    """

    flop_per_s: float
    bytes_per_s: float
    fixed_s: float
    softmax_dim: float
    tail_rows: float

    def seconds(
        self, flop: Num, traffic_bytes: Num, row_flop: float, head_dim: float, steps: Num = 1.0
    ) -> Num:
        """Time of `flop` and `traffic_bytes` in `steps` kernels, heads `head_dim` wide."""
        width = head_width(head_dim or REFERENCE_WIDTH, self.softmax_dim)
        return attention_s(
            flop,
            traffic_bytes,
            self.flop_per_s / width,
            self.bytes_per_s / width,
            self.fixed_s * steps,
            self.tail_rows * row_flop,
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """Achieved rates of one device: what large kernels reach, at the job's precision and clock.

    Parameters
    ----------
    matmul, bf16_matmul : products at the job's precision, and those that run in 16 bits beside it
    grouped             : products of experts, at the job's precision
    """

    matmul: Product
    bf16_matmul: Product
    grouped: Product
    attention_forward: AttentionRates
    attention_backward: AttentionRates
    memory_bytes_per_s: float
    memory_fixed_s: float
    host_bytes_per_s: float


def rates_of(
    cluster: Cluster, precision: str, efficiency: float | None, attention_kernels: str = "chip"
) -> Rates:
    """Return what kernels reach on the cluster's device in training (`Kernels` x `Training`).

    Parameters
    ----------
    precision  : number format of layer products; attention and logits run in 16 bits beside it
    efficiency : replaces the chip's share of peak in matrix products (`software.gemm_efficiency`)
    attention_kernels : `chip`, `flash-2` or `flash-1`, see `Stack`
    """
    return _rates(cluster.profile, precision, efficiency, attention_kernels)


def rates_alone(profile: HardwareProfile, precision: str) -> Rates:
    """Return what kernels reach alone, as benchmarks of single kernels and serving see them."""
    kernels = profile.kernels.model_copy(update={"training": Training()})
    return _rates(profile.model_copy(update={"kernels": kernels}), precision, None)


def _rates(
    profile: HardwareProfile,
    precision: str,
    efficiency: float | None,
    attention_kernels: str = "chip",
) -> Rates:
    kernels = profile.kernels
    training = kernels.training
    memory_bytes_per_s = (
        profile.memory_bytes_per_s.value * kernels.memory.efficiency.value * training.memory.value
    )
    wide = "fp32" if precision == "fp32" else "bf16" if precision != "fp16" else "fp16"
    matmul = _product(profile, precision, efficiency, memory_bytes_per_s)
    grouped = kernels.grouped_matmul.efficiency.value * training.grouped_matmul.value
    peak = peak_flop_per_s(profile, wide).value * training.attention.value
    older = {"flash-2": training.flash_2, "flash-1": training.flash_1}
    if attention_kernels in older:
        peak *= older[attention_kernels].value
    return Rates(
        matmul=matmul,
        bf16_matmul=_product(profile, wide, efficiency, memory_bytes_per_s),
        grouped=replace(
            matmul,
            flop_per_s=matmul.flop_per_s * grouped,
            fixed_s=kernels.grouped_matmul.fixed_s.value,
        ),
        attention_forward=_attention(kernels, kernels.attention_forward, peak, memory_bytes_per_s),
        attention_backward=_attention(
            kernels, kernels.attention_backward, peak, memory_bytes_per_s
        ),
        memory_bytes_per_s=memory_bytes_per_s,
        memory_fixed_s=kernels.memory.fixed_s.value,
        host_bytes_per_s=profile.host.link_bytes_per_s.value,
    )


def _product(
    profile: HardwareProfile, precision: str, efficiency: float | None, memory_bytes_per_s: float
) -> Product:
    kernels, kernel = profile.kernels, matmul_kernel(profile, precision)
    share = kernel.efficiency.value * matmul_training(profile, precision)
    share = share if efficiency is None else efficiency
    return Product(
        flop_per_s=peak_flop_per_s(profile, precision).value * share,
        bytes_per_s=memory_bytes_per_s,
        fixed_s=kernel.fixed_s.value,
        fill=kernel.fill.value,
        cast_bytes=kernel.cast_bytes.value,
        tile_m=kernels.tile_m,
        tile_n=kernels.tile_n,
        units=kernels.units,
        tail=kernels.tail.value,
        growth=kernels.growth.value,
        split=kernels.split.value,
    )


def _attention(
    kernels: Kernels, kernel: Kernel, peak_flop_per_s: float, memory_bytes_per_s: float
) -> AttentionRates:
    """Rates of one direction; what both share is given with the forward one."""
    shared = kernels.attention_forward
    return AttentionRates(
        flop_per_s=peak_flop_per_s * kernel.efficiency.value,
        bytes_per_s=memory_bytes_per_s / shared.passes.value,
        fixed_s=kernel.fixed_s.value,
        softmax_dim=shared.softmax_dim.value,
        tail_rows=shared.tail.value * QUERY_ROWS * kernels.units,
    )
