"""The compiler's log, as data: every text here was printed by the real compiler (see logs/)."""

from __future__ import annotations

import time

from edgeopt.converters.edgetpu.log import LogRow, ModelLog, parse_log


def test_sizes_counts_and_version_are_read(real_log):
    log = parse_log(real_log("issue_512_yolov5s"))
    assert (log.version, log.succeeded, log.milliseconds) == ("16.0.384591198", True, 3438)
    (model,) = log.models
    assert (model.input_name, model.output_name) == ("yolov5s-int8.tflite", "yolov5s-int8_edgetpu.tflite")
    assert (model.subgraphs, model.operations, model.mapped, model.on_cpu) == (1, 229, 222, 7)
    # As printed: 6.89 MiB, 1.00 KiB, 175.00 KiB.
    assert (model.cached_bytes, model.remaining_bytes, model.streamed_bytes) == (round(6.89 * 2**20), 1024, 175 * 1024)
    assert model.rows == ()


def test_the_table_of_operators_is_read(real_log):
    (model,) = parse_log(real_log("yolov3_tiny_v15")).models
    assert model.mapped_ops == {"CONV_2D": 1, "QUANTIZE": 1}
    assert model.cpu_ops == {
        **{"CONV_2D": 12, "LEAKY_RELU": 11, "MAX_POOL_2D": 6, "QUANTIZE": 3},
        **{"CONCATENATION": 1, "RESIZE_NEAREST_NEIGHBOR": 1},
    }
    assert sum(model.mapped_ops.values()) == model.mapped
    assert sum(model.cpu_ops.values()) == model.on_cpu
    assert {row.status for row in model.rows} == {
        "Mapped to Edge TPU",
        "More than one subgraph is not supported",
        "Operation is otherwise supported, but not mapped due to some unspecified limitation",
        "Operation not supported",
        "Operation version not supported",
    }


def test_a_success_may_have_mapped_nothing(real_log):
    log = parse_log(real_log("issue_358_nothing_mapped"))
    assert log.succeeded
    assert (log.models[0].subgraphs, log.models[0].mapped, log.models[0].on_cpu) == (0, 0, 69)


def test_a_fully_mapped_model_prints_no_counts_so_the_table_gives_them(real_log):
    log = parse_log(real_log("issue_671_segment_of_search"))
    assert log.succeeded
    (model,) = log.models
    assert (model.mapped, model.on_cpu, model.operations) == (84, 0, 84)


def test_errors_of_attempts_that_were_given_up_stand_beside_the_success(real_log):
    log = parse_log(real_log("issue_671_segment_of_search"))
    assert log.mentions("large activation tensors")
    assert log.succeeded


def test_failures_are_told_from_successes(real_log):
    for name, words in (
        ("issue_358_internal_error", "Internal compiler error"),
        ("issue_439_large_activations", "large activation tensors"),
        ("issue_879_quantize_version", "builtin opcode 'QUANTIZE' version '3'"),
        ("issue_829_dynamic", "dynamic-sized tensors"),
        ("issue_213_not_quantized", "Model not quantized"),
    ):
        log = parse_log(real_log(name))
        assert not log.succeeded, name
        assert log.mentions(words), name
        assert log.models == (), name


def test_several_models_have_a_block_each(real_log):
    text = real_log("issue_512_yolov5s") + real_log("yolov3_tiny_v15")
    log = parse_log(text)
    assert [model.mapped for model in log.models] == [222, 2]
    assert log.milliseconds == 577, "as printed last"


def test_the_log_file_of_the_compiler_itself_is_read():
    text = (
        "Edge TPU Compiler version 15.0.340273435\nInput: model.tflite\nOutput: ./EdgeTPU/model_edgetpu.tflite\n\n"
        "Operator                       Count      Status\n\n"
        "ADD                            10         Mapped to Edge TPU\n"
    )
    (model,) = parse_log(text).models
    assert (model.input_name, model.mapped_ops) == ("model.tflite", {"ADD": 10})


def test_other_text_gives_an_empty_log():
    log = parse_log("\x00\x01 hello\nInput size: lots\nADD 3 Mapped\n")
    assert (log.version, log.models, log.errors, log.succeeded) == ("", (), (), False)


def test_numbers_that_no_compiler_prints_are_left_out():
    nines = "9" * 5000
    text = (
        f"Input: a\nNumber of Edge TPU subgraphs: {nines}\nTotal number of operations: ²\n"
        f"On-chip memory used for caching model parameters: {nines}.0KiB\nx {nines}  Mapped to Edge TPU\n"
        f"Model compiled successfully in {nines} ms!\nCONV_2D  3  Mapped to Edge TPU\n"
    )
    log = parse_log(text)
    (model,) = log.models
    assert (model.subgraphs, model.operations, model.cached_bytes) == (None, None, None)
    assert model.mapped_ops == {"CONV_2D": 3}
    assert not log.succeeded


def test_a_line_without_end_takes_no_time_and_no_error_steers_a_terminal():
    start = time.process_time()
    log = parse_log("Input: a\nx 1  a" + " " * 200_000 + "b\nERROR: \x1b[2J" + "y" * 9000)
    assert time.process_time() - start < 1  # it took minutes
    assert all(line.isprintable() and len(line) <= 1000 for line in log.errors)
    assert len(log.errors) == 1


WHOLE = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.
  ERROR: Failed to compile subgraph: it is too large.
Model compiled successfully in 12 ms.

Input model: a.tflite
Input size: 512.00B
Output model: a_edgetpu.tflite
Output size: 1.50MiB
On-chip memory used for caching model parameters: 2.25KiB
On-chip memory remaining for caching model parameters: 7B
Off-chip memory used for streaming uncached model parameters: 3.00GiB
Number of Edge TPU subgraphs: 2
Total number of operations: 9
Number of operations that will run on Edge TPU: 6
Number of operations that will run on CPU: 3
Number of pigs: many
Operation log: a_edgetpu.log

Operator                       Count      Status

ADD                            1          Mapped to Edge TPU
RELU                           5          Mapped to Edge TPU
ABS                            1          Operation not supported
ABS                            1          Tensor has unsupported rank (up to 3 innermost dimensions mapped)
"""


def test_every_line_has_its_field():
    log = parse_log(WHOLE)
    assert (log.version, log.milliseconds) == ("16.0.384591198", 12)
    assert log.errors == ("ERROR: Failed to compile subgraph: it is too large.",)
    assert log.models == (
        ModelLog(
            input_name="a.tflite",
            output_name="a_edgetpu.tflite",
            input_bytes=512,
            output_bytes=1_572_864,
            cached_bytes=2304,
            remaining_bytes=7,
            streamed_bytes=3 * 2**30,
            subgraphs=2,
            operations=9,
            mapped=6,
            on_cpu=3,
            rows=(
                LogRow("ADD", 1, "Mapped to Edge TPU"),
                LogRow("RELU", 5, "Mapped to Edge TPU"),
                LogRow("ABS", 1, "Operation not supported"),
                LogRow("ABS", 1, "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"),
            ),
        ),
    )
    (model,) = log.models
    assert list(model.mapped_ops.items()) == [("RELU", 5), ("ADD", 1)], "the most frequent first"
    assert model.cpu_ops == {"ABS": 2}
    assert model.to_dict()["rows"][1] == {"op": "RELU", "count": 5, "status": "Mapped to Edge TPU"}


def test_equally_frequent_operators_come_in_alphabetical_order():
    text = "Input: a\nB  2  Mapped to Edge TPU\nC  2  Mapped to Edge TPU\nA  2  Mapped to Edge TPU\n"
    assert list(parse_log(text).models[0].mapped_ops) == ["A", "B", "C"]


def test_what_is_no_number_or_comes_before_any_model_is_left_out():
    text = "Output size: 3B\nADD  1  Mapped to Edge TPU\nInput: a\nInput size: 3.00\nTotal number of operations: -1\nOutput: b\n"
    assert parse_log(text).models == (ModelLog(input_name="a", output_name="b"),)


def test_a_model_without_a_table_has_the_counts_that_are_printed_or_none():
    assert parse_log("Input: a\nNumber of operations that will run on CPU: 3\n").models[0].on_cpu == 3
    counted = "Input: a\nNumber of operations that will run on Edge TPU: 7\nADD  1  Mapped to Edge TPU\n"
    assert (parse_log(counted).models[0].mapped, parse_log(counted).models[0].on_cpu) == (7, None)
    left = "Input: a\nADD  3  Mapped to Edge TPU\nABS  2  Operation not supported\nABS  2  Other\n"
    assert (parse_log(left).models[0].mapped, parse_log(left).models[0].on_cpu) == (3, 4)
