"""What TFMOT's preserving schemes lose, and the pass does not: model-optimization issues 979 and 1056, side by side."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.api.convert import convert
from edgeopt.passes.properties import measure_file, measure_kernel
from edgeopt.passes.qat import Qat
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

pytestmark = pytest.mark.heavy
KERNELS = ("pointwise", "normed")
EPOCHS, BATCH, RATE = 2, 8, 0.01


def clustered(kernel):
    """Eight values."""
    values = np.linspace(-np.abs(kernel).max(), np.abs(kernel).max(), 8)
    return values[np.abs(kernel[..., np.newaxis] - values).argmin(axis=-1)].astype("float32")


def sparse_and_clustered(kernel):
    """Six zeros of ten, and few values besides."""
    return np.where(np.abs(kernel) < np.quantile(np.abs(kernel), 0.6), 0.0, clustered(kernel)).astype("float32")


def prepared(change):
    """A 1x1 convolution, and one of 3x3 with BatchNormalization and ReLU behind it, as in ResNet-50."""
    import tf_keras

    tf_keras.utils.set_random_seed(3)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(3, 3, padding="same", name="stem"),
            layers.Conv2D(16, 1, activation="relu", name="pointwise"),
            layers.Conv2D(16, 3, use_bias=False, name="normed"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(4, name="values"),
        ]
    )
    for name in (*KERNELS, "values"):
        kernel, *rest = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([change(kernel), *rest])
    return model


def data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(64, 8, 8, 3)).astype("float32"), generator.normal(size=(64, 4)).astype("float32")


def by_tfmot(model, preserve_sparsity):
    """TFMOT's own recipe; returns the kernels of the stripped model."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    combine, quantization = tfmot.experimental.combine, tfmot.quantization.keras
    scheme = combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=preserve_sparsity)
    trained = quantization.quantize_apply(quantization.quantize_annotate_model(model), scheme)
    trained.compile(tf_keras.optimizers.Adam(RATE), "mse")
    trained.fit(*data(), batch_size=BATCH, epochs=EPOCHS, verbose=0)
    stripped = combine.strip_clustering_cqat(trained)
    return {name: kernel_in(stripped.get_layer(f"quant_{name}")) for name in KERNELS}


def kernel_in(wrapper):
    found = [weight for weight in (*wrapper.weights, getattr(wrapper.layer, "kernel", None)) if weight is not None]
    return next(weight for weight in found if weight.name.split("/")[-1].split(":")[0] == "kernel").numpy()


def by_edgeopt(model):
    """The pass; returns the float model's kernels and what is in the file's integers."""
    training = Training(epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE)
    context = PassContext(train=data(), loss="mse")
    result = Qat(training=training).apply(model, context)
    file = measure_file(convert(result.exported, isolate=False).model)
    kernels = {name: result.model.get_layer(name).get_weights()[0] for name in KERNELS}
    return kernels, {name: next(item for key, item in file.items() if name in key) for name in KERNELS}


def test_clusters_are_lost_by_tfmot_and_kept_by_the_pass():
    model = prepared(clustered)
    before = {name: len(np.unique(model.get_layer(name).get_weights()[0])) for name in KERNELS}
    theirs = {name: len(np.unique(kernel)) for name, kernel in by_tfmot(model, False).items()}
    assert all(theirs[name] > before[name] for name in KERNELS)
    kernels, file = by_edgeopt(model)
    for name in KERNELS:
        assert len(np.unique(kernels[name])) <= before[name]
        assert file[name].clusters <= before[name]


def test_sparsity_with_clusters_is_lost_by_tfmot_and_kept_by_the_pass():
    """The issue's kernel became nothing but zeros; with TFMOT 0.8.1 it is the zeros that are gone."""
    model = prepared(sparse_and_clustered)
    before = {name: measure_kernel(model.get_layer(name).get_weights()[0], (-1,)) for name in KERNELS}
    assert all(item.sparsity > 0.5 for item in before.values())
    theirs = {name: float(np.mean(kernel == 0)) for name, kernel in by_tfmot(model, True).items()}
    assert all(share < 0.1 or share == 1.0 for share in theirs.values())
    kernels, file = by_edgeopt(model)
    for name in KERNELS:
        assert before[name].sparsity <= np.mean(kernels[name] == 0) < 0.9
        assert file[name].zeros >= before[name].zeros
        assert file[name].clusters <= before[name].clusters
