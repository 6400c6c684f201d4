"""Which link carries which axis: by hand, on machines that are known."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest

from hardware_profiles.load import load
from planner.cluster import Cluster, Level, build
from planner.cluster.choices import cluster_of
from planner.job import Hardware


def dgx(devices: int) -> Cluster:
    return build(load("dgx-h100"), devices)


def figures(cluster: Cluster, *group: tuple[float, float]) -> list[tuple[str, float, float]]:
    """Return (level, ranks, bytes/s) of a group at every level."""
    return [(h.name, float(h.ranks), float(h.bytes_per_s)) for h in cluster.span(*group)]


def reached(system: str, level: int) -> float:
    """Share of a level's nominal bandwidth that its profile says large transfers reach."""
    return load(system).network[level].efficiency.value


NVLINK = 450e9 * reached("dgx-h100", 0)
NODE_OUT = 400e9 * reached("dgx-h100", 1)


def test_levels_of_eight_devices_a_node() -> None:
    cluster = dgx(512)
    assert [(level.name, level.inside, level.devices) for level in cluster.levels] == [
        ("node", 1, 8),
        ("cluster", 8, 512),
    ]
    assert cluster.levels[0].bytes_per_s == pytest.approx(NVLINK)
    assert cluster.levels[1].bytes_per_s == pytest.approx(NODE_OUT)
    assert cluster.levels[0].in_switch
    assert (cluster.node_devices, cluster.hosts) == (8, 64)


def test_levels_that_the_devices_do_not_reach_are_not_there() -> None:
    assert [level.name for level in dgx(8).levels] == ["node"]
    assert dgx(4).levels[0].devices == dgx(4).node_devices == 4
    assert dgx(12).levels[1].devices == 12
    assert dgx(12).hosts == 2


def test_which_link_carries_which_axis() -> None:
    cluster = dgx(512)
    # tp 8 fills the node: only NVLink
    assert figures(cluster, (8, 1)) == [("node", 8, pytest.approx(NVLINK)), ("cluster", 1, ANY)]
    # dp over nodes, one rank in each: eight groups share a node's adapters
    inside, outside = figures(cluster, (64, 8))
    assert inside[:2] == ("node", 1)
    assert outside == ("cluster", 64, pytest.approx(NODE_OUT / 8))
    # dp 16 with tp 4: two ranks in a node, so four groups share them
    assert figures(cluster, (16, 4)) == [
        ("node", 2, pytest.approx(NVLINK)),
        ("cluster", 8, pytest.approx(NODE_OUT / 4)),
    ]
    # cp and dp together, around tp 4
    assert figures(cluster, (2, 4), (64, 8)) == [
        ("node", 2, pytest.approx(NVLINK)),
        ("cluster", 64, pytest.approx(NODE_OUT / 4)),
    ]


ANY = pytest.approx(NODE_OUT, rel=1.0)


def test_the_outermost_level_of_a_group() -> None:
    cluster = dgx(512)
    column = cluster.outermost((np.array([1.0, 8.0, 16.0, 2.0]), np.array([1.0, 1.0, 1.0, 8.0])))
    assert np.asarray(column).tolist() == [-1.0, 0.0, 1.0, 1.0]


def test_a_send_goes_at_the_pace_of_the_slowest_pair() -> None:
    cluster = dgx(512)
    node, wide = cluster.levels
    inside = cluster.neighbour((4.0, 1.0))
    start_s = node.transport.exchanges[0].start_s
    step_s = node.transport.rings[-1].steps * node.latency_s
    assert (float(inside[0]), float(inside[1])) == (start_s + step_s, node.bytes_per_s)
    # pipeline stages 128 apart: all eight devices of a node send at once
    across = cluster.neighbour((4.0, 128.0))
    assert float(across[0]) == start_s + wide.transport.rings[-1].steps * wide.latency_s
    assert float(across[1]) == pytest.approx(NODE_OUT / 8)
    assert cluster.neighbour((1.0, 1.0))[1] == math.inf  # no neighbour


def test_a_rack_of_72() -> None:
    cluster = build(load("gb200-nvl72"), 576)
    assert [(level.name, level.inside, level.devices) for level in cluster.levels] == [
        ("node", 1, 72),
        ("cluster", 72, 576),
    ]
    assert cluster.hosts == 144  # what fails together is four devices
    assert figures(cluster, (72, 8))[0][1] == 9  # nine groups of tp 8 in a rack
    assert figures(cluster, (72, 8))[1] == (
        "cluster",
        8,
        pytest.approx(3.6e12 * reached("gb200-nvl72", 1) / 8),
    )
    assert figures(cluster, (64, 1))[1][1] == 1  # 64 ranks stay inside


def levelled(devices: int) -> Cluster:
    """Return the contract's levels: racks of 72, 64 of them used, eight racks on a slow link."""
    hardware = Hardware.model_validate(
        {
            "system": "gb200-nvl72",
            "devices": devices,
            "levels": [
                {"name": "rack", "devices": 72, "usable": 64, "bytes_per_s": 9e11,
                 "latency_s": 2e-6},
                {"name": "site", "devices": 512, "bytes_per_s": 1.25e9, "latency_s": 2e-2},
            ],
        }
    )  # fmt: skip
    return cluster_of(hardware, load("gb200-nvl72"), devices)


def test_levels_of_the_job_are_used_as_given() -> None:
    cluster = levelled(512)
    assert cluster.levels == (
        Level("rack", "switch", 1, 64, 9e11, 2e-6, False),
        Level("site", "switch", 64, 512, 1.25e9, 2e-2, False),
    )
    assert cluster.node_devices == 64
    # dp 64 around tp 8: 8 ranks of a group in a rack; eight groups share the rack's uplink
    assert figures(cluster, (64, 8)) == [("rack", 8, 9e11), ("site", 8, 1.25e9 / 8)]
    assert figures(cluster, (8, 64))[1] == ("site", 8, 1.25e9 / 64)


def test_levels_of_the_job_shrink_to_its_devices() -> None:
    assert [(level.name, level.devices) for level in levelled(48).levels] == [("rack", 48)]
    assert [(level.name, level.devices) for level in levelled(128).levels] == [
        ("rack", 64),
        ("site", 128),
    ]


TPU = 600e9 * reached("tpu-v5p", 0)  # a v5p chip's six links, one direction


def torus(devices: int, *shape: int, system: str = "tpu-v5p") -> Cluster:
    return build(load(system), devices, slice_topology=shape)


@pytest.mark.parametrize(
    ("shape", "group", "axes"),
    [
        ((4, 8, 8), ((4, 1),), 1.0),  # the first axis whole: a ring, both directions
        ((4, 8, 8), ((8, 4),), 1.0),  # the second
        ((4, 8, 8), ((32, 1),), 2.0),  # two axes
        ((4, 8, 8), ((256, 1),), 3.0),
        ((4, 8, 8), ((64, 4),), 2.0),  # the second and the third
        ((4, 8, 8), ((2, 1),), 0.5),  # a part of an axis: a line
        ((4, 8, 8), ((8, 1),), 1.5),  # an axis and a part of the next
        ((4, 8, 8), ((2, 2),), 0.5),  # every second chip of a ring, shared with one other group
        ((4, 8, 8), ((2, 16),), 0.25),  # every fourth chip of eight, shared with three
        ((4, 8, 8), ((2, 2), (8, 4)), 1.5),
        ((4, 8, 8), ((1, 2), (8, 32)), 1.0),  # an axis of one rank decides nothing
        ((4, 8, 8), ((4, 4),), 0.5),  # half of the second
        ((4, 8, 8), ((2, 8),), 0.25),  # a line of four, ranks two apart
    ],
)
def test_links_of_a_torus(
    shape: tuple[int, ...], group: tuple[tuple[float, float], ...], axes: float
) -> None:
    (hop,) = torus(math.prod(shape), *shape).span(*group)
    assert float(hop.bytes_per_s) == pytest.approx(TPU * axes / 3)
    assert float(hop.ranks) == math.prod(degree for degree, _ in group)


@pytest.mark.parametrize("shape", [(4, 4, 8), (8, 4), (16,)])
def test_links_of_a_torus_by_counting(shape: tuple[int, ...]) -> None:
    """Load every link with the sends of all groups of one axis; the fullest sets the share.

    A rank sends one unit to its next rank and one to its previous, each the shorter way round.
    """
    chips = math.prod(shape)
    made = torus(chips, *shape, *(1,) * (3 - len(shape)))
    done = 1
    for size in shape:
        for degree, stride in [(size // k, done * k) for k in (1, 2, 4) if size // k > 1]:
            load_of: dict[tuple[int, int], float] = {}
            for place, way in itertools.product(range(size), (1, -1)):
                apart = stride // done
                hops = [(place + way * i) % size for i in range(apart)]
                for at in hops:
                    load_of[at, way] = load_of.get((at, way), 0.0) + 0.5
            full = max(load_of.values())  # of one unit sent a rank, half each way
            (hop,) = made.span((float(degree), float(stride)))
            assert float(hop.bytes_per_s) == pytest.approx(TPU / 3 / 2 / full)
        done *= size


def test_slices_are_joined_by_the_data_centre() -> None:
    cluster = torus(512, 4, 8, 8)
    assert [(level.name, level.devices, level.torus) for level in cluster.levels] == [
        ("ici", 256, (4, 8, 8)),
        ("dcn", 512, ()),
    ]
    chip = 6.25e9 * reached("tpu-v5p", 1)  # 50 Gb/s, for each of the 256 chips of a slice
    assert cluster.levels[1].bytes_per_s == pytest.approx(256 * chip)
    assert figures(cluster, (2, 256))[1] == ("dcn", 2, pytest.approx(chip))


@pytest.mark.parametrize(
    ("system", "devices", "shape"),
    [
        ("tpu-v5p", 256, (4, 8, 8)),
        ("tpu-v5p", 512, (8, 8, 8)),
        ("tpu-v5p", 8960, (16, 20, 28)),
        ("tpu-v5e", 256, (16, 16)),
        ("tpu-v5e", 32, (4, 8)),
        ("tpu-v5p", 7, (1, 1, 7)),
    ],
)
def test_a_slice_is_as_cubic_as_it_can_be(
    system: str, devices: int, shape: tuple[int, ...]
) -> None:
    assert build(load(system), devices).levels[0].torus == shape


@pytest.mark.parametrize(("ranks", "links"), [(8, 7), (4, 3), (2, 1)])
def test_a_group_uses_the_links_between_its_own_devices(ranks: int, links: int) -> None:
    # MI300X: seven links of 64 GB/s, one to each other device of the node
    profile = load("mi300x")
    link = 64e9 * profile.network[0].efficiency.value
    for stride in {1, 8 // ranks}:
        (hop, _) = build(profile, 64).span((float(ranks), float(stride)))
        assert float(hop.bytes_per_s) == pytest.approx(links * link)
    assert float(build(profile, 64).neighbour((float(ranks), 1.0))[1]) == pytest.approx(link)
    # a job of four devices has three links each
    assert build(profile, 4).levels[0].bytes_per_s == pytest.approx(3 * link)


def test_every_level_is_short_by_its_own_factor() -> None:
    profile = load("dgx-h100")
    short = {"value": 3.0, "basis": "assumed", "source": "a test"}
    node, cluster = (one.model_dump() for one in profile.network)
    leaf = {**cluster, "name": "leaf", "devices": 64, "oversubscription": short}
    made = profile.model_validate({**profile.model_dump(), "network": [node, leaf, cluster]})
    rates = [level.bytes_per_s for level in build(made, 512).levels]
    assert rates == pytest.approx([NVLINK, NODE_OUT / 3, NODE_OUT])


def test_the_graph_is_a_chain_of_levels() -> None:
    graph = dgx(512).graph()
    assert list(nx.topological_sort(graph)) == ["device", "node", "cluster"]
    assert graph.edges["node", "cluster"]["bytes_per_s"] == pytest.approx(NODE_OUT)
    assert graph.nodes["cluster"]["devices"] == 512


def test_the_price_of_a_device() -> None:
    assert dgx(8).usd_per_device_hour == load("dgx-h100").usd_per_device_hour.value
    assert build(load("dgx-h100"), 8, usd_per_device_hour=0.0).usd_per_device_hour == 0.0
