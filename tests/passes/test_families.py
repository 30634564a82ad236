"""Every pass on every family of models: random weights, small inputs, one training step, an int8 file at the end.

The passes run behind each other, as in a recipe, and what one wins the next must keep: channels, prune, cluster, then
quantisation-aware training with the first model as the teacher, whose file is measured. The networks of
`keras.applications` are cut behind their first blocks of each kind, so that the table stays a matter of minutes; channel
removal and the bridge are tested on whole ones elsewhere.
"""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.flatbuffer import read_model
from edgeopt.passes.base import PassContext
from edgeopt.passes.channels import ChannelPruning
from edgeopt.passes.cluster import Cluster
from edgeopt.passes.distil import Distil, Distillation
from edgeopt.passes.properties import check_kept, measure_file, measure_model
from edgeopt.passes.prune import Prune
from edgeopt.passes.qat import Qat
from edgeopt.passes.training import Training

pytestmark = pytest.mark.heavy

STEP = Training(epochs=1, batch_size=4, steps_per_epoch=1)
STILL = Training(epochs=0)
SAMPLES = 4
# Application -> input size, options, and the last layer that is kept.
APPLICATIONS = {
    "MobileNet": (32, {"alpha": 0.25}, "conv_pw_3_relu"),
    "MobileNetV2": (32, {"alpha": 0.35}, "block_2_add"),
    "MobileNetV3Small": (32, {"alpha": 0.75}, "expanded_conv_4_add"),
    "EfficientNetB0": (32, {}, "block2b_add"),
    "EfficientNetV2B0": (32, {}, "block4b_add"),
    "ResNet50": (32, {}, "conv3_block1_out"),
    "DenseNet121": (32, {}, "pool2_pool"),
    "Xception": (71, {}, "block4_sepconv1_act"),
}
SMALL = ["cnn_1d", "auto_encoder", "u_net", "two_inputs", "nested"]


def application(name):
    import keras

    size, options, last = APPLICATIONS[name]
    keras.utils.set_random_seed(1)
    whole = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), include_top=False, **options)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(whole.get_layer(last).output)
    return keras.Model(whole.inputs, keras.layers.Dense(4, name="classes")(x), name=name)


def recurrent(keras):
    return keras.Sequential(
        [
            keras.Input((8, 6), name="sequence"),
            keras.layers.LSTM(12, name="memory"),
            keras.layers.Dense(4, name="classes"),
        ],
        name="recurrent",
    )


def context_of(model, **extra):
    """Noise for each input and output; a regression, so that any output will do."""
    generator = np.random.default_rng(0)
    arrays = [generator.random((SAMPLES, *tensor.shape[1:]), np.float32) for tensor in model.inputs]
    labels = [generator.random((SAMPLES, *tensor.shape[1:]), np.float32) for tensor in model.outputs]
    names = [tensor.name for tensor in model.inputs]
    x = arrays[0] if len(arrays) == 1 else dict(zip(names, arrays, strict=True))
    loss = "mse" if len(labels) == 1 else ["mse"] * len(labels)
    return PassContext(train=(x, labels[0] if len(labels) == 1 else labels), loss=loss, **extra)


def floats(data):
    return [tensor.name for tensor in read_model(data).main.tensors if tensor.is_float and tensor.elements]


def chain(model):
    """Run the passes; returns the last result."""
    context = context_of(model)
    smaller = ChannelPruning(fraction=0.2, of="params", multiple=4, minimum=4).apply(model, context)
    assert smaller.report.removed("params") >= 0.2
    pruned = Prune(sparsity=0.5, training=STEP).apply(smaller.model, context)
    # A kernel of n weights keeps round(n / 2) of them.
    assert all(abs(layer.after - 0.5) <= 0.5 / layer.size + 1e-9 for layer in pruned.report.layers)
    clustered = Cluster(clusters=8, preserve_sparsity=True, initialization="linear", training=STILL)
    shared = clustered.apply(pruned.model, context)
    assert all(layer.after <= 8 and layer.sparsity_after >= layer.sparsity_before for layer in shared.report.layers)
    files = []

    def convert(qat_model):
        files.append(edgeopt.convert(qat_model, allow_float_ops=True).model)
        return files[-1]

    listening = context_of(model, convert=convert, distillation=Distillation(teacher=model) if single(model) else None)
    trained = Qat(training=STEP).apply(shared.model, listening)
    # The file comes out as the report says.
    assert trained.report.fully_int8 == (not floats(files[-1])), (trained.report.skipped, floats(files[-1]))
    assert trained.report.measured_in_file and trained.report.preserved
    assert type(trained.model).__module__.split(".")[0] == type(model).__module__.split(".")[0]
    return trained


def single(model):
    return len(model.outputs) == 1


@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name):
    trained = chain(application(name))
    assert trained.report.fully_int8, trained.report.skipped
    check_kept(trained.report.before, trained.report.after)


@pytest.mark.parametrize("name", SMALL)
def test_small_families(name, build):
    import keras

    model = build(name, keras)
    model.trainable = True
    skipped = {entry.subject for entry in chain(model).report.skipped}
    assert skipped == ({"bottom"} if name == "u_net" else set())  # an ELU: TFLite has no int8 operator for it


def test_a_recurrent_model_is_pruned_distilled_and_converted():
    import keras

    model = recurrent(keras)
    context = context_of(model)
    pruned = Prune(sparsity=0.5, training=STEP).apply(model, context).model
    taught = Distil(teacher=model, training=STEP).apply(pruned, context).model
    before = measure_model(taught)
    assert all(item.sparsity == 0.5 for item in before.values())
    data = edgeopt.convert(taught, calibration=context.train[0]).model
    assert not floats(data)
    kept = check_kept(before, measure_file(data, before))
    assert set(kept.checked) == set(before) and not kept.unmatched
