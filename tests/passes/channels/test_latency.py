"""A latency target: the table of measurements, the prediction, and the cut that is measured to reach it.

The devices here are functions of the file with known times, so that a result can be judged; the last test times real
files with a real interpreter.
"""

from __future__ import annotations

import importlib
import time
from types import SimpleNamespace

import numpy as np
import pytest

from edgeopt.errors import BudgetError, UsageError
from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.channels import ChannelPruning
from edgeopt.passes.channels.allocation import Ladder
from edgeopt.passes.channels.cost import CostModel
from edgeopt.passes.channels.dependencies import analyse
from edgeopt.passes.channels.latency import LatencyTable, plan_latency
from edgeopt.training.context import PassContext


def plain(keras, width=64):
    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 1), name="image")], name="plain")
    for index in range(3):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv_{index}"))
        model.add(layers.MaxPooling2D(name=f"pool_{index}"))
    model.add(layers.GlobalAveragePooling2D(name="mean"))
    model.add(layers.Dense(4, name="out"))
    return model


def widths_as_bytes(model):
    """Stand for a converted file: the widths are all that the devices below look at."""
    return bytes(model.get_layer(f"conv_{index}").filters for index in range(3))


class Device:
    """Takes 0.2 ms, and a time for each product of the widths of successive layers, in steps of `step` channels."""

    def __init__(self, step=1, prices=(2e-3, 2e-4, 5e-5)):
        self.step = step
        self.prices = prices
        self.calls = 0

    def __call__(self, file):
        self.calls += 1
        widths = [-(-width // self.step) * self.step for width in file]
        return 0.2 + sum(p * a * b for p, a, b in zip(self.prices, [1, *widths], widths, strict=False))


def test_the_target_is_reached_by_measurement_and_not_by_much(keras):
    device, model = Device(), plain(keras)
    before = device(widths_as_bytes(model))
    result = ChannelPruning(latency_ms=before / 2).apply(model, PassContext(convert=widths_as_bytes, measure=device))
    after = device(widths_as_bytes(result.model))
    figures = result.report.latency
    assert (figures.before_ms, figures.target_ms, figures.after_ms) == (before, before / 2, after)
    # A step of 8 channels of 64 in the dearest layer is worth an eighth of the latency.
    assert before / 2 * 0.8 <= after <= before / 2
    assert figures.measurements == device.calls - 2


def test_a_share_is_of_the_time_that_is_measured_then(keras):
    slow = Device(prices=tuple(3 * price for price in Device().prices))
    kept = []
    for device in (Device(), slow):
        context = PassContext(convert=widths_as_bytes, measure=device)
        result = ChannelPruning(latency_share=0.5).apply(plain(keras), context)
        figures = result.report.latency
        assert figures.target_ms == figures.before_ms / 2 >= figures.after_ms
        kept.append(figures.target_ms)
    assert kept[1] > 2 * kept[0]


def test_the_cut_goes_where_the_time_goes(keras):
    """One model on two devices: what counts is where each of them spends its time, and not where the MACs are."""
    early, late = Device(prices=(2e-3, 2e-4, 5e-6)), Device(prices=(2e-5, 5e-6, 2e-4))
    kept = []
    for device in (early, late):
        model = plain(keras)
        target = device(widths_as_bytes(model)) * 0.6
        context = PassContext(convert=widths_as_bytes, measure=device)
        kept.append(widths_as_bytes(ChannelPruning(latency_ms=target).apply(model, context).model))
    assert kept[0][0] < kept[1][0] == 64
    assert kept[1][2] < kept[0][2] == 64


def test_widths_that_save_no_time_are_not_taken_for_cheap(keras):
    """A device that works in blocks of 32 channels gains nothing in between: single steps of 8 lead nowhere there."""
    device, model = Device(step=32), plain(keras)
    before = device(widths_as_bytes(model))
    result = ChannelPruning(latency_ms=before * 0.6).apply(model, PassContext(convert=widths_as_bytes, measure=device))
    assert device(widths_as_bytes(result.model)) <= before * 0.6


def test_a_target_above_the_latency_removes_nothing(keras):
    result = ChannelPruning(latency_ms=1e6).apply(plain(keras), PassContext(convert=widths_as_bytes, measure=Device()))
    assert widths_as_bytes(result.model) == bytes([64, 64, 64])


def test_a_latency_out_of_reach_is_refused_with_what_was_reached(keras):
    with pytest.raises(BudgetError, match=r"A latency of 0.1 ms was asked for, .* came down from .* to 0\.\d+ ms"):
        ChannelPruning(latency_ms=0.1).apply(plain(keras), PassContext(convert=widths_as_bytes, measure=Device()))


def test_a_device_and_a_converter_are_needed(keras):
    with pytest.raises(UsageError, match=r"needs a function that measures .tflite bytes on the device"):
        ChannelPruning(latency_ms=1.0).apply(plain(keras), PassContext(convert=widths_as_bytes))
    with pytest.raises(UsageError, match=r"needs a function that converts the model to .tflite bytes"):
        ChannelPruning(latency_ms=1.0).apply(plain(keras), PassContext(measure=Device()))


def test_savings_of_both_sides_of_a_layer_are_not_counted_twice():
    """On a device that is exactly bilinear in the widths, and timed at them, the prediction is exact."""
    channel_map = analyse(read_native(plain(importlib.import_module("keras"))))
    groups = [group for group in channel_map.groups if group.block is None]
    ladder = Ladder(groups, [np.ones(64)] * 3, 8, 8)
    macs = CostModel(channel_map, groups, "macs")

    def timer(counts):
        return float(macs.of(counts[np.newaxis])[0]) * 1e-6

    table = LatencyTable(ladder, macs, timer, lambda what, done, total: None)
    for counts in ([64, 64, 64], [32, 32, 64], [48, 16, 32], [16, 16, 16]):
        row = np.asarray([counts])
        # Float sums of a few terms.
        assert table.predict(row)[0] == pytest.approx(timer(row[0]), rel=1e-9)
    # Planted: adding up what each saves alone is off by far more.
    alone = sum(timer(np.full(3, 64)) - timer(np.where(np.arange(3) == i, 16, 64)) for i in range(3))
    assert abs(timer(np.full(3, 64)) - alone - timer(np.full(3, 16))) > 0.1 * timer(np.full(3, 64))


def test_where_the_prediction_falls_no_further_less_work_does():
    class Stuck:
        """Says of every cut that it saves nothing."""

        before_ms, measurements = 64.0, 1
        macs = SimpleNamespace(of=lambda kept: kept.sum(axis=1).astype(float))

        def predict(self, kept):
            return np.full(len(kept), self.before_ms)

    groups = [
        group for group in analyse(read_native(plain(importlib.import_module("keras")))).groups if not group.block
    ]
    ladder = Ladder(groups, [np.ones(64)] * 3, 8, 8)
    found = plan_latency(ladder, Stuck(), lambda counts: 10 + float(counts.sum()) / 4, 20.0, {})
    assert found.after_ms <= 20.0 and found.measurements > 2


@pytest.mark.heavy
def test_a_real_file_timed_by_a_real_interpreter_gets_faster():
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    def convert(model):
        return tf.lite.TFLiteConverter.from_keras_model(model).convert()

    def measure(file):
        interpreter = Interpreter(model_content=file, num_threads=1)
        interpreter.allocate_tensors()
        times = []
        for _ in range(60):
            start = time.perf_counter()
            interpreter.invoke()
            times.append((time.perf_counter() - start) * 1e3)
        return min(times)  # the least disturbed run

    model = plain(importlib.import_module("tf_keras"), 128)
    before = measure(convert(model))
    result = ChannelPruning(latency_ms=before * 0.6).apply(model, PassContext(convert=convert, measure=measure))
    assert result.report.latency.after_ms <= before * 0.6
    assert result.report.removed("macs") > 0.2
