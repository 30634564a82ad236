"""The DWN1 package in compiled files: what the real ones hold, and what becomes of corrupt ones."""

from __future__ import annotations

import random
import struct

import flatbuffers
import pytest
from flatbuffers import flexbuffers

from edgeopt.converters.edgetpu.package import Executable, Layer, Package, is_compiled, packages, read_package
from edgeopt.errors import FileFormatError
from edgeopt.flatbuffer import load_model, read_model

CACHED = {
    "deeplab_mobilenet_edgetpu_slim_cityscapes_quant": 2_654_784,
    "deeplabv3_mnv2_dm05_pascal_quant": 766_720,
    "keras_lstm_mnist_ptq": 43_968,
    "mobilenet_v1_0.25_128_quant": 566_912,
    "mobilenet_v1_0.75_192_quant": 2_777_600,
    "posenet_mobilenet_v1_075_353_481_16_quant_decoder": 1_444_608,
    "split_concat": 192,
}


def compiled(shared_data, name):
    return load_model(shared_data / "coral" / f"{name}_edgetpu.tflite")


@pytest.mark.parametrize(("name", "cached"), CACHED.items())
def test_the_real_packages_are_read(shared_data, name, cached):
    (package,) = packages(compiled(shared_data, name))
    assert package.chip == "beagle"
    assert package.minimum_runtime in (12, 13)
    assert package.cached_bytes == cached
    kinds = {part.kind: part for part in package.executables}
    assert set(kinds) == {"PARAMETER_CACHING", "EXECUTION_ONLY"}
    # Both parts carry one token: the runtime tells by it whose weights are on the chip.
    assert len({part.caching_token for part in package.executables}) == 1
    assert kinds["EXECUTION_ONLY"].caching_token != 0


def executable(kind, parameter_bytes):
    return Executable(kind, "beagle", parameter_bytes, 1, 0, 0, 0, (), (), 0)


def test_weights_are_cached_by_the_part_that_is_for_it_and_streamed_by_all_others():
    kinds = {"PARAMETER_CACHING": 1000, "EXECUTION_ONLY": 200, "STAND_ALONE": 30, "unknown(7)": 4}
    package = Package(0, 13, "", "", tuple(executable(*item) for item in kinds.items()))
    assert (package.cached_bytes, package.streamed_bytes) == (1000, 234)
    assert package.to_dict()["streamed_bytes"] == 234


def test_the_ends_are_those_of_the_model(shared_data):
    model = compiled(shared_data, "posenet_mobilenet_v1_075_353_481_16_quant_decoder")
    (package,) = packages(model)
    run = next(part for part in package.executables if part.kind == "EXECUTION_ONLY")
    assert [(layer.name, layer.shape, layer.dtype) for layer in run.inputs] == [("sub_2", (353, 481, 3), "uint8")]
    assert [layer.shape for layer in run.outputs] == [(23, 31, 17), (23, 31, 34), (23, 31, 64)]
    operator = model.main.operators[package.operator]
    assert [model.main.tensors[index].shape[1:] for index in operator.outputs] == [layer.shape for layer in run.outputs]


def test_a_plain_file_has_no_package(shared_data):
    model = load_model(shared_data / "coral" / "split_concat.tflite")
    assert not is_compiled(model)
    assert packages(model) == ()


def test_the_json_form_is_json(shared_data):
    import json

    (package,) = packages(compiled(shared_data, "split_concat"))
    found = json.loads(json.dumps(package.to_dict(), allow_nan=False))
    assert found["compiler_version"] == "cl/343520747"
    assert found["executables"][0]["caching_token"] == f"{package.executables[0].caching_token:016x}"


@pytest.fixture
def options(shared_data) -> bytes:
    """The options of a real custom operator."""
    return compiled(shared_data, "split_concat").main.operators[0].custom_options


def test_options_without_a_package_are_refused():
    with pytest.raises(
        FileFormatError, match=r"operator 3 of m.tflite is corrupt \(its options are not a FlexBuffer map\)"
    ):
        read_package(b"\x01\x02\x03\x04", 3, "m.tflite")
    with pytest.raises(FileFormatError, match="is corrupt"):
        read_package(b"")


def test_another_identifier_is_refused(options):
    with pytest.raises(FileFormatError, match="identifier b'DWN9', expected b'DWN1'"):
        read_package(options.replace(b"DWN1", b"DWN9"))


def test_an_offset_that_leads_out_is_refused(options):
    start = options.index(b"DWN1") - 4
    broken = options[:start] + struct.pack("<I", 0x7FFFFFFF) + options[start + 4 :]
    with pytest.raises(FileFormatError, match=r"is corrupt \(it refers to bytes"):
        read_package(broken)


def test_a_cut_package_is_refused(options):
    for length in range(0, len(options) - 1, 997):
        with pytest.raises(FileFormatError, match="is corrupt"):
            read_package(options[:length])


def test_no_corruption_does_more_than_raise_a_file_format_error(options):
    chance = random.Random(0)
    # Half of the hits go where structure lies: the package's head, the map at the end, the executables' vtables.
    spots = [*range(4200), *range(len(options) - 200, len(options))]
    for _ in range(1500):
        broken = bytearray(options)
        for _ in range(chance.randint(1, 6)):
            position = chance.choice(spots) if chance.random() < 0.5 else chance.randrange(len(broken))
            broken[position] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        try:
            read_package(bytes(broken))
        except FileFormatError:
            continue


def offsets(builder: flatbuffers.Builder, offset: int, count: int) -> int:
    """Write a vector of `count` offsets to one and the same place."""
    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def table(builder: flatbuffers.Builder, fields: dict[int, int]) -> int:
    """Write a table of offsets."""
    builder.StartObject(17)
    for number, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(number, offset, 0)
    return builder.EndObject()


def package_of(executable: bytes, times: int) -> bytes:
    """The options of an operator whose package lists one executable so many times."""
    nested = flatbuffers.Builder(1024)
    nested.Finish(table(nested, {0: offsets(nested, nested.CreateByteVector(executable), times)}))
    builder = flatbuffers.Builder(1024)
    builder.Finish(table(builder, {1: builder.CreateByteVector(bytes(nested.Output()))}), b"DWN1")
    options = flexbuffers.Builder()
    with options.Map():
        options.Blob("4", bytes(builder.Output()))
    return bytes(options.Finish())


def executable_of(name: str, layers: int) -> bytes:
    """An executable with one input listed so many times."""
    builder = flatbuffers.Builder(1024)
    layer = table(builder, {0: builder.CreateString(name)})
    builder.Finish(table(builder, {8: offsets(builder, layer, layers)}))
    return bytes(builder.Output())


def test_one_executable_listed_ten_thousand_times_is_refused():
    assert len(read_package(package_of(executable_of("x", 3), 1)).executables[0].inputs) == 3
    with pytest.raises(FileFormatError, match=r"is corrupt \(its executables overlap\)"):
        read_package(package_of(executable_of("x", 10_000), 10_000))


def test_one_long_name_of_ten_thousand_layers_is_refused():
    with pytest.raises(FileFormatError, match=r"is corrupt \(its strings overlap\)"):
        read_package(package_of(executable_of("x" * 100_000, 10_000), 1))


def written(fields, builder=None):
    """Write a table: strings, bytes, lists (of tables, or of bytes) and numbers, as (kind, value), by slot.

    Returns:
        The whole buffer; with a builder of another table, the offset in it.
    """
    own = builder or flatbuffers.Builder(64)
    places, numbers = {}, {}
    for slot, value in fields.items():
        if isinstance(value, str):
            places[slot] = own.CreateString(value)
        elif isinstance(value, bytes):
            places[slot] = own.CreateByteVector(value)
        elif isinstance(value, list):
            items = [own.CreateByteVector(item) if isinstance(item, bytes) else written(item, own) for item in value]
            own.StartVector(4, len(items), 4)
            for item in reversed(items):
                own.PrependUOffsetTRelative(item)
            places[slot] = own.EndVector()
        else:
            numbers[slot] = value
    own.StartObject(17)
    for slot, offset in places.items():
        own.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, (kind, number) in numbers.items():
        getattr(own, f"Prepend{kind}Slot")(slot, number, 0)
    made = own.EndObject()
    if builder is not None:
        return made
    own.Finish(made, b"DWN1")
    return bytes(own.Output())


LAYER = {0: "image", 1: ("Int32", 4096), 2: ("Int32", 8), 3: ("Int32", 9), 4: ("Int32", 3), 6: ("Int16", 8)}
EXECUTABLE = {
    4: ("Int32", 77),
    6: b"weights",
    8: [LAYER],
    9: [{0: "a", 6: ("Int16", 99)}, {0: "b"}],
    10: "beagle",
    11: ("Int32", 500),
    12: ("Int32", 2048),
    13: ("Int16", 2),
    14: ("Uint64", 2**64 - 1),
}
HEAD = {0: ("Int32", 13), 4: "cl/343520747", 7: "mine"}


def options_of(*executables):
    """Return the options of a custom operator that holds these executables."""
    return bytes(flexbuffers.Dumps({"1": 5, "4": written({**HEAD, 1: written({0: list(executables)})})}))


def test_every_field_of_the_schema_is_read_from_its_slot():
    first = written(EXECUTABLE)
    package = read_package(options_of(first, written({13: ("Int16", 1)})), 4)
    head = (package.operator, package.minimum_runtime, package.compiler_version, package.model_identifier)
    assert head == (4, 13, "cl/343520747", "mine")
    assert package.executables[0] == Executable(
        kind="EXECUTION_ONLY",
        chip="beagle",
        parameter_bytes=7,
        caching_token=2**64 - 1,
        narrow_memory_bytes=2048,
        scratch_bytes=77,
        estimated_cycles=500,
        inputs=(Layer("image", 4096, (8, 9, 3), "int8"),),
        outputs=(Layer("a", 0, (0, 0, 0), "unknown(99)"), Layer("b", 0, (0, 0, 0), "uint8")),
        size_bytes=len(first),
    )
    second = package.executables[1]
    assert (second.kind, second.chip, second.parameter_bytes, second.estimated_cycles) == (
        "PARAMETER_CACHING",
        "",
        0,
        0,
    )
    found = package.to_dict()
    assert (found["chip"], found["cached_bytes"], found["streamed_bytes"]) == ("beagle, ", 0, 7)
    (image,) = found["executables"][0]["inputs"]
    assert image == {"name": "image", "size_bytes": 4096, "shape": [8, 9, 3], "dtype": "int8"}
    assert (found["executables"][0]["caching_token"], found["executables"][0]["outputs"][1]["name"]) == ("f" * 16, "b")
    assert {name: found[name] for name in ("operator", "minimum_runtime", "compiler_version", "model_identifier")} == (
        {"operator": 4, "minimum_runtime": 13, "compiler_version": "cl/343520747", "model_identifier": "mine"}
    )


def test_the_64_bit_estimate_counts_before_the_old_one_and_kinds_of_later_are_named():
    package = read_package(options_of(written({**EXECUTABLE, 16: ("Int64", 2**40), 13: ("Int16", 7)})))
    (found,) = package.executables
    assert (package.operator, found.estimated_cycles, found.kind) == (0, 2**40, "unknown(7)")
    (plain,) = read_package(options_of(written({**EXECUTABLE, 13: ("Int16", 0)}))).executables
    assert plain.kind == "STAND_ALONE"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (options_of(), "it holds no executables"),
        (bytes(flexbuffers.Dumps({"4": written(HEAD)})), "it holds no executables"),
        (bytes(flexbuffers.Dumps({"3": written(HEAD)})), "it has no entry '4'"),
        (bytes(flexbuffers.Dumps({"4": 7})), "it has no entry '4'"),
    ],
)
def test_a_package_of_nothing_is_corrupt(options, reason):
    with pytest.raises(
        FileFormatError,
        match=rf"^The Edge TPU package in operator 2 of m is corrupt \({reason}\); compile the model again\.$",
    ):
        read_package(options, 2, "m")
    with pytest.raises(FileFormatError, match="in operator 0 of The model is corrupt"):
        read_package(options)


def test_the_operator_and_the_file_of_a_corrupt_package_are_named(graph):
    x = graph.input((1, 4))
    y = graph.op("RELU", [x], (1, 4))
    graph.file.operator("edgetpu-custom-op", [y], [y], customOptions=[1, 2, 3, 4])
    with pytest.raises(FileFormatError, match=r"in operator 1 of m\.tflite is corrupt"):
        packages(read_model(graph.build(y)), "m.tflite")
