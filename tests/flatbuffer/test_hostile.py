"""Corrupt and malicious files: one error class, quickly, whatever the bytes are."""

from __future__ import annotations

import json
import random
import struct

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeopt.api.inspect import inspect
from edgeopt.errors import FileFormatError, ModelError
from edgeopt.flatbuffer import read_model, wire
from edgeopt.flatbuffer.kernels import file_kernels
from edgeopt.flatbuffer.tap import with_taps

MUTANTS = 300


def survives(data: bytes) -> bool:
    """Return whether `data` was read to the end; raises unless it is a valid read or a `FileFormatError`."""
    try:
        found = inspect(data)
        json.dumps(found.to_dict(), allow_nan=False)
        for graph in found.model.subgraphs:
            for tensor in graph.tensors:
                tensor.data()
    except FileFormatError as error:
        assert "corrupt" in str(error) or "expected a .tflite file" in str(error)
        return False
    return True


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Cut `data` short, flip bits of it, or overwrite 32-bit words with numbers that make bad offsets and lengths."""
    kind = rng.randrange(3)
    if kind == 0:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8))):
        if kind == 1:
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        else:
            word = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(data), rng.randrange(len(data))))
            struct.pack_into("<I", changed, rng.randrange(len(data) - 4) & ~3, word)
    return bytes(changed)


def test_mutants_of_a_small_file(small_file):
    rng = random.Random(0)
    outcomes = [survives(mutate(small_file, rng)) for _ in range(MUTANTS)]
    # Both must occur, or the mutations test nothing.
    assert 20 < sum(outcomes) < MUTANTS - 20


@pytest.mark.parametrize("name", ["coral/keras_lstm_mnist_ptq.tflite", "coral/split_concat_edgetpu.tflite"])
def test_mutants_of_a_real_file(shared_data, name):
    data = (shared_data / name).read_bytes()
    rng = random.Random(1)
    outcomes = [survives(mutate(data, rng)) for _ in range(MUTANTS // 3)]
    assert 5 < sum(outcomes) < MUTANTS // 3 - 5


def test_every_prefix_of_a_small_file_is_refused_or_read(small_file):
    outcomes = [survives(small_file[:size]) for size in range(0, len(small_file), 7)]
    assert not any(outcomes[: len(outcomes) // 2])


@pytest.mark.parametrize(
    "root", [0, 4, 8, 2**31, 2**32 - 1], ids=["itself", "identifier", "header end", "negative", "far outside"]
)
def test_a_root_that_leads_nowhere(small_file, root):
    assert not survives(struct.pack("<I", root) + small_file[4:])


def table_of(vector: bytes, slot: int) -> bytes:
    """Return a file whose model has one field, in vtable slot `slot`: an offset to `vector`."""
    entries = 1 + slot
    vtable = struct.pack("<HH", 4 + 2 * entries, 8) + bytes(2 * slot) + struct.pack("<H", 4)
    vtable += bytes(-len(vtable) % 4)
    start = 8 + len(vtable)
    return struct.pack("<I", start) + b"TFL3" + vtable + struct.pack("<iI", len(vtable), 4) + vector


SUBGRAPHS = 2  # the slot of Model.subgraphs in the schema


@pytest.mark.parametrize("length", [2**31, 2**32 - 1, 10_000_000])
def test_a_vector_that_claims_more_than_the_file_holds(length):
    data = table_of(struct.pack("<I", length), SUBGRAPHS)
    with pytest.raises(FileFormatError, match=f"it claims at least {length} tables"):
        read_model(data)


def test_a_table_that_refers_to_itself():
    # One subgraph whose offset, 0, leads back to the vector's own element, which is its own (empty) vtable too.
    data = table_of(struct.pack("<II", 1, 0), SUBGRAPHS)
    assert survives(data)
    assert read_model(data).main.tensors == ()


def test_the_planted_file_is_otherwise_well_formed():
    """The same file with no subgraphs gets past the vector: what refuses the cases above is their contents."""
    with pytest.raises(FileFormatError, match="it holds no subgraph"):
        read_model(table_of(struct.pack("<I", 0), SUBGRAPHS))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda g: setattr(g.tensors[1], "buffer", 99), "refers to buffer 99"),
        # One too far: there are 8 tensors, of which the last is number 7.
        (lambda g: setattr(g, "inputs", [8]), "refers to tensor 8 of 8"),
        (lambda g: setattr(g.operators[0], "outputs", [8]), "refers to tensor 8 of 8"),
        (lambda g: setattr(g.operators[0], "opcodeIndex", 3), "refers to operator code 3 of 3"),
        (lambda g: setattr(g, "inputs", [99]), "refers to tensor 99"),
        (lambda g: setattr(g, "outputs", [-1]), "refers to tensor -1"),
        (lambda g: setattr(g.operators[0], "inputs", [-2]), "refers to tensor -2"),
        (lambda g: setattr(g.operators[0], "opcodeIndex", 7), "refers to operator code 7 of 3"),
        (lambda g: setattr(g.tensors[0], "shape", [1] * 33), "tensor 0 has 33 dimensions"),
        (lambda g: setattr(g.tensors[1], "shape", [4, 3, 3, 3]), "constant 1 has 72 bytes for 108"),
        (lambda g: setattr(g.tensors[1].quantization, "zeroPoint", [0, 0]), "4 scales and 2 zero points"),
        (lambda g: setattr(g.tensors[1].quantization, "quantizedDimension", 3), "has 4 scales along dimension 3"),
        (lambda g: setattr(g.tensors[1].quantization, "quantizedDimension", -1), "has 4 scales along dimension -1"),
        (lambda g: setattr(g.tensors[0], "shape", [0, *[2**31 - 1] * 3]), "tensor 0 has the shape"),
        (lambda g: setattr(g.tensors[1], "shape", [0, *[2**31 - 1] * 3]), "tensor 1 has the shape"),
    ],
)
def test_indices_and_sizes_that_contradict_the_file(small_file, change, reason):
    model = schema.ModelT.InitFromPackedBuf(small_file)
    change(model.subgraphs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(FileFormatError, match=f"corrupt .tflite file .*{reason}.*convert or download it again"):
        read_model(bytes(builder.Output()))


def shared_offsets(builder: flatbuffers.Builder, offset: int, count: int) -> int:
    """Write a vector of `count` offsets to one and the same table."""
    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def finish(builder: flatbuffers.Builder, subgraphs: int) -> bytes:
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, subgraphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def test_one_table_reached_a_hundred_million_times(monkeypatch):
    """A small file can name one subgraph of many tensors many times over: the work is counted, not the bytes."""
    builder = flatbuffers.Builder(1024)
    schema.TensorStart(builder)
    tensors = shared_offsets(builder, schema.TensorEnd(builder), 10_000)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graphs = shared_offsets(builder, schema.SubGraphEnd(builder), 10_000)
    monkeypatch.setattr(wire, "MAX_TABLES", 30_000)
    with pytest.raises(FileFormatError, match="it claims at least 40000 tables"):
        read_model(finish(builder, graphs))


def test_one_long_name_shared_by_many_tensors():
    builder = flatbuffers.Builder(1024)
    name = builder.CreateString("n" * 1_000_000)
    schema.TensorStart(builder)
    schema.TensorAddName(builder, name)
    tensors = shared_offsets(builder, schema.TensorEnd(builder), 10_000)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graphs = shared_offsets(builder, schema.SubGraphEnd(builder), 1)
    with pytest.raises(FileFormatError, match="its vectors and strings overlap"):
        read_model(finish(builder, graphs))


def test_subgraphs_that_call_each_other_in_circles_end(file):
    graphs = [0] + [file.subgraph(f"g{number}") for number in range(40)]
    for graph in graphs:
        x = file.tensor([1, 8], graph=graph)
        weights = file.tensor([8, 8], graph=graph, data=bytes(64))
        file.operator("FULLY_CONNECTED", [x, weights], [x], graph=graph)
        for callee in (graph + 1, graph + 1, 0):
            file.operator("CALL", [x], [x], graph=graph, options="CallOptions", subgraph=callee % len(graphs))
    found = inspect(file.build([0], [0]))
    # Doubling 40 times: 64 MACs times 2 ** 41 - 1, counted without walking the 2 ** 41 paths.
    assert found.macs == 64 * (2**41 - 1)


def test_numbers_that_are_not_finite_stay_valid_json(file):
    x = file.tensor([2], scales=[float("inf")])
    y = file.tensor([2], scales=[float("nan")])
    file.operator("SOFTMAX", [x], [y], options="SoftmaxOptions", beta=float("-inf"))
    found = json.loads(json.dumps(inspect(file.build([x], [y])).to_dict(), allow_nan=False))
    assert found["inputs"][0]["scale"] == "inf"
    assert found["tensors"][1]["quantization"]["scale_max"] == "nan"
    assert found["operators"][0]["options"] == {"beta": "-inf"}


def test_operators_without_inputs_are_described(file):
    """No operator of a valid file is so; the interpreter refuses them."""
    weights = file.tensor([8, 8], "float32")
    x, y, z = (file.tensor([1, 8]) for _ in range(3))
    for name in (
        "QUANTIZE",
        "DEQUANTIZE",
        "DENSIFY",
        "READ_VARIABLE",
        "FULLY_CONNECTED",
        "SPLIT",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
    ):
        file.operator(name, [], [weights])
        file.operator(name, [-1], [y])
        file.operator(name, [x, weights], [])
    file.operator("FULLY_CONNECTED", [x, weights], [z])
    data = file.build([x], [z])
    assert survives(data)
    assert file_kernels(read_model(data)) == []


def test_an_operator_that_reads_what_it_writes_is_no_endless_search(file):
    """The search for a kernel goes up through DEQUANTIZE."""
    x, weights, other, y = (file.tensor([8, 8], "float32") for _ in range(4))
    file.operator("DEQUANTIZE", [weights], [weights])
    file.operator("DEQUANTIZE", [weights], [other])
    file.operator("FULLY_CONNECTED", [x, other], [y])
    assert file_kernels(read_model(file.build([x], [y]))) == []


def test_a_file_whose_unread_tables_are_broken_is_tapped_all_the_same(file):
    """Only what is read can be refused; nothing else is looked at, let alone written anew."""
    x = file.tensor([1, 8], scales=[0.5])
    y = file.tensor([1, 8], scales=[0.5])
    file.operator("SOFTMAX", [x], [y], options="SoftmaxOptions", beta=1.0)
    file.signature("serving_default", {"x": x}, {"y": y})
    minima = file.model.subgraphs[0].tensors[x].quantization
    minima.min = np.array([-7.25], np.float32)
    data = file.build([x], [y])
    place = data.index(struct.pack("<If", 1, -7.25))
    tapped, found = with_taps(data[:place] + struct.pack("<I", 2**31) + data[place + 4 :])
    assert [tap.tensor for tap in found] == [y]
    assert read_model(tapped).main.outputs == (y,)
    assert read_model(tapped).signatures == ()


def test_a_file_that_states_no_outputs_is_not_tapped():
    data = table_of(struct.pack("<II", 1, 0), SUBGRAPHS)
    with pytest.raises(ModelError, match="The file states no outputs"):
        with_taps(data)
