"""Candidates priced per second on one core, and that their prices are right.

Printed with `-s`, and in the `extra_info` of `--benchmark-json`: `priced_per_s`, rows of a whole
space through `training.cost`, seconds and bytes of every row; `searched_per_s`, candidates that
`searched.search` lists, and either drops by memory or prices. Both by processor seconds; this
arithmetic uses one core. Nothing fails for being slow.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import planner
from planner import spec
from planner.cluster.choices import clusters
from planner.planning.homogeneous import search
from planner.search.columns import CHUNK
from planner.workloads import training

EXAMPLES = Path(planner.__file__).parent / "examples"
JOBS = ("llama3-405b-16384-h100", "llama3-70b-1024-h100", "deepseek-v3-2048-h100")


def _per_second(count: int, work: Callable[[], object]) -> float:
    """Rate of the work by processor seconds, best of three: other processes do not slow it."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return count / min(spent)


@pytest.mark.parametrize("name", JOBS)
def test_price_every_candidate(benchmark: BenchmarkFixture, name: str) -> None:
    """Price every row of a job's space; twenty of them are priced alone as well."""
    job = spec.load(EXAMPLES / f"{name}.yaml")
    (cluster,) = clusters(job.hardware)
    context = training.make(job, cluster)
    dims, _ = training.candidates(job, context)

    def price() -> tuple[np.ndarray, np.ndarray]:
        parts = [dims.part(at, at + CHUNK) for at in range(0, len(dims), CHUNK)]
        priced = [training.cost(context, part) for part in parts]
        return (
            np.concatenate([np.asarray(p.total_s) for p in priced]),
            np.concatenate([np.asarray(p.total_bytes) for p in priced]),
        )

    step_s, used_bytes = benchmark.pedantic(  # type: ignore[no-untyped-call]
        price, rounds=3, warmup_rounds=1
    )
    assert len(step_s) == len(used_bytes) == len(dims)
    for row in np.random.default_rng(0).choice(len(dims), 20, replace=False):
        alone = training.cost(context, dims.take(np.array([row]))).at(0)
        assert float(alone.total_s) == pytest.approx(step_s[row], rel=1e-12)
        assert float(alone.total_bytes) == pytest.approx(used_bytes[row], rel=1e-12)
    if benchmark.enabled:
        rate = _per_second(len(dims), price)
        benchmark.extra_info |= {"candidates": len(dims), "priced_per_s": rate}
        print(f"\n{name}: {len(dims):,} candidates, {rate:,.0f} priced per second")


@pytest.mark.parametrize("name", JOBS[:2])
def test_search(benchmark: BenchmarkFixture, name: str) -> None:
    """Search a job's space; the best that is found is the best of all that fit."""
    job = spec.load(EXAMPLES / f"{name}.yaml")
    (found,) = benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: search(job), rounds=3, warmup_rounds=1
    )
    price = training.cost(found.context, found.dims)
    fits = np.asarray(price.total_bytes) <= found.context.memory_limit_bytes
    assert found.objective == np.min(np.asarray(price.total_s)[fits])
    assert 0 < found.found.priced <= np.count_nonzero(fits)  # a bound closes the others
    assert found.found.priced + found.found.dropped <= len(found.dims)
    if benchmark.enabled:
        rate = _per_second(len(found.dims), lambda: search(job))
        benchmark.extra_info |= {"candidates": len(found.dims), "searched_per_s": rate}
        print(f"\n{name}: {len(found.dims):,} candidates, {rate:,.0f} searched per second")
