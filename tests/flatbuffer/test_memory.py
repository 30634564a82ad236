"""`edgeopt.flatbuffer.memory`: liveness by hand, against brute force, and against the real interpreter's arena."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from edgeopt.flatbuffer import load_model, read_model
from edgeopt.flatbuffer.arena import ALIGNMENT, Block, arena_bytes
from edgeopt.flatbuffer.memory import LiveTensor, memory_use, resident_bytes


def chain(file, sizes):
    """Build x -> ABS -> ABS -> ... with int8 tensors of `sizes` bytes."""
    tensors = [file.tensor([size]) for size in sizes]
    for source, target in itertools.pairwise(tensors):
        file.operator("ABS", [source], [target])
    return file.build([tensors[0]], [tensors[-1]])


def test_in_a_chain_the_peak_is_the_largest_neighbouring_pair(file):
    use = memory_use(read_model(chain(file, [100, 30, 200, 90, 10])))
    assert (use.peak_bytes, use.peak_operator) == (290, 2)
    assert use.live == (LiveTensor("t2", 200), LiveTensor("t3", 90))
    assert use.sum_bytes == 430


def test_a_skip_connection_stays_live_until_it_is_read(file):
    x, a, b, y = (file.tensor([size]) for size in (10, 100, 100, 10))
    file.operator("ABS", [x], [a])
    file.operator("ABS", [a], [b])
    file.operator("ADD", [b, x], [y])
    # At operator 1: x waits for operator 2 while a becomes b.
    assert memory_use(read_model(file.build([x], [y]))).peak_bytes == 210


def test_an_output_stays_live_to_the_end_and_constants_do_not_count(file):
    x, early, late = file.tensor([10]), file.tensor([50]), file.tensor([70])
    weights = file.tensor([1000], data=bytes(1000))
    file.operator("ABS", [x], [early])
    file.operator("ADD", [x, weights], [late])
    use = memory_use(read_model(file.build([x], [early, late])))
    assert (use.peak_bytes, use.peak_operator) == (130, 1)


def test_a_result_that_nobody_reads_is_live_while_it_is_written(file):
    x, unread, y = file.tensor([10]), file.tensor([500]), file.tensor([10])
    file.operator("SPLIT", [x], [unread, y])
    file.operator("ABS", [y], [y])
    use = memory_use(read_model(file.build([x], [y])))
    assert (use.peak_bytes, use.peak_operator) == (520, 0)


def test_variables_live_all_the_time(file):
    x, y = file.tensor([10]), file.tensor([10])
    state = file.tensor([300], isVariable=True)
    file.operator("ABS", [x], [y])
    file.operator("SVDF", [y, state], [x])
    use = memory_use(read_model(file.build([x], [x])))
    assert (use.peak_bytes, use.variable_bytes) == (320, 300)


def test_a_resource_variable_has_the_size_of_its_values(file):
    handle = file.tensor([], "resource")
    value, new = file.tensor([40]), file.tensor([40])
    file.operator("VAR_HANDLE", [], [handle], options="VarHandleOptions", sharedName="ring")
    file.operator("READ_VARIABLE", [handle], [value])
    file.operator("ABS", [value], [new])
    file.operator("ASSIGN_VARIABLE", [handle, new], [])
    use = memory_use(read_model(file.build([], [])))
    assert use.variable_bytes == 40
    assert use.peak_bytes == 120
    assert LiveTensor("variable ring", 40) in use.live


def test_a_loop_adds_the_peak_of_its_body(file):
    body = file.subgraph("body")
    a, b = file.tensor([100], graph=body), file.tensor([60], graph=body)
    file.operator("ABS", [a], [b], graph=body)
    file.model.subgraphs[body].inputs, file.model.subgraphs[body].outputs = [a], [b]
    x, y = file.tensor([100]), file.tensor([100])
    file.operator("WHILE", [x], [y], options="WhileOptions", condSubgraphIndex=body, bodySubgraphIndex=body)
    use = memory_use(read_model(file.build([x], [y])))
    assert (use.peak_bytes, use.called_bytes) == (360, 160)


def test_weights_expanded_at_load_count_apart(file):
    half = file.tensor([50], "float16", data=np.zeros(50, np.float16))
    full, x, y = (file.tensor([50], "float32") for _ in range(3))
    file.operator("DEQUANTIZE", [half], [full])
    file.operator("ADD", [x, full], [y])
    use = memory_use(read_model(file.build([x], [y])))
    assert (use.peak_bytes, use.expanded_weight_bytes) == (400, 200)


def test_zero_sized_placeholders_and_absent_inputs_are_nothing(file):
    x, empty, y = file.tensor([8]), file.tensor([0], "float32"), file.tensor([8])
    file.operator("ADD", [x, -1, empty], [y])
    use = memory_use(read_model(file.build([x], [y])))
    assert (use.peak_bytes, len(use.live)) == (16, 2)


def test_a_graph_without_operators_holds_its_inputs(file):
    x = file.tensor([8])
    use = memory_use(read_model(file.build([x], [x])))
    assert (use.peak_bytes, use.peak_operator) == (8, None)


def test_random_graphs_agree_with_counting_every_step(file):
    """At each step, live is what was written before (or now) and is read now, or later, or is an output."""
    rng = random.Random(3)
    tensors = [file.tensor([rng.randrange(1, 1000)]) for _ in range(40)]
    readers: dict[int, list[int]] = {index: [] for index in tensors}
    for step in range(39):
        sources = rng.sample(tensors[: step + 1], min(step + 1, rng.choice((1, 2, 3))))
        file.operator("CONCATENATION", sources, [tensors[step + 1]])
        for source in sources:
            readers[source].append(step)
    model = read_model(file.build([tensors[0]], [tensors[-1]]))
    sizes = [model.main.tensors[index].nbytes for index in tensors]
    written = [0, *range(39)]
    read = [max([written[index], *readers[index]]) for index in tensors]
    read[-1] = 38
    totals = [sum(sizes[i] for i in tensors if written[i] <= step <= read[i]) for step in range(39)]
    use = memory_use(model)
    assert use.peak_bytes == max(totals)
    assert use.peak_operator == totals.index(max(totals))
    assert use.peak_bytes <= use.arena_bytes <= use.sum_bytes + ALIGNMENT * len(tensors)


@pytest.mark.parametrize(
    "name",
    [
        "cifar10/mlperf_resnet8_int8.tflite",
        "coral/deeplabv3_mnv2_dm05_pascal_quant.tflite",
        "coral/mobilenet_v1_0.25_128_quant.tflite",
        "coral/mobilenet_v1_0.75_192_quant.tflite",
        "coral/split_concat.tflite",
        "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
        "kws/ref_int8.tflite",
    ],
)
def test_the_arena_is_as_large_as_the_interpreters(shared_data, ask_interpreter, name):
    path = str(shared_data / name)
    graph = load_model(path).main
    activations = {tensor.index for tensor in graph.tensors if not tensor.is_constant}
    spans = [span for span in ask_interpreter([path])[path]["spans"] if span[0] in activations]
    real = max(end for _, _, end in spans) - min(start for _, start, _ in spans)
    # Not only about: the same planner on the same lifetimes, and the reference kernels of these files take no scratch.
    assert memory_use(load_model(path)).arena_bytes == real


def test_blocks_that_never_meet_share_memory():
    blocks = [Block("a", 100, 0, 1), Block("b", 64, 1, 2), Block("c", 90, 2, 3)]
    # a at 0..100, b behind it at 128..192, c where a was.
    assert arena_bytes(blocks, 4) == 192


def test_blocks_that_always_meet_lie_side_by_side():
    assert arena_bytes([Block(str(number), 64, 0, 3) for number in range(5)], 4) == 5 * 64


def test_gaps_are_filled_before_the_arena_grows():
    blocks = [
        Block("wall", 64, 0, 9),
        Block("early", 256, 0, 4),  # 64..320, free from step 5 on
        Block("roof", 192, 0, 8),  # 320..512
        Block("late", 128, 5, 6),  # 64..192
        Block("late too", 100, 5, 6),  # 192..292
    ]
    assert arena_bytes(blocks, 10) == 512
    # One that is live together with both and fits in neither what is left nor below the roof.
    assert arena_bytes([*blocks, Block("last straw", 65, 5, 6)], 10) == 512 + 65


def test_what_cannot_be_planned_is_none():
    assert arena_bytes([Block("", 1, 0, 0)] * 5001, 1) is None
    assert arena_bytes([Block("", 2**62, 0, 0)], 1) is None
    assert arena_bytes([], 1) == 0


def test_only_what_lives_through_the_whole_run_is_placed_before_what_is_larger():
    whole, at_the_start, at_the_end = Block("w", 128, 0, 3), Block("s", 128, 0, 0), Block("e", 64, 3, 3)
    for order in itertools.permutations((whole, at_the_start, at_the_end)):
        assert arena_bytes(list(order), 4) == 256, "the two share what lies behind the first"


def test_what_an_interpreter_needs_is_the_file_and_its_arena(file):
    data = chain(file, [100, 30, 200, 90, 10])
    model = read_model(data)
    assert resident_bytes(model) == len(data) + memory_use(model).arena_bytes
