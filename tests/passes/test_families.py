"""Every pass on every family of models: random weights, small inputs, one training step, an int8 file at the end.

The passes run behind each other, as in a recipe, and what one wins the next must keep: channels, finetune, prune,
distil with the first model as the teacher, cluster, then quantisation-aware training, whose file is measured.

MobileNet and MobileNetV2 are whole. The chain of passes takes minutes on each of the other `keras.applications`: these
end behind their first blocks of each kind, unless `EDGEOPT_WHOLE_FAMILIES=1` asks for all of them. (Channel removal and the
bridge are tested on them as a whole elsewhere.) Single steps run operator by operator there: to trace and to compile a large
network for one step is most of the time otherwise. The small families train in compiled graphs in Keras 3, as every
training of the other tests does, and operator by operator in tf_keras.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

import numpy as np
import pytest

import edgeopt
from edgeopt.flatbuffer import read_model
from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.channels import ChannelPruning
from edgeopt.passes.channels.dependencies import analyse
from edgeopt.passes.channels.verify import tolerance
from edgeopt.passes.cluster.cluster import Cluster
from edgeopt.passes.distil import Distil
from edgeopt.passes.finetune import FineTune
from edgeopt.passes.properties import check_kept, measure_file, measure_model
from edgeopt.passes.prune.prune import Prune
from edgeopt.passes.qat import Qat
from edgeopt.training.context import PassContext
from edgeopt.training.distillation import Distillation
from edgeopt.training.options import Training

pytestmark = pytest.mark.heavy

# TensorFlow says that what prepares the data runs as a graph all the same.
IN_STEPS = pytest.mark.filterwarnings(
    "ignore:Even though the `tf.config.experimental_run_functions_eagerly`:UserWarning"
)
STEP = Training(epochs=1, batch_size=4, steps_per_epoch=1)
SAMPLES = 4
CLUSTERS = 8
WHOLE = os.environ.get("EDGEOPT_WHOLE_FAMILIES") == "1"
# Application -> input size (the least that it takes, or 32), a width where its constructor offers one, and the last
# layer that is kept where not all are.
APPLICATIONS = {
    "MobileNet": (32, {"alpha": 0.25}, None),
    "MobileNetV2": (32, {"alpha": 0.35}, None),
    "MobileNetV3Small": (32, {"alpha": 0.75}, "expanded_conv_4_add"),
    "EfficientNetB0": (32, {}, "block2b_add"),
    "EfficientNetV2B0": (32, {}, "block4b_add"),
    "ResNet50": (32, {}, "conv3_block1_out"),
    "DenseNet121": (32, {}, "pool2_pool"),
    "Xception": (71, {}, "block4_sepconv1_act"),
}
SMALL = [pytest.param("cnn_1d", marks=pytest.mark.smoke), "auto_encoder", "u_net", "two_inputs", "nested"]


def application(name):
    import keras

    size, options, last = APPLICATIONS[name]
    keras.utils.set_random_seed(1)
    make = getattr(keras.applications, name)
    whole = make(weights=None, input_shape=(size, size, 3), classes=4, classifier_activation=None, **options)
    if last is None or WHOLE:
        return whole
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


@contextmanager
def op_by_op(wanted=True):
    """Run what is wrapped in `tf.function` without a graph."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(wanted)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


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


def converter(files):
    """What a run gives to its passes: it keeps the files, and traces graphs whatever the training does."""

    def convert(model):
        with op_by_op(False):
            files.append(edgeopt.convert(model, allow_float_ops=True).model)
        return files[-1]

    return convert


def flavour(model):
    return type(model).__module__.split(".")[0]


def chain(model):
    """Run the passes; returns the last result."""
    context = context_of(model)
    cut = ChannelPruning(fraction=0.2, of="params", multiple=4, minimum=4).apply(model, context)
    assert cut.report.removed("params") >= 0.2
    # Each tensor of the small model was compared with the big one's, whose removed channels were zeroed.
    assert cut.report.max_difference <= tolerance(analyse(read_native(model)))
    tuned = FineTune(training=STEP).apply(cut.model, context).model
    assert not equal(tuned.get_weights(), cut.model.get_weights())
    pruned = Prune(sparsity=0.5, training=STEP).apply(tuned, context)
    # A kernel of n weights keeps round(n / 2) of them.
    assert all(abs(layer.after - 0.5) <= 0.5 / layer.size + 1e-9 for layer in pruned.report.layers)
    teaching = Distil(teacher=model, training=STEP)
    taught = teaching.apply(pruned.model, context).model if len(model.outputs) == 1 else pruned.model
    clustered = Cluster(clusters=CLUSTERS, preserve_sparsity=True, initialization="linear", training=STEP)
    shared = clustered.apply(taught, context)
    assert all(layer.after <= CLUSTERS for layer in shared.report.layers)
    assert all(layer.sparsity_after >= layer.sparsity_before >= 0.49 for layer in shared.report.layers)
    files = []
    distillation = Distillation(teacher=model) if len(model.outputs) == 1 else None
    listening = context_of(model, convert=converter(files), distillation=distillation)
    trained = Qat(training=STEP).apply(shared.model, listening)
    # The file comes out as the report says.
    assert trained.report.fully_int8 == (not floats(files[-1])), (trained.report.skipped, floats(files[-1]))
    assert trained.report.measured_in_file and trained.report.preserved
    assert all(flavour(one) == flavour(model) for one in (cut.model, tuned, pruned.model, taught, trained.model))
    return trained


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@IN_STEPS
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name):
    with op_by_op():
        trained = chain(application(name))
    assert trained.report.fully_int8, trained.report.skipped
    check_kept(trained.report.before, trained.report.after)


@IN_STEPS
@pytest.mark.parametrize("name", SMALL)
def test_small_families(name, build, keras):
    model = build(name, keras)
    model.trainable = True
    with op_by_op(keras.__name__ == "tf_keras"):
        skipped = {entry.subject for entry in chain(model).report.skipped}
    assert skipped == ({"bottom"} if name == "u_net" else set())  # an ELU: TFLite has no int8 operator for it


def test_a_recurrent_model_is_pruned_distilled_and_converted(keras):
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


PASSES = {
    "channels": lambda model: ChannelPruning(fraction=0.2, of="params", multiple=4, minimum=4),
    "cluster": lambda model: Cluster(clusters=CLUSTERS, initialization="linear", training=STEP),
    "distil": lambda model: Distil(teacher=model, training=STEP),
    "finetune": lambda model: FineTune(training=STEP),
    "prune": lambda model: Prune(sparsity=0.5, training=STEP),
    "qat": lambda model: Qat(training=STEP),
}


def leaves(model):
    """Each layer that holds no other, by name."""
    inside = list(model._flatten_layers(include_self=False, recursive=True))
    return {layer.name: layer for layer in inside if not hasattr(layer, "layers") and layer.weights}


@IN_STEPS
@pytest.mark.parametrize("name", PASSES)
def test_a_frozen_backbone_stays_frozen(name, build, keras):
    """Its flags in the returned model, and its weights, moving statistics included.

    Channel removal takes some of them away, and pruning makes some zero: that needs no training.
    """
    model = build("nested", keras)
    before = {key: [weight.numpy() for weight in layer.weights] for key, layer in leaves(model).items()}
    with op_by_op():
        result = PASSES[name](model).apply(model, context_of(model)).model
    found = leaves(result)
    assert {key: layer.trainable for key, layer in found.items()} == {
        "stem": False,
        "stem_norm": False,
        "spatial": False,
        "hidden": True,
        "classes": True,
    }
    assert len(result.trainable_weights) == 4
    if name != "channels":
        for key, layer in found.items():
            weights = [weight.numpy() for weight in layer.weights]
            if name == "prune" and not layer.trainable:
                weights = [np.where(now == 0, was, now) for now, was in zip(weights, before[key], strict=True)]
            assert equal(weights, before[key]) == (not layer.trainable), key
    # The model that was given is as it was.
    assert all(equal([weight.numpy() for weight in layer.weights], before[key]) for key, layer in leaves(model).items())
