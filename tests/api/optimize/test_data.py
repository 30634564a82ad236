"""What data `edgeopt.optimize` takes: several outputs, sample weights; and what is said of data without labels."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.api.optimize.data import check_outputs, check_recipe_data
from edgeopt.api.optimize.loss import loss_for
from edgeopt.data.dataset import load_dataset, sample_hashes
from edgeopt.devices import BenchPlan
from edgeopt.errors import DataError, UsageError
from edgeopt.recipes.convert import ConvertRecipe

SHORT = BenchPlan(min_seconds=0.0, max_seconds=0.05, min_runs=5, processes=1)
GENERATOR = np.random.default_rng(0)
KINDS = GENERATOR.integers(0, 3, 48)
SIZES = KINDS[:, None].astype(np.float32)
X = (GENERATOR.normal(size=(48, 6, 6, 1)) + KINDS[:, None, None, None]).astype(np.float32)
LABELS = {"list": [KINDS, SIZES], "dict": {"size": SIZES, "kind": KINDS}}
STRUCTURED = {"kind": "sparse_categorical_crossentropy", "size": "mse"}


def network(keras, outputs="list"):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = keras.Input((6, 6, 1), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(image)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    kind, size = layers.Dense(3, activation="softmax", name="kind")(x), layers.Dense(1, name="size")(x)
    found = {"one": kind, "list": [kind, size], "dict": {"kind": kind, "size": size}}[outputs]
    return keras.Model(image, found, name="both")


def optimized(model, passes, train, validation, **options):
    recipe = {"pass": [{"kind": kind, **more} for kind, more in passes.items()], **options.pop("recipe", {})}
    return edgeopt.optimize(model, recipe, train=train, validation=validation, bench=SHORT, **options)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("outputs", "labels", "passes"),
    [
        (
            "list",
            "dict",
            {"prune": {"sparsity": 0.5}, "qat": {}},
        ),
        (
            "dict",
            "dict",
            {"channels": {"fraction": 0.2, "multiple": 1, "minimum": 1, "importance": "taylor"}, "qat": {}},
        ),
        ("list", "list", {"finetune": {}}),
    ],
)
def test_all_outputs_of_a_model_are_trained_and_the_one_that_was_named_is_scored(any_keras, outputs, labels, passes):
    model = network(any_keras, outputs)
    model.compile("adam", STRUCTURED)
    result = optimized(model, passes, (X, LABELS[labels]), (X, LABELS[labels]), recipe={"output": "kind"})
    again = edgeopt.validate(result.artifact, data=(X, KINDS), output_name="kind", bench=SHORT)
    assert result.stages[-1].figures["accuracy"] == again.scores.candidate.value
    assert result.recipe.to_tables()["output_name"] == "kind"
    for name in ("kind", "size"):  # both heads have moved
        before, after = (item.get_layer(name).get_weights()[1] for item in (model, result.model))
        assert np.abs(before - after).min() > 0


@pytest.mark.parametrize("outputs", ["list", "dict"])
@pytest.mark.parametrize("labels", ["list", "dict"])
def test_each_output_gets_the_loss_that_its_labels_suggest(any_keras, outputs, labels):
    model = network(any_keras, outputs)
    found = loss_for(model, None, load_dataset((X, LABELS[labels])))
    named = found if isinstance(found, dict) else dict(zip(["kind", "size"], found, strict=True))
    assert {name: type(loss).__name__ for name, loss in named.items()} == {
        "kind": "SparseCategoricalCrossentropy", "size": "MeanSquaredError",
    }  # fmt: skip


def test_calibration_comes_from_the_inputs_and_the_labels_that_it_is_balanced_by():
    for train in ((X, LABELS["dict"]), (X, LABELS["list"]), (X, KINDS, np.ones(48))):
        calibration = check_recipe_data(train, (X, KINDS), None, ConvertRecipe()).calibration
        assert (len(calibration.arrays), calibration.weights) == (1, None)
        assert calibration.labels is (KINDS if train[1] is KINDS else None)
        np.testing.assert_array_equal(calibration.arrays[0], X)


def test_the_original_is_calibrated_on_the_samples_that_convert_chooses(tmp_path):
    import keras

    x = np.random.default_rng(3).normal(size=(400, 6, 6, 1)).astype(np.float32)
    kinds = np.repeat([0, 1, 2], [380, 12, 8])  # a plain choice of 60 would hold one or two of the rare classes
    np.savez(tmp_path / "train.npz", x=x, y=kinds)
    model = network(keras, "one")
    settings = {"calibration_samples": 60, "seed": 5}
    for train in ((x, kinds), tmp_path / "train.npz"):
        result = edgeopt.optimize(model, {"convert": settings}, train=train, validation=(X, KINDS), bench=SHORT)
        alone = edgeopt.convert(model, calibration=train, **settings)
        assert result.artifact.sidecar["calibration"]["hashes"] == alone.sidecar["calibration"]["hashes"]
        assert result.artifact.model == alone.model
    chosen = sample_hashes([x])
    found = [kinds[chosen.index(item)] for item in alone.sidecar["calibration"]["hashes"]]
    assert np.bincount(found).tolist() == [40, 12, 8]


def test_a_folder_calibrates_the_original_as_it_does_in_convert(tmp_path):
    import keras
    from PIL import Image

    generator = np.random.default_rng(0)
    for kind, count in (("a", 30), ("b", 3), ("c", 3)):
        (tmp_path / kind).mkdir()
        for index in range(count):
            picture = generator.integers(0, 256, (9, 8)).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / kind / f"{index}.jpg")
    model = network(keras, "one")
    settings = {"calibration_samples": 12, "image_size": [6, 6], "image_resize": "crop", "image_scaling": "0..1"}
    result = edgeopt.optimize(model, {"convert": settings}, train=tmp_path, validation=tmp_path, bench=SHORT)
    alone = edgeopt.convert(model, calibration=tmp_path, **settings)
    assert result.artifact.model == alone.model
    assert result.artifact.sidecar["images"] == alone.sidecar["images"]
    assert alone.sidecar["images"]["classes"] == ["a", "b", "c"]


def test_a_training_folder_whose_classes_do_not_fit_the_outputs_is_refused_before_anything_is_trained(tmp_path):
    import keras
    from PIL import Image

    for kind in "ab":
        (tmp_path / kind).mkdir()
        Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / kind / "1.png")
    with pytest.raises(DataError, match=r"has 2 classes \(a, b\), and the output 'kind' has 3; give the folder"):
        edgeopt.optimize(network(keras, "one"), {}, train=tmp_path, validation=(X, KINDS), bench=SHORT)


def test_a_damaged_picture_is_found_before_anything_is_trained(tmp_path, monkeypatch):
    import keras
    from PIL import Image

    monkeypatch.setattr("edgeopt.data.folder.KEPT_BYTES", 0)
    for kind in "abc":
        (tmp_path / kind).mkdir()
        Image.fromarray(np.arange(36, dtype=np.uint8).reshape(6, 6)).save(tmp_path / kind / "1.png")
    whole = (tmp_path / "c" / "1.png").read_bytes()
    (tmp_path / "c" / "1.png").write_bytes(whole[:-30])
    with pytest.raises(DataError, match=r"c/1\.png is not a readable image"):
        edgeopt.optimize(network(keras, "one"), {}, train=tmp_path, validation=(X, KINDS), bench=SHORT)


@pytest.mark.heavy
def test_sample_weights_count_in_training():
    import keras

    def trained(weights):
        wrong = np.where(np.arange(48) < 24, KINDS, 0)  # the second half has labels that are wrong
        done = optimized(network(keras, "one"), {"finetune": {"epochs": 1}}, (X, wrong, weights), (X, KINDS))
        return done.model.get_weights()[-1]

    with_zeros, without = trained(np.repeat([1.0, 0.0], 24)), trained(np.ones(48))
    assert np.abs(with_zeros - without).max() > 1e-4
    assert all(np.array_equal(*pair) for pair in zip(without, trained(np.ones(48)), strict=True))


@pytest.mark.parametrize("source", ["array", "dict", "npz", "tf.data", "generator"])
def test_training_data_without_labels_are_called_that(source, tmp_path):
    import tensorflow as tf

    np.savez(tmp_path / "noy.npz", x=X)
    train = {
        "array": X, "dict": {"x": X}, "npz": str(tmp_path / "noy.npz"),
        "tf.data": tf.data.Dataset.from_tensor_slices(X).batch(8), "generator": lambda: iter([[X]]),
    }[source]  # fmt: skip
    with pytest.raises(DataError, match=r"^The training data have no labels; give x and y .*\(x, y\)"):
        check_recipe_data(train, (X, KINDS), None, ConvertRecipe())


def test_validation_data_without_labels_are_refused_before_anything_is_converted(any_keras):
    import tensorflow as tf

    model = network(any_keras, "one")
    for validation in (X, tf.data.Dataset.from_tensor_slices(X).batch(8)):
        data = check_recipe_data((X, KINDS), validation, None, ConvertRecipe())
        with pytest.raises(DataError, match="The validation data hold no labels, which the metric accuracy needs"):
            check_outputs(model, data, "accuracy", None)


@pytest.mark.parametrize(
    ("train", "output", "error", "message"),
    [
        (LABELS["dict"], None, UsageError, "has the outputs kind, size, .*output_name = '...' in a recipe"),
        (LABELS["dict"], "kid", UsageError, "has no output 'kid'; did you mean 'kind'"),
        ({"kid": KINDS, "size": SIZES}, "kind", DataError, "training data have labels for an output 'kid'; did you"),
        ({"kind": KINDS}, "kind", DataError, "has no labels for the output 'size'"),
        ([KINDS, SIZES, SIZES], "kind", DataError, "labels for 3 outputs, but the model has 2: kind, size"),
        (KINDS, "kind", DataError, "training data have labels for one output, and the model has 2: kind, size"),
    ],
)
def test_labels_and_names_that_are_not_of_the_models_outputs_are_refused(train, output, error, message):
    import keras

    with pytest.raises(error, match=message):
        optimized(network(keras), {"finetune": {}}, (X, train), (X, LABELS["dict"]), recipe={"output": output})


def test_a_metric_that_is_not_known_is_refused_before_anything_is_converted():
    import keras

    with pytest.raises(UsageError, match=r"^Unknown metric 'acuracy'; did you mean 'accuracy'\?$"):
        optimized(network(keras, "one"), {}, (X, KINDS), (X, KINDS), recipe={"metric": "acuracy"})
    check_outputs(network(keras, "one"), check_recipe_data((X, KINDS), (X, KINDS), None, ConvertRecipe()), "acc", None)


def test_folders_of_images_are_read_as_the_conversion_reads_them(tmp_path):
    from PIL import Image

    for kind, value in (("dark", 0), ("light", 255)):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.full((9, 7, 3), value, np.uint8)).save(tmp_path / kind / "a.png")
    settings = ConvertRecipe(image_size=(6, 4), image_scaling="-1..1")
    data = check_recipe_data(tmp_path, tmp_path, None, settings)
    for found in (data.train, data.validation, data.calibration):
        assert found.arrays[0].shape == (2, 6, 4, 3)
        assert found.arrays[0][:, 0, 0, 0].tolist() == [-1, 1]
    assert data.train.labels.tolist() == [0, 1]
