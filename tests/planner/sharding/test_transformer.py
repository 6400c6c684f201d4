"""Models as operator graphs: every shipped kind of layer, and what is refused."""

import pytest
from rows import GPT, context_of, job_of
from sharded import sharding_problem

from planner.errors import SpecError
from planner.sharding.transformer import operator_graph

MODELS = ("llama-3.1-8b", "mixtral-8x7b", "deepseek-v3", "gpt3-175b", "qwen3-8b")


@pytest.mark.parametrize("model", MODELS)
def test_shapes_fit_labels_and_edges_fit_shapes(model: str) -> None:
    context = context_of(job_of(model=model, devices=64, sequence=4096))
    graph = operator_graph(context, 16)
    made = {op.result.tensor for op in graph.operators}
    for op in graph.operators:
        for operand in (*op.operands, *op.inner, op.result):
            tensor = graph.tensors[operand.tensor]
            assert len(tensor.shape) == len(operand.labels)
            for size, dim in zip(tensor.shape, operand.labels, strict=True):
                total = 1
                for label in dim:
                    total *= op.sizes[label]
                assert total == size, (op.name, operand.tensor)
            flows = not (tensor.given or tensor.parameter)
            assert not flows or tensor.name in made or operand in op.inner
    weights = sum(
        t.elements * graph.readers(t.name)[0].repeats
        for t in graph.tensors.values() if t.parameter
    )  # fmt: skip
    mtp = context.block("mtp")
    left_out = mtp.count * mtp.weights() if mtp else 0.0
    assert weights == context.graph.weights() - left_out


def test_tokens_that_do_not_deal_evenly_are_refused() -> None:
    model = {**GPT, "moe": {"experts": 24, "top_k": 2, "ffn_hidden": 512}}
    with pytest.raises(SpecError, match=r"2048 tokens times top_k 2 .* experts 24"):
        sharding_problem({"dp": 8}, 8, model=model)


def test_adapters_are_refused() -> None:
    job = job_of(workload={"task": "lora", "lora": {"rank": 8}})
    with pytest.raises(SpecError, match="not for adapters"):
        operator_graph(context_of(job), 8)
