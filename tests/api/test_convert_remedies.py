"""A model that TFLite cannot run as it is: what the error advises is done here, and then it converts."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import ConversionError, DataError, NotFullyIntegerError

COUNT, WORDS, STEPS = 16, 9, 6
RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(0, WORDS, (COUNT, STEPS))
PICTURES = RANDOM.integers(0, 255, (COUNT, 8, 8, 3))


def convert(model, data, **options):
    options = {"isolate": False, "fidelity": False, "calibration_samples": COUNT, **options}
    return edgeopt.convert(model, calibration=data, **options)


def refused(model, data, match, error=NotFullyIntegerError, **options):
    with pytest.raises(error, match=match):
        convert(model, data, **options)


def test_integer_pictures_want_a_float_input(any_keras):
    def model(dtype):
        layers = any_keras.layers
        given = any_keras.Input((8, 8, 3), dtype=dtype)
        return any_keras.Model(given, layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(given)))

    refused(
        model("uint8"), PICTURES.astype("uint8"), r"CAST .* stayed float, .*; give the model float32 inputs \(--inp"
    )
    artifact = convert(model("float32"), PICTURES.astype("float32"), input_type="uint8")
    assert artifact.sidecar["inputs"][0]["dtype"] == "uint8"


def test_the_ids_of_an_embedding_want_an_integer_input(any_keras):
    def model(**options):
        layers = any_keras.layers
        parts = [layers.Embedding(WORDS, 4), layers.Flatten(), layers.Dense(3)]
        return any_keras.Sequential([any_keras.Input((STEPS,), **options), *parts])

    advice = r"CAST .* stayed float, .*; declare the input of the ids as integers: .*dtype='int32'\), or accept"
    refused(model(), IDS.astype("float32"), advice)
    assert convert(model(dtype="int32"), IDS.astype("int32")).sidecar["inputs"][0]["dtype"] == "int32"


def test_the_mean_behind_a_mask_wants_no_mask(any_keras):
    def model(**options):
        layers = any_keras.layers
        parts = [layers.Embedding(WORDS, 4, **options), layers.GlobalAveragePooling1D(), layers.Dense(3)]
        return any_keras.Sequential([any_keras.Input((STEPS,), dtype="int32"), *parts])

    refused(model(mask_zero=True), IDS.astype("int32"), r"stayed float, .*; pool without a mask, mask_zero=False")
    assert convert(model(mask_zero=False), IDS.astype("int32")).sidecar["fully_int8"]


def test_categories_are_encoded_where_the_data_is_read():
    import keras

    layers, head = keras.layers, keras.layers.Dense(3)
    categories = IDS[:, :1].astype("int32")
    given = keras.Input((1,), dtype="int32")
    encoder = layers.CategoryEncoding(WORDS, output_mode="one_hot", name="encoder")
    model = keras.Model(given, head(encoder(given)))
    refused(
        model, categories, "; encode the categories where the data is read: let the file begin with the layer behind"
    )
    assert convert(model, categories, from_layer=head.name).sidecar["fully_int8"]


def test_counted_categories_are_cut_off(any_keras):
    layers = any_keras.layers
    given = any_keras.Input((2,), dtype="int32")
    x = layers.CategoryEncoding(WORDS, output_mode="multi_hot", name="encoder")(given)
    model = any_keras.Model(given, layers.Dense(3, name="head")(x))
    sentence = "'encoder' counts categories, which TFLite lacks; let the file begin behind: --from-layer head, and"
    refused(model, IDS[:, :2].astype("int32"), sentence, ConversionError)
    assert convert(model, IDS[:, :2].astype("int32"), from_layer="head").sidecar["fully_int8"]


@pytest.mark.parametrize("kind", ["StringLookup", "IntegerLookup"])
def test_a_lookup_is_named_with_its_operator_and_cut_off(any_keras, kind):
    strings = kind == "StringLookup"
    words = list("abcdefgh") if strings else list(range(10, 18))
    layers = any_keras.layers
    given = any_keras.Input((STEPS,), dtype="string" if strings else "int64")
    lookup = getattr(layers, kind)(vocabulary=words, name="lookup")
    x = layers.Embedding(WORDS + 1, 4, name="table")(lookup(given))
    model = any_keras.Model(given, layers.Dense(3)(layers.Flatten()(x)))
    raw = np.asarray(words)[RANDOM.integers(0, 8, (COUNT, STEPS))]
    sentence = rf"'lookup' \({kind}\) need the operator HashTableV2, which TFLite lacks; .*: --from-layer table, and"
    refused(model, raw, sentence, ConversionError)
    artifact = convert(model, raw, from_layer="table")
    assert artifact.sidecar["fully_int8"]
    assert artifact.sidecar["front"]["layers"][0]["vocabulary"][-8:] == words


def test_a_pass_takes_the_model_behind_a_lookup(any_keras):
    layers = any_keras.layers
    given = any_keras.Input((STEPS,), dtype="string")
    x = layers.Embedding(WORDS + 1, 4)(layers.StringLookup(vocabulary=list("abcdefgh"), name="lookup")(given))
    model = any_keras.Model(given, layers.Dense(3, name="end")(layers.Flatten()(x)))
    (item,) = [item for item in edgeopt.check_model(model, target="qat").items if item.verdict == "refused"]
    assert item.name == "lookup" and "looks values up in a table" in item.reason
    assert item.remedy.endswith("keras.Model(model.get_layer('lookup').output, model.outputs)")
    rest = any_keras.Model(model.get_layer("lookup").output, model.outputs)
    assert not edgeopt.check_model(rest, target="qat").refused


def test_a_table_of_ones_own_layer_is_named():
    import keras
    import tensorflow as tf

    class Rename(keras.layers.Layer):
        def build(self, shape):
            content = tf.lookup.KeyValueTensorInitializer([1, 2], [2, 1], tf.int64, tf.int64)
            self.table = tf.lookup.StaticHashTable(content, 0)

        def call(self, ids):
            return self.table.lookup(ids)

        def compute_output_spec(self, ids):
            return keras.KerasTensor(ids.shape, "int64")

    given = keras.Input((1,), dtype="int64")
    model = keras.Model(given, Rename(name="rename", dtype="int64")(given))
    refused(
        model,
        None,
        "The operator LookupTableFindV2 of layer 'rename' reads a table",
        ConversionError,
        quantize="float32",
    )


def test_an_exported_model_is_told_to_come_as_its_keras_file(tmp_path):
    import keras

    layers = keras.layers
    parts = [layers.Conv2D(4, 3), layers.LayerNormalization(), layers.Flatten(), layers.Dense(3)]
    model, data = keras.Sequential([keras.Input((8, 8, 3)), *parts]), PICTURES.astype("float32")
    model.export(str(tmp_path / "exported"), verbose=False)
    advice = "stayed float, .*; convert the .keras or .h5 file of the model, whose layers"
    refused(str(tmp_path / "exported"), data, advice, repair=False)  # which would rewrite the normalisation
    model.save(tmp_path / "model.keras")
    assert convert(str(tmp_path / "model.keras"), data, repair=False).sidecar["fully_int8"]


def test_an_exported_model_that_takes_text_is_told_the_same(tmp_path):
    import keras

    parts = [keras.layers.StringLookup(vocabulary=list("abcdefgh")), keras.layers.Embedding(WORDS, 4)]
    keras.Sequential([keras.Input((1,), dtype="string"), *parts]).export(str(tmp_path / "exported"), verbose=False)
    advice = r"take strings, .*; convert the .keras or .h5 file of the model, .* --from-layer NAME"
    refused(str(tmp_path / "exported"), None, advice, ConversionError, quantize="float32")


def test_a_generator_without_a_batch_axis_is_told_so():
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    pictures = PICTURES.astype("float32")
    advice = r"gives shape \(16, 8, 3\) .*; put the samples along a first axis of their own: x\[np.newaxis\] for one"
    refused(model, lambda: ([picture] for picture in pictures), advice, DataError)
    assert convert(model, lambda: ([picture[np.newaxis]] for picture in pictures)).sidecar["fully_int8"]
