"""The `workload` section of a training job whose model is a JAX function.

It counts samples where other jobs count tokens: a sample is one entry along the inputs' leading
dim. Runs no code of the user; `planner.importers.jaxpr` does.
"""

from typing import Literal

from pydantic import Field

from planner.errors import SpecError
from planner.fields import Count, Name, Positive, Precision, Section
from planner.job import Job
from planner.workloads.training.spec import Optimizer

__all__ = ["FunctionJob", "FunctionSpec", "JaxInput", "JaxModel", "check"]

PINS = ("sharding", "microbatches", "micro_batch", "dp")
"""Keys of a strategy that mean something where every operator has a sharding of its own."""


class JaxInput(Section):
    """Shape of one argument, and its number format; None: floats, or whole numbers, what traces."""

    shape: tuple[Count, ...]
    dtype: Name | None = None


class JaxModel(Section):
    """A loss as a function of parameters and inputs, with the shapes of the inputs.

    `init(key)` beside it makes the parameters. `folder`: where the module lies, filled in where
    it was found beside the job.
    """

    jax: Name = Field(description="package.module:loss", examples=["package.module:loss"])
    inputs: dict[Name, tuple[Count, ...] | JaxInput] = Field(
        min_length=1, description="example shape of every argument after the parameters"
    )
    folder: str | None = Field(default=None, description="folder that the module is in")


class FunctionSpec(Section):
    """One training job of any differentiable function; `global_batch` and `tokens` count samples.

    The inputs' leading dim is the batch: the example's own size means nothing. Floats of the
    parameters and inputs are taken in the job's precision, with states as the stack keeps them.
    """

    kind: Literal["training"]
    model: JaxModel
    global_batch: Count = Field(description="samples per optimizer step")
    tokens: Positive | None = Field(default=None, description="samples of the whole run")
    precision: Precision = Field("bf16", description="number format of floats")
    optimizer: Optimizer = Field(default="adam", description="decides the optimizer state's bytes")
    sequence_length: Literal[1] = Field(default=1, description="a sample counts as one token")


FunctionJob = Job[FunctionSpec]


def check(job: FunctionJob) -> None:
    """Raise SpecError for what a job of a function cannot pin or ask for."""
    given = job.strategy.model_dump(exclude_none=True)
    for key in given:
        if key not in PINS and given[key] != "synchronous":
            allowed = ", ".join(PINS)
            raise SpecError(
                f"means nothing for a JAX function, each operator has its own sharding; allowed:"
                f" {allowed}",
                key=f"strategy.{key}",
            )
    if job.workload.precision not in ("fp32", "fp16", "bf16"):
        raise SpecError("a JAX function is planned in fp32, fp16 or bf16", key="workload.precision")
    if job.objective.metric not in ("step_time", "throughput"):
        raise SpecError(
            f"got {job.objective.metric}; a JAX function is planned for step_time or throughput",
            key="objective.metric",
        )
    if job.hardware.pools is not None:
        raise SpecError("a JAX function is planned on one system", key="hardware.pools")
    if job.hardware.fixed_devices is None or len(job.hardware.systems) != 1:
        raise SpecError(
            "a JAX function is planned on one system and one number of devices",
            key="hardware.devices",
        )
    limits = job.constraints
    for key in ("deadline_s", "max_cost_usd", "min_tokens_per_s"):
        if getattr(limits, key) is not None:
            raise SpecError("is not judged for a JAX function yet", key=f"constraints.{key}")
