"""The training loop that all passes share, in both flavours."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgeopt.errors import DataError, ModelError, RecipeError, TrainingDivergedError, UsageError
from edgeopt.training.context import PassContext
from edgeopt.training.loop import train
from edgeopt.training.options import EarlyStop, Training

LOSS = "sparse_categorical_crossentropy"


def data(count=70, seed=0):
    """Samples whose class shows: the brighter half of the picture."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    images = generator.normal(size=(count, 6, 6, 1)).astype(np.float32)
    images[labels == 1, :3] += 1.5
    return images, labels


def network(keras, seed=1):
    """A bit of everything that has a state: weights, moving statistics, random numbers."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.4, name="drop"),
            layers.Dense(2, activation="softmax", name="classes"),
        ],
        name="small",
    )


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.mark.heavy
def test_the_loss_falls_and_the_history_has_an_entry_an_epoch(keras):
    model = network(keras)
    context = PassContext(train=data(), validation=data(20, 5), loss=LOSS)
    done = train(model, context, Training(epochs=5, batch_size=8, learning_rate=0.01), name="t")
    assert done.model is model
    assert len(done.history) == 5
    assert set(done.history[0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert done.history[-1]["loss"] < done.history[0]["loss"]


def test_each_step_and_each_epoch_are_told(keras):
    lines, steps = [], []
    context = PassContext(train=data(32), loss=LOSS, progress=lines.append, advance=lambda *told: steps.append(told))
    train(network(keras), context, Training(epochs=2, batch_size=16), name="t")
    assert steps[:2] == [("t: epoch 1 of 2", 1, 2), ("t: epoch 1 of 2", 2, 2)]
    first, last = (line for line in lines if line.startswith("t: epoch"))
    assert re.fullmatch(r"t: epoch 1 of 2: .*loss .* \(\d+ s, about \d+ s left\)", first)
    assert re.fullmatch(r"t: epoch 2 of 2: .*loss .* \(\d+ s\)", last)


def test_no_epochs_train_nothing():
    assert train(object(), PassContext(), Training(epochs=0), name="t").history == []


@pytest.mark.heavy
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(keras):
    models = [network(keras) for _ in range(3)]
    for model, seed in zip(models, (4, 4, 5), strict=True):
        train(
            model,
            PassContext(train=data(), loss=LOSS, seed=seed),
            Training(learning_rate_schedule="exponential"),
            name="t",
        )
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def interrupted(keras, at):
    """A callback that ends the training in the middle of an epoch."""

    class Interrupt(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            if self.steps == at:
                raise KeyboardInterrupt

    return Interrupt()


@pytest.mark.heavy
def test_a_run_that_was_interrupted_ends_as_an_unbroken_one(keras, tmp_path):
    training = Training(epochs=3, learning_rate_schedule="cosine")
    unbroken, broken, resumed = (network(keras) for _ in range(3))
    whole = train(unbroken, PassContext(train=data(), loss=LOSS), training, name="t")
    context = PassContext(train=data(), loss=LOSS, checkpoints=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(broken, context, training, name="t", callbacks=[interrupted(keras, 5)])
    done = train(resumed, context, training, name="t")
    assert done.resumed_at == 1
    assert same(unbroken, resumed)
    assert done.history == whole.history


@pytest.mark.heavy
def test_a_finished_run_is_read_and_not_trained_again(keras, tmp_path):
    context = PassContext(train=data(), loss=LOSS, checkpoints=tmp_path)
    first, second = network(keras), network(keras)
    train(first, context, Training(epochs=2), name="t")
    done = train(second, context, Training(epochs=2), name="t")
    assert done.resumed_at == 2
    assert same(first, second)


@pytest.mark.heavy
def test_a_checkpoint_of_other_options_or_another_model_is_refused(keras, tmp_path):
    context = PassContext(train=data(), loss=LOSS, checkpoints=tmp_path)
    train(network(keras), context, Training(epochs=1), name="t")
    with pytest.raises(UsageError, match="other options or another model; delete it"):
        train(network(keras), context, Training(epochs=2), name="t")
    with pytest.raises(UsageError, match="other options or another model"):
        train(network(keras, seed=2), context, Training(epochs=1), name="t")


@pytest.mark.heavy
def test_a_loss_that_is_no_number_ends_the_run_and_names_the_pass_and_the_last_good_epoch(keras, tmp_path):
    images, labels = data()

    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                kernel = self.model.get_layer("conv").kernel
                kernel.assign(np.full(kernel.shape, np.nan))

    context = PassContext(train=(images, labels), loss=LOSS, checkpoints=tmp_path, callbacks=(Poison(),))
    told = r"'prune' diverged: .* in epoch 2.*prune.npz holds the state after epoch 1"
    with pytest.raises(TrainingDivergedError, match=told):
        train(network(keras), context, Training(epochs=3), name="prune")
    good = network(keras)
    with np.load(tmp_path / "prune.npz") as archive:
        arrays = [archive[f"model_{index}"] for index in range(len(good.weights))]
    assert all(np.isfinite(array).all() for array in arrays)


@pytest.mark.heavy
def test_labels_that_are_no_number_are_seen_at_the_first_step(keras):
    images, labels = data()
    images[3] = np.nan
    with pytest.raises(TrainingDivergedError, match="no checkpoints were asked for"):
        train(network(keras), PassContext(train=(images, labels), loss=LOSS), Training(), name="t")


@pytest.mark.heavy
def test_early_stop_goes_back_to_the_best_epoch(keras):
    images, labels = data()
    context = PassContext(train=(images, labels), validation=(images, 1 - labels), loss=LOSS)  # learning makes it worse
    stop = EarlyStop("val_loss", patience=1)
    model = network(keras)
    done = train(model, context, Training(epochs=9, early_stop=stop, learning_rate=0.01), name="t")
    values = [epoch["val_loss"] for epoch in done.history]
    assert done.best_epoch == int(np.argmin(values))
    assert len(values) == done.best_epoch + 1 + stop.patience < 9  # as Keras counts
    assert np.ravel(model.evaluate(images, 1 - labels, verbose=0))[0] == pytest.approx(
        min(values), rel=1e-5
    )  # float32 rounding


@pytest.mark.heavy
def test_early_stop_on_a_metric_that_is_not_there_names_those_that_are(keras):
    context = PassContext(train=data(), loss=LOSS)
    with pytest.raises(UsageError, match="watches 'val_accuracy', and the training has .*loss"):
        train(network(keras), context, Training(early_stop="val_accuracy"), name="t")


@pytest.mark.heavy
def test_keep_is_called_after_each_step(keras):
    def freeze(model):
        model.get_layer("conv").kernel.assign(np.ones((3, 3, 1, 4), np.float32))

    model = network(keras)
    train(model, PassContext(train=data(), loss=LOSS), Training(), name="t", keep=freeze)
    assert np.all(model.get_layer("conv").kernel.numpy() == 1.0)


@pytest.mark.heavy
def test_the_compiled_loss_is_the_default_and_none_at_all_is_refused(keras):
    model = network(keras)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy())
    assert train(model, PassContext(train=data()), Training(), name="t").history
    with pytest.raises(UsageError, match="'t' trains and got no loss"):
        train(network(keras), PassContext(train=data()), Training(), name="t")


@pytest.mark.heavy
def test_a_loss_object_of_the_other_flavour_is_taken(keras):
    import keras as three
    import tf_keras

    other = tf_keras if keras is three else three
    loss = other.losses.SparseCategoricalCrossentropy(from_logits=False)
    context = PassContext(train=data(), loss=loss)
    plain = train(network(keras), PassContext(train=data(), loss=LOSS), Training(), name="t")
    assert train(network(keras), context, Training(), name="t").history == plain.history


def test_a_model_without_trainable_layers_is_refused(keras):
    model = network(keras)
    model.trainable = False
    with pytest.raises(ModelError, match="without trainable weights"):
        train(model, PassContext(train=data(), loss=LOSS), Training(), name="t")


def test_labels_that_do_not_fit_are_refused_with_what_was_expected(keras):
    images, labels = data()
    with pytest.raises(DataError, match="classes 0 to 7, and the model has 2 outputs"):
        train(network(keras), PassContext(train=(images, labels * 7), loss=LOSS), Training(), name="t")
    with pytest.raises(DataError, match=r"labels have shape .*expects both"):
        train(network(keras), PassContext(train=(images, labels), loss="mse"), Training(), name="t")
    with pytest.raises(DataError, match="not whole numbers"):
        train(network(keras), PassContext(train=(images, labels + 0.5), loss=LOSS), Training(), name="t")


def test_images_that_do_not_fit_are_refused_with_what_was_expected(keras):
    with pytest.raises(DataError, match=r"gives shape \(4, 5, 6, 1\) for input .*expected \(samples, 6, 6, 1\)"):
        train(
            network(keras),
            PassContext(train=(np.zeros((4, 5, 6, 1)), np.zeros(4, int)), loss=LOSS),
            Training(),
            name="t",
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs=-1; expected a whole number"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0; expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"learning_rate_schedule": "cosin"}, "did you mean 'cosine'"),
        ({"mixed_precision": "float16"}, "did you mean 'mixed_float16'"),
        ({"strategy": "miror"}, "did you mean 'mirrored'"),
        ({"early_stop": {"metrik": "loss"}}, "did you mean 'metric'"),
        ({"early_stop": {"patience": -1}}, "patience=-1"),
    ],
)
def test_bad_options_are_refused_at_once(options, message):
    with pytest.raises(RecipeError, match=message):
        Training(**options)


def test_the_number_of_steps_counts_the_last_part_batch():
    assert Training(epochs=3, batch_size=32).steps(65) == 9
    assert Training(epochs=3, steps_per_epoch=2).steps(65) == 6


def test_what_counts_as_better():
    assert EarlyStop("val_loss", min_delta=0.1).improves(0.8, 1.0)
    assert not EarlyStop("val_loss", min_delta=0.1).improves(0.95, 1.0)
    assert EarlyStop("val_accuracy").improves(0.9, 0.8)
    assert not EarlyStop("val_accuracy").improves(0.8, 0.9)


@pytest.mark.heavy
def test_labels_of_each_output_are_compared_with_its_shape(keras):
    images, labels = data(16)
    inputs = keras.Input((6, 6, 1), name="image")
    flat = keras.layers.Flatten()(inputs)
    outputs = [keras.layers.Dense(2, activation="softmax", name="kind")(flat), keras.layers.Dense(3, name="size")(flat)]
    context = PassContext(train=(images, [labels, np.zeros((16, 2), np.float32)]), loss=[LOSS, "mse"])
    with pytest.raises(DataError, match=r"training \(output 'size'\) labels have shape \(16, 2\)"):
        train(keras.Model(inputs, outputs), context, Training(), name="t")


@pytest.mark.parametrize(
    ("metric", "higher"), [("val_accuracy", True), ("val_mape", False), ("msle", False), ("loss", False)]
)
def test_of_errors_less_is_better(metric, higher):
    assert EarlyStop(metric).higher_is_better is higher
