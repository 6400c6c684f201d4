"""What the measurements contradict themselves in, as the accuracy page says it."""

import pytest
from collective_noise import another_run, engines, spreads
from measured_again import CONTRADICTED, TABLES, Layers, layer_seconds, recurring


@pytest.fixture(scope="module")
def layers() -> Layers:
    return layer_seconds()


def test_few_layers_give_the_step_times_back(layers: Layers) -> None:
    assert len(layers.seconds) == 32
    assert layers.residual < 0.01


@pytest.mark.parametrize("cell", CONTRADICTED)
def test_a_layer_with_more_work_takes_less_time(layers: Layers, cell: tuple[int, int, int]) -> None:
    hidden, tp, batch = cell
    mine = layers.seconds[cell]
    alike = [(h, b, s) for (h, t, b), s in layers.seconds.items() if t == tp]
    more = [s for h, b, s in alike if h >= hidden and b >= batch and (h, b) != (hidden, batch)]
    less = [s for h, b, s in alike if h <= hidden and b <= batch and (h, b) != (hidden, batch)]
    assert min(more, default=mine) < 0.96 * mine or max(less, default=mine) > 1.04 * mine


def test_releases_of_one_configuration_differ() -> None:
    spreads = [each.spread for each in recurring()]
    assert len(spreads) == 27
    assert max(spreads) > 0.5


@pytest.mark.parametrize("table", TABLES)
def test_tables_are_markdown(table: str) -> None:
    lines = TABLES[table]().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) > 3


def test_collectives_of_eight_l40s_repeat_worst() -> None:
    found = {(each.system, each.devices): each for each in spreads()}
    mine = found.pop(("l40s", 8))
    assert mine.large > 2.0 * max(each.large for each in found.values())
    assert mine.bend > max(each.bend for each in found.values())


def test_another_run_of_l40s_is_far_off_with_eight_and_near_with_two() -> None:
    assert another_run() == pytest.approx({2: 0.038, 8: 0.195}, abs=0.0005)


def test_engines_exchange_experts_tokens_at_unlike_speed() -> None:
    found = engines()
    assert len(found) == 6
    assert all(1.0 < each.middle <= each.most and each.shapes == 7 for each in found)
    assert min(each.middle for each in found) > 1.3


@pytest.mark.parametrize("hidden", [1024, 2048])
def test_heads_of_one_rank_cost_far_more_than_twice_those_of_two(
    layers: Layers, hidden: int
) -> None:
    """Whatever a head costs, two ranks halve it: more than three times is another kernel."""
    grown = {tp: layers.ends[hidden, tp, 8] - layers.ends[hidden, tp, 4] for tp in (1, 2)}
    assert grown[1] > 3.0 * grown[2]
