"""The `workload` section of a training job.

What the optimizer stores and what a task computes is said by the cost functions, not here.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from planner.fields import Count, Positive, Precision, Section
from planner.job import Job
from planner.models.config import ModelConfig

__all__ = [
    "DocumentLengths",
    "Learning",
    "Lora",
    "Optimizer",
    "Task",
    "TrainingJob",
    "TrainingSpec",
]

Optimizer = Literal["adam", "adamw", "sgd", "adafactor", "muon", "lion"]
Task = Literal["pretrain", "sft", "lora"]
Targets = Literal["all-linear", "attention", "qkv", "mlp"]


class DocumentLengths(Section):
    """Tokens per document: mean and 99th percentile."""

    mean: Positive
    p99: Positive

    @model_validator(mode="after")
    def _ordered(self) -> "DocumentLengths":
        if self.mean > self.p99:
            raise ValueError(f"mean {self.mean:g} is more than p99 {self.p99:g}")
        return self


class Lora(Section):
    """Low-rank adapters: rank, which matrices get one, and the frozen weights' number format.

    `base_precision` None is the job's own precision.
    """

    rank: Count = 16
    targets: Targets = "all-linear"
    base_precision: (
        Literal["fp32", "fp16", "bf16", "fp8", "mxfp8", "mxfp4", "nvfp4", "int8", "int4", "nf4"]
        | None
    ) = None


class Learning(Section):
    """The statistical model that prices looser consistency than synchronous.

    `law`: `diloco` prices local updates by published laws of loss, `critical_batch` prices stale
    gradients by what noise and curvature limit, `both` does both. The critical batch is read at
    `target_loss`, by default what the loss law gives for the model, unless it is given.
    """

    law: Literal["diloco", "critical_batch", "both"] = "diloco"
    target_loss: Positive | None = None
    critical_batch_tokens: Positive | None = None


class TrainingSpec(Section):
    """One training job: model, batch, length of the run, number format, optimizer, task.

    A step is `global_batch` sequences of `sequence_length` tokens, padding included. With
    `sequence_lengths`, documents vary: packed, attention stays inside documents; otherwise each
    sequence holds one document and padding. `images_per_sequence` comes before the model's own; a
    sequence's tokens include those of its images. `task: lora` without `lora` means rank 16 on all
    linear layers.
    """

    kind: Literal["training"]
    model: ModelConfig
    sequence_length: Count = Field(description="tokens of a sequence")
    global_batch: Count = Field(description="sequences per optimizer step")
    images_per_sequence: Positive | None = Field(
        default=None, description="images in a sequence, for the model's vision tower"
    )
    tokens: Positive | None = Field(default=None, description="tokens of the whole run")
    precision: Precision = Field("bf16", description="number format of matrix products")
    optimizer: Optimizer = Field(default="adam", description="decides the optimizer state's bytes")
    task: Task = Field(
        default="pretrain", description="sft trains all weights; lora trains adapters"
    )
    sequence_lengths: DocumentLengths | None = Field(
        default=None, description="tokens per document"
    )
    packing: bool = Field(default=False, description="documents share a sequence, attention apart")
    learning: Learning | None = Field(
        default=None, description="statistical model of consistency, which is then searched"
    )
    lora: Annotated[Lora | None, Field(description="low-rank adapters, for task lora")] = None

    @property
    def adapters(self) -> Lora | None:
        """The adapters of a lora task, by default rank 16 on all linear layers; else None."""
        return (self.lora or Lora()) if self.task == "lora" else None

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingSpec":
        if self.lora is not None and self.task != "lora":
            raise ValueError(f"lora is given but task is {self.task}: write task: lora")
        vision = self.model.vision
        if vision is None and self.images_per_sequence is not None:
            raise ValueError("images_per_sequence is given, but the model has no vision tower")
        if vision and vision.images_per_sequence * vision.image_tokens > self.sequence_length:
            raise ValueError(
                f"{vision.images_per_sequence:g} images of {vision.image_tokens:g} tokens do not"
                f" fit in a sequence of {self.sequence_length}: give images_per_sequence"
            )
        lengths = self.sequence_lengths
        if lengths is not None and lengths.mean > self.sequence_length:
            raise ValueError(
                f"sequence_lengths.mean {lengths.mean:g} is more than"
                f" sequence_length {self.sequence_length}"
            )
        return self


TrainingJob = Job[TrainingSpec]
