"""The solver of large networks on small ones: the optimum, proved, whatever the instance holds."""

import time
from dataclasses import replace
from pathlib import Path

import instances
import numpy as np
import pytest

from planner.importers.iopddl import read
from planner.search.network.core import Core
from planner.search.network.dual import Dual
from planner.search.network.form import Network
from planner.search.network.lower import from_instance
from planner.search.network.presolve import presolve
from planner.search.network.run import run


def network(seed: int, folder: Path) -> tuple[Network, float]:
    raw = instances.drawn(seed)
    return from_instance(read(instances.written(raw, folder))), instances.optimum(raw)


@pytest.mark.parametrize("start", range(0, 100, 25))
def test_the_optimum_is_found_and_proved(start: int, tmp_path: Path) -> None:
    for seed in range(start, start + 25):
        net, best = network(seed, tmp_path)
        found = run(net, None, seed)
        if best == np.inf:
            assert found.status == "infeasible", seed
            continue
        assert found.status == "optimal", seed
        assert found.picks is not None
        assert net.price(found.picks) == best == found.bound, seed
        assert net.allows(found.picks)


def test_presolve_keeps_an_optimum(tmp_path: Path) -> None:
    smaller = 0
    for seed in range(150):
        net, best = network(seed, tmp_path)
        made = presolve(net)
        if made is None:
            assert best == np.inf
            continue
        small = made.network
        smaller += small.cost.size < net.cost.size
        every = np.stack(np.meshgrid(*map(np.arange, small.sizes), indexing="ij"), -1)
        least = np.inf
        for picks in every.reshape(-1, small.sizes.size):
            lifted = made.lifted(picks)
            assert small.price(picks) == net.price(lifted)
            assert bool(np.all(small.excess(picks) <= 0)) == bool(np.all(net.excess(lifted) <= 0))
            if small.allows(picks):
                least = min(least, small.price(picks))
        assert least == best, seed
    assert smaller > 50


def test_no_step_of_prices_proves_too_much(tmp_path: Path) -> None:
    closed = 0
    for seed in range(60):
        net, best = network(seed, tmp_path)
        made = presolve(net)
        if made is None or best == np.inf:
            continue
        dual = Dual(Core.of(made.network))
        dual.start(3)
        for _ in range(150):
            dual.step()
        bound = dual.true_bound()
        assert bound <= best + 1e-9 * abs(best), seed
        assert bound == pytest.approx(dual.bound, rel=1e-5, abs=1e-3)
        closed += bound >= 0.95 * best
    assert closed > 10, "a bound that is never near is no test"


def test_pieces_cost_what_the_network_says(tmp_path: Path) -> None:
    """Messages moved into tables leave the difference of any two picks as it was."""
    tried = 0
    for seed in range(150):
        raw = instances.drawn(seed, 12)
        made = presolve(from_instance(read(instances.written(raw, tmp_path))), 0)
        if made is None or not Core.of(made.network).nodes.size:
            continue
        core = Core.of(made.network)
        net, dual = core.net, Dual(core)
        dual.start(2)
        dual.step()
        up, shift = core.up(dual.price), dual.shifted()
        charged = replace(net, cost=net.priced(dual.price))
        rng = np.random.default_rng(seed)
        known = []
        for _ in range(150):
            picks = rng.integers(0, net.sizes)
            core.forest.down(up, picks)
            if net.price(picks) < np.inf:
                known.append((shift.piece(up, core.nodes, picks, 0.0).upper, charged.price(picks)))
        for upper, price in known[1:]:
            assert upper - known[0][0] == pytest.approx(price - known[0][1], abs=1e-6)
            tried += 1
    assert tried > 20


def test_the_time_limit_is_kept(tmp_path: Path) -> None:
    net, best = network(3, tmp_path)
    begun = time.monotonic()
    found = run(net, begun, 0)
    assert time.monotonic() - begun < 20.0  # of a search without end
    assert found.bound <= best
