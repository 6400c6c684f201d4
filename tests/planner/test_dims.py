"""Columns of plans: rows, parts, joins, and the shards of the contract."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.dims import CODES, CP_COMM, OFFLOAD, RECOMPUTE, ParallelDims

ONES = dict.fromkeys(ParallelDims.names(), 1.0)


def dims_of(**columns: object) -> ParallelDims:
    return ParallelDims.from_columns({**ONES, **columns})  # type: ignore[arg-type]


THREE = dims_of(tp=[1, 2, 4], dp=[8.0, 4.0, 2.0])


def test_numbers_are_broadcast_to_one_length_of_float64() -> None:
    assert len(THREE) == 3
    for name in ParallelDims.names():
        column = getattr(THREE, name)
        assert column.dtype == np.float64
        assert column.shape == (3,)
        assert column.flags.c_contiguous
    assert len(dims_of()) == 1


def test_columns_of_unlike_length_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        dims_of(tp=[1, 2], dp=[1, 2, 3])


def test_a_missing_column_is_told_and_lean_may_be_absent() -> None:
    with pytest.raises(KeyError, match="zero_group"):
        ParallelDims.from_columns({k: v for k, v in ONES.items() if k != "zero_group"})
    without = ParallelDims.from_columns({k: v for k, v in ONES.items() if k != "lean"})
    assert without.lean.tolist() == [0.0]


def test_rows_by_mask_by_index_and_by_range() -> None:
    assert THREE.take(np.array([True, False, True])).tp.tolist() == [1, 4]
    assert THREE.take(np.array([2, 0, 2])).tp.tolist() == [4, 1, 4]
    assert THREE.take(np.zeros(0, np.intp)).tp.tolist() == []
    assert THREE.part(1, 3).dp.tolist() == [4, 2]


def test_a_row_and_back() -> None:
    row = THREE.row(1)
    assert list(row) == list(ParallelDims.names())
    assert (row["tp"], row["dp"]) == (2.0, 4.0)
    assert ParallelDims.from_columns(row).row(0) == row


def test_joined_keeps_the_order() -> None:
    both = THREE.joined(dims_of(tp=16))
    assert both.tp.tolist() == [1, 2, 4, 16]
    assert both.part(0, 3).row(2) == THREE.row(2)


def test_the_contracts_case() -> None:
    # 512 devices: dense in 16 shards and 4 replicas; experts in 4 shards and 4 replicas, 16 copies
    case = dims_of(devices=512, tp=2, cp=2, pp=4, dp=32, zero=3, zero_group=16, ep=8, etp=1)
    assert case.replicas.tolist() == [64]
    assert case.stage_ranks.tolist() == [128]
    assert (case.shards, case.replicas / case.shards) == (16, 4)
    assert (case.expert_shards, case.expert_replicas) == (4, 16)
    assert (case.expert_replicas / case.expert_shards).tolist() == [4]


def test_without_zero_nothing_is_sharded() -> None:
    case = dims_of(tp=2, cp=2, dp=32, zero=[0, 1, 2, 3], zero_group=16, ep=8)
    assert case.shards.tolist() == [1, 16, 16, 16]
    assert case.expert_shards.tolist() == [1, 4, 4, 4]


def test_experts_wider_than_a_shard_group_are_whole() -> None:
    # zero_group tp / (ep etp) = 4/64: an expert's states stay on its rank
    assert dims_of(tp=2, dp=64, zero=3, zero_group=2, ep=64).expert_shards.tolist() == [1]


power = st.integers(0, 5).map(lambda exponent: 2.0**exponent)


@given(power, power, power, power, power, st.data())
def test_shards_and_copies_account_for_every_rank(
    tp: float, cp: float, dp: float, ep: float, etp: float, data: st.DataObject
) -> None:
    if ep * etp > tp * cp * dp:
        ep = etp = 1.0
    group = data.draw(st.sampled_from([2.0**i for i in range(11) if 2.0**i <= cp * dp]))
    case = dims_of(tp=tp, cp=cp, dp=dp, ep=ep, etp=etp, zero=3, zero_group=group)
    assert case.replicas[0] % case.shards[0] == 0
    assert case.expert_replicas[0] * ep * etp == tp * cp * dp
    if group == cp * dp:  # all ranks share: experts are sharded over all their copies
        assert case.expert_shards[0] == case.expert_replicas[0]
    assert case.expert_shards[0] <= case.expert_replicas[0]


def test_names_of_choices_are_the_contracts() -> None:
    assert CODES["recompute"] == RECOMPUTE
    assert CODES["cp_comm"] == CP_COMM
    assert RECOMPUTE == ("none", "selective", "per-operator", "projections", "full")
    assert CP_COMM == ("p2p", "all-gather", "a2a", "a2a+p2p")
    assert OFFLOAD == ("optimizer", "activations", "parameters")
    assert CODES["schedule"] == ("gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe")
