"""Learning from a teacher: the loss is Hinton's, both flavours can teach and learn, inside any training."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from edgeopt.errors import RecipeError, UsageError
from edgeopt.passes.distil import Distil, builder
from edgeopt.training.context import PassContext
from edgeopt.training.distillation import Distillation
from edgeopt.training.loop import train
from edgeopt.training.options import Training

LOSS = "sparse_categorical_crossentropy"
ONE_STEP = Training(batch_size=64, optimizer="sgd", learning_rate=0.1)


def classifier(keras, width, seed, *, softmax=True, classes=3):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    activation = "softmax" if softmax else None
    return keras.Sequential(
        [
            keras.Input((5,), name="x"),
            layers.Dense(width, activation="tanh", name="hidden"),
            layers.Dense(classes, activation=activation, name="classes"),
        ],
        name=f"net{width}",
    )


def data(count=64, classes=3):
    generator = np.random.default_rng(3)
    return generator.normal(size=(count, 5)).astype(np.float32), generator.integers(0, classes, count)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def first_loss(student, context):
    """The loss that the first step saw: of the one batch, before its update."""
    return train(student, context, ONE_STEP, name="t").history[0]


@pytest.mark.heavy
@pytest.mark.parametrize("teaches", ["keras", "tf_keras"])
@pytest.mark.parametrize("probabilities", [True, False])
def test_the_loss_is_that_of_hinton_with_the_factor_of_t_squared(keras, teaches, probabilities):
    teacher = classifier(importlib.import_module(teaches), 8, 1)
    student = classifier(keras, 4, 2, softmax=probabilities)
    images, labels = data()
    p, z = np.asarray(teacher(images)), np.asarray(student(images))
    z = np.log(z) if probabilities else z
    hot, cold = softmax(np.log(p) / 5.0), softmax(z / 5.0)
    soft = 25.0 * np.mean(np.sum(hot * (np.log(hot) - np.log(cold)), axis=-1))
    hard = -np.mean(np.log(softmax(z)[np.arange(64), labels]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)
    distillation = Distillation(teacher=teacher, temperature=5.0, alpha=0.7)
    seen = first_loss(student, PassContext(train=(images, labels), loss=loss, distillation=distillation))
    assert seen["distil_loss"] == pytest.approx(0.7 * soft, rel=1e-4)  # float32, and logarithms of probabilities
    assert seen["loss"] == pytest.approx(0.3 * hard + 0.7 * soft, rel=1e-4)
    assert seen["loss"] != pytest.approx(0.3 * hard + 0.7 * soft / 25.0, rel=1e-2)  # the factor would be missed


@pytest.mark.heavy
def test_regression_compares_by_the_mean_square_and_independent_classes_by_sigmoids(keras):
    images, _ = data()
    targets = np.zeros((64, 3), np.float32)
    teacher, student = classifier(keras, 8, 1, softmax=False), classifier(keras, 4, 2, softmax=False)
    z, t = np.asarray(student(images)), np.asarray(teacher(images))
    distillation = Distillation(teacher=teacher, alpha=1.0)
    seen = first_loss(student, PassContext(train=(images, targets), loss="mse", distillation=distillation))
    assert seen["distil_loss"] == pytest.approx(np.mean((z - t) ** 2), rel=1e-4)
    student = classifier(keras, 4, 2, softmax=False)
    hot, cold = 1 / (1 + np.exp(-t / 4)), 1 / (1 + np.exp(-z / 4))
    divergence = hot * np.log(hot / cold) + (1 - hot) * np.log((1 - hot) / (1 - cold))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    seen = first_loss(student, PassContext(train=(images, targets), loss=loss, distillation=distillation))
    assert seen["distil_loss"] == pytest.approx(16.0 * divergence.mean(), rel=1e-3)


@pytest.mark.heavy
def test_features_are_matched_through_a_learned_map_and_resume_to_the_bit(keras, tmp_path):
    teacher = classifier(keras, 8, 1)
    options = {"distillation": Distillation(teacher=teacher, alpha=0.0, features={"hidden": "hidden"})}
    context = PassContext(train=data(), loss=LOSS, **options)
    training = Training(epochs=3, learning_rate=0.02)
    whole = classifier(keras, 4, 2)
    history = train(whole, context, training, name="t").history
    assert history[-1]["distil_loss"] < history[0]["distil_loss"]

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    resumable = PassContext(train=data(), loss=LOSS, checkpoints=tmp_path, **options)
    with pytest.raises(KeyboardInterrupt):
        train(classifier(keras, 4, 2), resumable, training, name="t", callbacks=[Interrupt()])
    resumed = classifier(keras, 4, 2)
    assert train(resumed, resumable, training, name="t").resumed_at == 2
    assert all(np.array_equal(a, b) for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True))


@pytest.mark.heavy
def test_a_student_comes_near_its_teacher_and_neither_it_nor_the_model_is_changed(keras):
    teacher = classifier(keras, 8, 1)
    before = teacher.get_weights()
    images, labels = data(256)
    result = Distil(
        student=lambda model: classifier(keras, 4, 9), alpha=1.0, training=Training(epochs=8, learning_rate=0.02)
    ).apply(teacher, PassContext(train=(images, labels), loss=LOSS))
    assert all(np.array_equal(a, b) for a, b in zip(before, teacher.get_weights(), strict=True))
    apart = [
        np.abs(np.asarray(m(images)) - np.asarray(teacher(images))).mean()
        for m in (result.model, classifier(keras, 4, 9))
    ]
    assert apart[0] < 0.5 * apart[1]
    assert result.report.to_dict()["student"] == "net4"
    assert "train_step" not in vars(result.model)


def test_a_student_with_other_outputs_is_refused(keras):
    teacher = classifier(keras, 8, 1)
    pass_ = Distil(student=lambda model: classifier(keras, 4, 9, classes=2))
    with pytest.raises(UsageError, match=r"shapes \[\(2,\)\] and the teacher's \[\(3,\)\]"):
        pass_.apply(teacher, PassContext(train=data(classes=2), loss=LOSS))


def test_a_layer_that_does_not_exist_is_named_with_its_nearest(keras):
    pass_ = Distil(student=lambda model: classifier(keras, 4, 9), features={"hiden": "hidden"})
    with pytest.raises(UsageError, match="no layer 'hiden' .*did you mean 'hidden'"):
        pass_.apply(classifier(keras, 8, 1), PassContext(train=data(), loss=LOSS))


def test_without_a_teacher_there_is_no_distillation(keras):
    with pytest.raises(UsageError, match="no teacher"):
        Distil().apply(classifier(keras, 8, 1), PassContext(train=data(), loss=LOSS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature=0"),
        ({"alpha": 1.5}, r"alpha=1.5; expected the share of the teacher, in \[0, 1\]"),
        ({"feature_weight": -1}, "feature_weight=-1"),
        ({"loss_kind": "softmx"}, "did you mean 'softmax'"),
        ({"features": "hidden"}, "features='hidden'; expected a table"),
        ({"temperature": "hot"}, "temperature='hot'; expected a number above 0"),
        ({"training": Training(epochs=0)}, "epochs=0"),
    ],
)
def test_bad_options_are_refused_at_once(options, message):
    with pytest.raises(RecipeError, match=message):
        Distil(**options)


def test_a_teacher_that_is_no_model_is_refused():
    with pytest.raises(UsageError, match="teacher of type str"):
        Distillation(teacher="big.keras")


def test_what_the_pass_does_not_say_is_that_of_the_context(keras):
    teacher = classifier(keras, 8, 1)
    context = PassContext(
        train=data(), loss=LOSS, distillation=Distillation(teacher=teacher, alpha=0.9, temperature=2.0, kind="mse")
    )
    step = Training(epochs=1, steps_per_epoch=1)
    said = Distil(alpha=0.25, training=step).apply(classifier(keras, 4, 2), context).report.distillation
    assert said == {
        "teacher": teacher.name,
        "temperature": 2.0,
        "alpha": 0.25,
        "features": {},
        "feature_weight": 1.0,
        "kind": "mse",
    }


def test_a_builder_by_name():
    assert builder("math:sqrt")(9.0) == 3.0
    with pytest.raises(UsageError, match="Cannot import the student builder"):
        builder("math:squareroot")


@pytest.mark.heavy
@pytest.mark.parametrize("structure", ["list", "dict"])
def test_each_output_is_compared_as_its_own_loss_says(keras, structure):
    def network(width, seed):
        keras.utils.set_random_seed(seed)
        x = keras.Input((5,), name="x")
        hidden = keras.layers.Dense(width, activation="tanh")(x)
        kind = keras.layers.Dense(3, activation="softmax", name="kind")(hidden)
        size = keras.layers.Dense(1, name="size")(hidden)
        return keras.Model(x, [kind, size] if structure == "list" else {"size": size, "kind": kind})

    def outputs(model):
        found = model(images)
        return [np.asarray(found[key]) for key in (("kind", "size") if structure == "dict" else (0, 1))]

    teacher, student = network(8, 1), network(4, 2)
    images, labels = data()
    sizes = images[:, :1]
    given = {"list": [labels, sizes], "dict": {"kind": labels, "size": sizes}}[structure]
    loss = {"list": [LOSS, "mse"], "dict": {"kind": LOSS, "size": "mse"}}[structure]
    (p, s), (q, t) = outputs(teacher), outputs(student)
    hot, cold = softmax(np.log(p) / 2.0), softmax(np.log(q) / 2.0)
    soft = 4.0 * np.mean(np.sum(hot * np.log(hot / cold), axis=-1)) + np.mean((s - t) ** 2)
    distillation = Distillation(teacher=teacher, temperature=2.0, alpha=1.0)
    seen = first_loss(student, PassContext(train=(images, given), loss=loss, distillation=distillation))
    assert seen["distil_loss"] == pytest.approx(soft, rel=1e-3)


@pytest.mark.heavy
def test_logits_that_look_like_probabilities_are_logits_where_the_loss_says_so(keras):
    images, _ = data()
    teacher, student = classifier(keras, 8, 1, softmax=False), classifier(keras, 4, 2, softmax=False)
    for layer in student.layers:
        layer.set_weights([0.0 * weight for weight in layer.get_weights()])
    student.layers[-1].set_weights([student.layers[-1].get_weights()[0], np.full(3, 0.3, np.float32)])
    t = np.asarray(teacher(images))
    hot, cold = 1 / (1 + np.exp(-t)), 1 / (1 + np.exp(-0.3))  # 0.3 as a probability would be itself
    divergence = hot * np.log(hot / cold) + (1 - hot) * np.log((1 - hot) / (1 - cold))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    distillation = Distillation(teacher=teacher, temperature=1.0, alpha=1.0)
    targets = np.zeros((64, 3), np.float32)
    seen = first_loss(student, PassContext(train=(images, targets), loss=loss, distillation=distillation))
    assert seen["distil_loss"] == pytest.approx(divergence.mean(), rel=1e-3)
