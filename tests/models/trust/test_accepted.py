"""`edgeopt.models.trust`: what people save loads as it did before, and names nothing that is refused."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

from edgeopt.errors import UnsafeModelError
from edgeopt.models.detect import detect
from edgeopt.models.load import import_keras, load_layers, load_model
from edgeopt.models.trust import check_file
from edgeopt.models.trust.configs import check_configuration

# Arguments of the layers that need some, as Keras 3 and tf_keras call them.
ARGUMENTS = {
    "Activation": ["relu"],
    "ActivityRegularization": [0.1],
    "CategoryEncoding": [4],
    "CenterCrop": [4, 4],
    "Conv1D": [2, 3],
    "Conv1DTranspose": [2, 3],
    "Conv2D": [2, 3],
    "Conv2DTranspose": [2, 3],
    "Conv3D": [2, 3],
    "Conv3DTranspose": [2, 3],
    "ConvLSTM1D": [2, 3],
    "ConvLSTM2D": [2, 3],
    "ConvLSTM3D": [2, 3],
    "Cropping1D": [1],
    "Dense": [3],
    "DepthwiseConv1D": [3],
    "DepthwiseConv2D": [3],
    "Discretization": [[0.0, 1.0]],
    "Dropout": [0.1],
    "AlphaDropout": [0.1],
    "EinsumDense": ["abc,cd->abd", (None, 3)],
    "Embedding": [5, 3],
    "GaussianDropout": [0.1],
    "GaussianNoise": [0.1],
    "GRU": [3],
    "GRUCell": [3],
    "GroupNormalization": [1],
    "GroupQueryAttention": [4, 2, 1],
    "Hashing": [4],
    "LSTM": [3],
    "LSTMCell": [3],
    "LocallyConnected1D": [2, 3],
    "LocallyConnected2D": [2, 3],
    "MaxNumBoundingBoxes": [4],
    "MultiHeadAttention": [2, 3],
    "Permute": [(2, 1)],
    "RandomBrightness": [0.2],
    "RandomContrast": [0.2],
    "RandomCrop": [4, 4],
    "RandomHeight": [0.2],
    "RandomRotation": [0.2],
    "RandomTranslation": [0.2, 0.2],
    "RandomWidth": [0.2],
    "RandomZoom": [0.2],
    "RepeatVector": [2],
    "Rescaling": [2.0],
    "Reshape": [(-1,)],
    "Resizing": [4, 4],
    "SeparableConv1D": [2, 3],
    "SeparableConv2D": [2, 3],
    "SimpleRNN": [3],
    "SimpleRNNCell": [3],
    "SpatialDropout1D": [0.1],
    "HashedCrossing": [4],
}
REFUSED = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
SHAPES = ((6,), (6, 4), (8, 8, 3), (4, 8, 8, 3), (3, 4, 8, 8, 3))


def made(lib, name):
    """A layer of the class, or None if it cannot be made so simply."""
    layers = lib.layers
    inner = {
        "Bidirectional": lambda: layers.LSTM(2),
        "TimeDistributed": lambda: layers.Dense(2),
        "SpectralNormalization": lambda: layers.Dense(2),
        "RNN": lambda: layers.StackedRNNCells([layers.GRUCell(2), layers.LSTMCell(2)]),
        "StackedRNNCells": lambda: [layers.GRUCell(2)],
        "Wrapper": lambda: layers.Dense(2),
        "RandomApply": lambda: layers.Dense(2),
        "Pipeline": lambda: [layers.Rescaling(2.0)],
    }
    arguments = [inner[name]()] if name in inner else ARGUMENTS.get(name, [])
    try:
        return getattr(layers, name)(*arguments)
    except Exception:
        return None


def models_of_each_layer(lib):
    for name in sorted(dir(lib.layers)):
        kind = getattr(lib.layers, name)
        if not inspect.isclass(kind) or name in REFUSED or not issubclass(kind, lib.layers.Layer):
            continue
        layer = made(lib, name)
        if layer is None:
            continue
        for shape in SHAPES:
            x = lib.Input(shape, name="x")
            for given in (lambda x: x, lambda x: [x, x]):
                try:
                    model = lib.Model(x, made(lib, name)(given(x)))
                except Exception:
                    continue
                yield name, model
                break
            else:
                continue
            break


@pytest.mark.heavy
def test_each_layer_of_keras_is_accepted(any_keras, tmp_path):
    seen = set()
    for name, model in models_of_each_layer(any_keras):
        for suffix in (".keras", ".h5"):
            path = tmp_path / f"{name}{suffix}"
            try:
                model.save(path)
            except Exception:
                continue  # it cannot be saved so by Keras either
            check_file(detect(path), any_keras)
            seen.add(name)
    assert len(seen) > (110 if any_keras.__name__ == "keras" else 90), sorted(seen)


def compiled(lib, seed=0):
    """Objects of each kind that a configuration may hold."""
    layers = lib.layers
    x = lib.Input((8, 8, 3), name="x")
    y = layers.Conv2D(
        4,
        3,
        activation=layers.LeakyReLU(),
        kernel_initializer=lib.initializers.VarianceScaling(2.0, seed=seed),
        kernel_regularizer=lib.regularizers.L1L2(0.1, 0.1),
        bias_constraint=lib.constraints.MaxNorm(2.0),
        dtype="mixed_float16" if lib.__name__ == "tf_keras" else lib.dtype_policies.DTypePolicy("mixed_float16"),
    )(x)
    y = layers.Conv2D(4, 3, kernel_regularizer=lib.regularizers.OrthogonalRegularizer())(y)
    y = layers.RandomFlip(seed=1)(layers.Normalization(mean=[0.0] * 4, variance=[1.0] * 4)(y))
    y = layers.GlobalAveragePooling2D()(y)
    model = lib.Model(x, layers.Dense(2, activation=lib.activations.softmax, name="kind")(y))
    schedule = lib.optimizers.schedules.CosineDecay(0.1, 100)
    metrics = ["accuracy", lib.metrics.TopKCategoricalAccuracy(2), lib.metrics.AUC()]
    loss = lib.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(lib.optimizers.Adam(schedule), loss=loss, metrics=metrics)
    return model


@pytest.mark.smoke
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_objects_of_each_kind_load(any_keras, tmp_path, suffix):
    model = compiled(any_keras)
    outer = any_keras.Sequential([any_keras.Input((8, 8, 3), name="x"), model])
    for number, item in enumerate((model, outer)):
        path = tmp_path / f"m{number}{suffix}"
        item.save(path)
        x = np.ones((1, 8, 8, 3), np.float32)
        np.testing.assert_array_equal(load_model(path).model(x), item(x))


def test_a_loss_of_ones_own_need_not_be_known(any_keras, tmp_path):
    """The outermost model is never compiled: it loaded without the function before, and does still."""

    def mine(truth, found):
        return any_keras.ops.mean(truth - found) if any_keras.__name__ == "keras" else truth - found

    for suffix in (".keras", ".h5"):
        model = any_keras.Sequential([any_keras.Input((4,), name="x"), any_keras.layers.Dense(2)])
        model.compile("adam", loss=mine)
        model.save(tmp_path / f"m{suffix}")
        assert load_model(tmp_path / f"m{suffix}").spec.inputs[0].name == "x"


@pytest.mark.smoke
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_operations_of_both_flavours_load(any_keras, tmp_path, suffix):
    x = any_keras.Input((4, 6), name="x")
    if any_keras.__name__ == "keras":
        ops = any_keras.ops
        y = ops.concatenate([ops.relu(x * 2.0)[:, 1:, ::2], ops.mean(x, axis=2, keepdims=True)[:, 1:]], axis=-1)
        y = ops.einsum("abc,dc->abd", y, np.ones((3, 4), np.float32))
    else:
        import tensorflow as tf

        y = tf.concat([tf.nn.relu(x * 2.0)[:, 1:, ::2], tf.reduce_mean(x, axis=2, keepdims=True)[:, 1:]], axis=-1)
        y = tf.transpose(tf.math.softplus(tf.clip_by_value(y, -1.0, 1.0)), [0, 2, 1])
        y = tf.reshape(y, [tf.shape(y)[0], -1]) + 1.0
    if any_keras.__name__ == "keras" and suffix == ".h5":
        return  # Keras 3 cannot load it either
    model = any_keras.Model(x, y)
    path = tmp_path / f"m{suffix}"
    model.save(path)
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
    np.testing.assert_array_equal(load_model(path).model(x), model(x))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_activations_of_tensorflow_load(tmp_path, suffix):
    """``activation=tf.nn.relu`` is saved as a function of a module of TensorFlow."""
    import tensorflow as tf
    import tf_keras

    kinds = (tf.nn.relu, tf.nn.swish, tf.nn.leaky_relu, tf.math.sin, tf.tanh)
    layers = [tf_keras.layers.Dense(3, activation=kind) for kind in kinds]
    path = tmp_path / f"m{suffix}"
    tf_keras.Sequential([tf_keras.Input((4,), name="x"), *layers]).save(path)
    check_file(detect(path), tf_keras)


def test_quantised_layers_of_keras_load(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3), keras.layers.Dense(2)])
    model.quantize("int8")
    model.save(tmp_path / "m.keras")
    x = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(load_model(tmp_path / "m.keras").model(x), model(x), atol=1e-6)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name", ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "ResNet50", "DenseNet121",
             "NASNetMobile", "Xception", "ConvNeXtTiny", "InceptionV3", "VGG16"]
)  # fmt: skip
def test_applications_are_accepted(any_keras, tmp_path, name):
    model = getattr(any_keras.applications, name)(weights=None)
    for suffix, maker in (
        (".keras", any_keras.saving.serialize_keras_object),
        (".h5", lambda it: json.loads(it.to_json())),
    ):
        check_configuration(json.loads(json.dumps(maker(model))), any_keras, tmp_path / f"m{suffix}")


def test_the_real_files_load(shared_data):
    for path in ("cifar10/mlperf_resnet8.h5", "imagenet/mobilenet_v2.h5", "kws/ref_saved_model"):
        assert load_model(shared_data / path).spec.inputs
    for path in sorted((shared_data / "hard").glob("*.h5")):
        file = detect(path)
        check_file(file, import_keras(file.flavour))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_models_of_tfmot_are_accepted_as_tfmot_and_edgeopt_save_them(tmp_path, suffix):
    import tensorflow_model_optimization as tfmot
    import tf_keras

    def small():
        layers = [tf_keras.layers.Conv2D(4, 3), tf_keras.layers.BatchNormalization(), tf_keras.layers.ReLU()]
        layers += [tf_keras.layers.DepthwiseConv2D(3, activation="relu"), tf_keras.layers.Flatten()]
        return tf_keras.Sequential([tf_keras.Input((8, 8, 3), name="x"), *layers, tf_keras.layers.Dense(2)])

    clustering = tfmot.clustering.keras
    start = {"number_of_clusters": 4, "cluster_centroids_init": clustering.CentroidInitialization.LINEAR}
    cases = {
        "quantized": (tfmot.quantization.keras.quantize_model(small()), tfmot.quantization.keras.quantize_scope()),
        "pruned": (tfmot.sparsity.keras.prune_low_magnitude(small()), tfmot.sparsity.keras.prune_scope()),
        "clustered": (clustering.cluster_weights(small(), **start), clustering.cluster_scope()),
    }
    for name, (model, scope) in cases.items():
        path = tmp_path / f"{name}{suffix}"
        with scope:
            model.save(path)
            check_file(detect(path), tf_keras)
            if (name, suffix) != ("quantized", ".keras"):  # TFMOT's own layer loses variables there
                assert load_layers(path).count_params() == model.count_params()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_custom_functions_and_registered_classes_are_accepted(any_keras, tmp_path, suffix, monkeypatch):
    import sys
    import types

    module = types.ModuleType("mine_to_trust")

    @any_keras.saving.register_keras_serializable("mine")
    class Scale(any_keras.layers.Layer):
        def call(self, x):
            return x * 2

    def hot(x):
        return x * 3

    module.hot, hot.__module__, Scale.__module__ = hot, "mine_to_trust", "mine_to_trust"
    monkeypatch.setitem(sys.modules, "mine_to_trust", module)
    layers = [Scale(), any_keras.layers.Dense(2, activation=hot)]
    path = tmp_path / f"m{suffix}"
    any_keras.Sequential([any_keras.Input((4,), name="x"), *layers]).save(path)
    with any_keras.utils.custom_object_scope({"hot": hot}):
        check_file(detect(path), any_keras)
    if suffix == ".keras":  # in HDF5 it is a mere name, and Keras says that it does not know it
        with pytest.raises(UnsafeModelError, match="needs the custom object 'hot'"):
            load_model(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_ones_own_class_may_be_called_as_one_of_keras(any_keras, tmp_path, suffix):
    kind = type("LayerNormalization", (any_keras.layers.LayerNormalization,), {"__module__": "theirs"})
    own = any_keras.saving.register_keras_serializable("theirs")(kind)
    path = tmp_path / f"m{suffix}"
    any_keras.Sequential([any_keras.Input((4,), name="x"), own()]).save(path)
    check_file(detect(path), any_keras)
