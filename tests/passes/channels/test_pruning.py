"""The pass: targets, options, what it leaves alone, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeopt.errors import BudgetError, ModelError, RecipeError, UsageError
from edgeopt.models.load import describe, load_model
from edgeopt.passes.channels import ChannelPruning
from edgeopt.training.context import PassContext

CONTEXT = PassContext()


def weights_of(model):
    return [np.array(array) for array in model.get_weights()]


def same_weights(first, second):
    pairs = zip(weights_of(first), weights_of(second), strict=True)
    return all(one.shape == other.shape and np.array_equal(one, other) for one, other in pairs)


def plain_cnn(keras, width=64):
    """Over-provisioned: many channels for the little that there is to tell apart."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 1), name="image")], name="plain")
    for index in range(3):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv_{index}"))
        model.add(layers.MaxPooling2D(name=f"pool_{index}"))
    model.add(layers.Flatten(name="flat"))
    model.add(layers.Dense(10, name="out"))
    return model


@pytest.mark.parametrize("measure", ["macs", "params", "bytes"])
@pytest.mark.parametrize("allocation", ["global", "uniform"])
def test_the_target_is_reached_and_counts_are_multiples_of_eight(keras, measure, allocation):
    model = plain_cnn(keras)
    result = ChannelPruning(fraction=0.5, of=measure, allocation=allocation).apply(model, CONTEXT)
    # One step of 8 of 64 channels is worth up to a quarter of the model here: inputs and outputs of two layers.
    assert 0.5 <= result.report.removed(measure) < 0.6
    for index in range(3):
        layer = result.model.get_layer(f"conv_{index}")
        assert layer.filters % 8 == 0
        assert layer.filters == len(result.report.kept[layer.name]) == layer.kernel.shape[-1]


def test_half_the_macs_of_a_plain_cnn_is_a_sensible_shape(keras):
    """The last layer's channels, cheap in MACs, are kept rather than those of the wide, dear ones before it."""
    report = ChannelPruning(fraction=0.5).apply(plain_cnn(keras, 128), CONTEXT).report
    widths = {group.name: group.after for group in report.groups}
    assert min(widths.values()) >= 32
    assert widths["conv_2"] == max(widths.values())


def test_multiple_and_minimum_are_kept_to(keras):
    model = plain_cnn(keras)
    report = ChannelPruning(fraction=0.7, multiple=4, minimum=20).apply(model, CONTEXT).report
    assert all(group.after >= 20 and group.after % 4 == 0 for group in report.groups)
    report = ChannelPruning(fraction=0.7, multiple=1, minimum=1).apply(model, CONTEXT).report
    assert any(group.after % 8 for group in report.groups)


def test_removing_nothing_gives_an_equal_copy(keras, build):
    model = build("u_net", keras)
    result = ChannelPruning(fraction=0.0).apply(model, CONTEXT)
    assert result.model is not model
    assert same_weights(model, result.model)
    assert result.report.removed("macs") == 0.0


def test_the_given_model_is_left_as_it_was(keras, build):
    model = build("two_inputs", keras)
    before, nodes = weights_of(model), [len(layer._inbound_nodes) for layer in model.layers]
    ChannelPruning(fraction=0.3).apply(model, CONTEXT)
    assert all(np.array_equal(one, other) for one, other in zip(before, weights_of(model), strict=True))
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    assert model.get_layer("difference").output.shape[-1] == 24


@pytest.mark.parametrize("family", ["cnn_1d", "two_inputs", "nested", "u_net"])
def test_flavour_names_and_order_of_inputs_and_outputs_are_kept(keras, build, family):
    model = build(family, keras)
    smaller = ChannelPruning(fraction=0.3).apply(model, CONTEXT).model
    assert isinstance(smaller, keras.Model)
    assert isinstance(smaller, keras.Sequential) == isinstance(model, keras.Sequential)
    assert smaller.name == model.name
    assert [tensor.name.split(":")[0] for tensor in smaller.inputs] == [t.name.split(":")[0] for t in model.inputs]
    assert describe(smaller).spec == describe(model).spec
    names = {layer.name for layer in model._flatten_layers(include_self=False) if not hasattr(layer, "layers")}
    inputs = {"pixels", "signal"}  # the input of the nested model goes; a Sequential need not list its own
    assert names - inputs == {layer.name for layer in smaller.layers} - inputs


def test_frozen_layers_stay_frozen(keras, build):
    smaller = ChannelPruning(fraction=0.3).apply(build("nested", keras), CONTEXT).model
    assert [smaller.get_layer(name).trainable for name in ("stem", "stem_norm", "hidden")] == [False, False, True]


@pytest.mark.parametrize("family", ["cnn_1d", "two_inputs", "nested", "squeeze_excite", "grouped"])
def test_the_result_reloads_without_custom_objects_and_trains(keras, build, family, tmp_path):
    smaller = ChannelPruning(fraction=0.3).apply(build(family, keras), CONTEXT).model
    file = tmp_path / "small.keras"
    smaller.save(file)
    reloaded = keras.models.load_model(file)
    assert same_weights(smaller, reloaded)
    generator = np.random.default_rng(0)
    inputs = [generator.normal(size=(4, *tensor.shape[1:])).astype("float32") for tensor in reloaded.inputs]
    targets = [np.zeros((4, *tensor.shape[1:]), "float32") for tensor in reloaded.outputs]
    reloaded.compile("sgd", ["mse"] * len(targets))
    reloaded.train_on_batch(inputs, targets)
    assert not same_weights(smaller, reloaded)


def test_the_same_seed_gives_the_same_model_and_another_seed_another(keras):
    model = plain_cnn(keras)
    pruning = ChannelPruning(fraction=0.5, importance="random")
    first, again, other = (pruning.apply(model, PassContext(seed=seed)).model for seed in (1, 1, 2))
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_skipped_layers_keep_their_channels_and_are_reported(keras):
    result = ChannelPruning(fraction=0.3, skip=("conv_1",)).apply(plain_cnn(keras), CONTEXT)
    assert result.model.get_layer("conv_1").filters == 64
    assert {entry.subject: entry.reason for entry in result.report.skipped} == {
        "conv_1": "in-skip-list",
        "out": "model-output",
    }


def test_skipping_one_layer_of_a_group_keeps_the_group(keras, build):
    report = ChannelPruning(fraction=0.1, skip=("excite",)).apply(build("squeeze_excite", keras), CONTEXT).report
    assert {entry.subject for entry in report.skipped} == {"stem", "classes"}


def test_a_layer_map_fixes_layers_and_the_rest_makes_up_the_target(keras):
    result = ChannelPruning(fraction=0.6, layers={"conv_0": 0.0, "conv_2": 0.75}).apply(plain_cnn(keras), CONTEXT)
    assert result.model.get_layer("conv_0").filters == 64
    assert result.model.get_layer("conv_2").filters == 16
    assert result.report.removed("macs") >= 0.6


def test_a_layer_map_alone_is_a_target(keras):
    result = ChannelPruning(layers={"conv_1": 0.5}).apply(plain_cnn(keras), CONTEXT)
    assert [result.model.get_layer(f"conv_{i}").filters for i in range(3)] == [64, 32, 64]


def test_steps_train_between_them_and_approach_the_target(keras):
    model, seen = plain_cnn(keras), []

    def finetune(smaller):
        seen.append(smaller.count_params() / model.count_params())
        return smaller

    context = PassContext(finetune=finetune)
    result = ChannelPruning(fraction=0.75, of="params", steps=3).apply(model, context)
    assert len(seen) == 2
    # The same share of what is left goes each time: 0.25 ** (1/3) and 0.25 ** (2/3) are kept, less a step of 8.
    assert seen[0] == pytest.approx(0.63, abs=0.07)
    assert seen[1] == pytest.approx(0.40, abs=0.06)
    assert result.report.removed("params") >= 0.75
    for name in ("conv_0", "conv_1", "conv_2"):
        kept = result.report.kept[name]
        bias = np.asarray(model.get_layer(name).get_weights()[1])
        np.testing.assert_array_equal(result.model.get_layer(name).get_weights()[1], bias[kept])
    first = model.get_layer("conv_0").get_weights()[0][..., result.report.kept["conv_0"]]
    np.testing.assert_array_equal(result.model.get_layer("conv_0").get_weights()[0], first)


def test_finetune_must_return_the_model(keras):
    pruning = ChannelPruning(fraction=0.5, steps=2)
    with pytest.raises(UsageError, match=r"finetune= returned NoneType; expected the model"):
        pruning.apply(plain_cnn(keras), PassContext(finetune=lambda model: None))
    with pytest.raises(UsageError, match=r"needs a function that trains the model between steps .* finetune="):
        pruning.apply(plain_cnn(keras), CONTEXT)


def test_the_report_is_json_and_reads_well(keras):
    report = ChannelPruning(fraction=0.5).apply(plain_cnn(keras), CONTEXT).report
    fields = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert fields["costs"]["macs"]["removed"] == report.removed("macs")
    assert fields["groups"][0].keys() == {"name", "layers", "before", "after"}
    assert fields["skipped"] == [
        {"subject": "out", "reason": "model-output", "detail": "an output of the model"},
    ]
    assert "conv_1: 64 -> " in str(report)
    assert "out: kept, model-output" in str(report)


@pytest.mark.parametrize("importance", ["l1", "taylor"])
def test_layers_that_augment_in_training_only_do_nothing_while_channels_are_scored_and_compared(keras, importance):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.RandomFlip(name="flip"),
            layers.RandomRotation(0.2, name="turn"),
            layers.Conv2D(32, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(4, name="classes"),
        ]
    )
    x, y = np.random.default_rng(0).random((16, 8, 8, 3), np.float32), np.arange(16) % 4
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    report = (
        ChannelPruning(fraction=0.5, importance=importance).apply(model, PassContext(train=(x, y), loss=loss)).report
    )
    assert report.removed("macs") >= 0.5


def test_half_precision_models_are_cut_in_their_own_policy(keras):
    layers, inputs = keras.layers, keras.Input((8,), name="x")
    x = layers.Dense(32, activation="relu", dtype="mixed_float16", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2, dtype="float32", name="out")(x))
    smaller = ChannelPruning(fraction=0.5).apply(model, CONTEXT).model
    assert smaller.get_layer("hidden").compute_dtype == "float16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 1.0}, r"Received fraction=1.0; expected the fraction to remove, in \[0, 1\)"),
        ({"fraction": -0.1}, r"Received fraction=-0.1; expected"),
        ({"fraction": float("nan")}, r"Received fraction=nan; expected"),
        ({"layers": {"conv": 1.5}}, r"Received layers\['conv'\]=1.5; expected"),
        ({}, "Received no target; give fraction="),
        ({"fraction": 0.5, "latency_ms": 2.0}, "Received fraction and latency_ms; give the one"),
        ({"latency_share": 1.0}, r"Received latency_share=1.0; expected a fraction in \(0, 1\)"),
        ({"latency_ms": 0.0}, r"Received latency_ms=0.0; expected a positive number"),
        ({"latency_ms": 1.0, "allocation": "uniform"}, "a latency needs allocation='global'"),
        ({"latency_ms": 1.0, "steps": 2}, "Received steps=2 without fraction"),
        ({"fraction": 0.5, "of": "mac"}, "Received of='mac'; did you mean 'macs'?"),
        ({"fraction": 0.5, "importance": "tailor"}, "Received importance='tailor'; did you mean 'taylor'?"),
        ({"fraction": 0.5, "allocation": "globl"}, "did you mean 'global'?"),
        ({"fraction": 0.5, "multiple": 0}, "Received multiple=0; expected a whole number of at least 1"),
        ({"fraction": 0.5, "minimum": 0}, "Received minimum=0; expected a whole number of at least 1"),
        ({"fraction": 0.5, "steps": 0}, "Received steps=0; expected a whole number of at least 1"),
        ({"fraction": 0.5, "samples": 0}, "Received samples=0; expected a whole number of at least 1"),
    ],
)
def test_bad_options_are_refused_before_any_model_is_seen(options, message):
    with pytest.raises(RecipeError, match=message):
        ChannelPruning(**options)


def test_unknown_layers_are_refused_with_the_nearest(keras):
    model = plain_cnn(keras)
    with pytest.raises(
        UsageError, match=r"skip names 'conv1', which is no layer of the model; did you mean 'conv_1'\?"
    ):
        ChannelPruning(fraction=0.5, skip=("conv1",)).apply(model, CONTEXT)
    with pytest.raises(UsageError, match=r"layers names 'cnov_2', .* did you mean 'conv_2'\?"):
        ChannelPruning(layers={"cnov_2": 0.5}).apply(model, CONTEXT)
    with pytest.raises(UsageError, match="skip names 'pool_0', which makes no channels of its own"):
        ChannelPruning(fraction=0.5, skip=("pool_0",)).apply(model, CONTEXT)
    with pytest.raises(UsageError, match="layers= asks to cut 'out', whose channels have to stay"):
        ChannelPruning(layers={"out": 0.5}).apply(model, CONTEXT)


def test_two_fractions_for_one_group_are_refused(keras, build):
    with pytest.raises(UsageError, match="share their channels; give them one fraction"):
        ChannelPruning(layers={"stem": 0.5, "inner": 0.25}).apply(build("squeeze_excite", keras), CONTEXT)


def test_a_model_without_anything_to_remove_is_refused_with_the_reasons(keras):
    layers = keras.layers
    inputs = keras.Input((4,), name="x")
    linear = keras.Model(inputs, layers.Dense(16, name="only")(inputs))
    with pytest.raises(ModelError, match=r"No channels of this model can be removed \('only': model-output"):
        ChannelPruning(fraction=0.5).apply(linear, CONTEXT)
    narrow = keras.Model(inputs, layers.Dense(2, name="out")(layers.Dense(6, name="thin")(inputs)))
    with pytest.raises(ModelError, match=r"'thin': too-narrow, 6 channels; cut in multiples of 8, at least 8"):
        ChannelPruning(fraction=0.5).apply(narrow, CONTEXT)
    pooled = keras.Model(inputs, layers.ReLU(name="r")(inputs))
    with pytest.raises(ModelError, match="no layer with channels to remove; expected a convolution or a Dense layer"):
        ChannelPruning(fraction=0.5).apply(pooled, CONTEXT)


def test_a_target_out_of_reach_is_refused_with_the_most_that_can_go(keras):
    with pytest.raises(BudgetError, match=r"Received fraction=0.999 of the macs; at most 0\.9\d+ can be removed"):
        ChannelPruning(fraction=0.999).apply(plain_cnn(keras), CONTEXT)


def test_subclassed_models_that_compose_layers_are_traced(keras):
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(32, activation="relu", name="hidden")
            self.out = keras.layers.Dense(2, name="out")

        def call(self, inputs):
            return self.out(self.hidden(inputs))

    model = Mine()
    model(np.zeros((1, 8), "float32"))
    smaller = ChannelPruning(fraction=0.5).apply(model, CONTEXT).model
    assert smaller.get_layer("hidden").units == 16


def test_custom_layers_stop_the_cut_and_are_carried_natively(keras):
    class Double(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    layers, inputs = keras.layers, keras.Input((8,), name="x")
    x = layers.Dense(32, activation="relu", name="first")(inputs)
    x = layers.Dense(32, activation="relu", name="second")(Double(name="mine")(x))
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    result = ChannelPruning(fraction=0.2).apply(model, CONTEXT)
    assert isinstance(result.model.get_layer("mine"), Double)
    assert {entry.subject: entry.reason for entry in result.report.skipped}["first"] == "layer-not-supported"
    assert result.model.get_layer("second").units < 32


def test_something_else_than_a_model_is_refused():
    with pytest.raises(ModelError, match="Received str; expected a Keras model"):
        ChannelPruning(fraction=0.5).apply("model.keras", CONTEXT)


@pytest.mark.heavy
def test_resnet_8_of_the_mlperf_tiny_benchmark(shared_data):
    """A real trained file: one width a residual path, early stages no wider than late ones, the target just reached."""
    model = load_model(shared_data / "cifar10" / "mlperf_resnet8.h5").model
    result = ChannelPruning(fraction=0.5).apply(model, CONTEXT)
    report = result.report
    assert 0.5 <= report.removed("macs") <= 0.55
    widths = [group.after for group in report.groups]
    assert len(widths) == 6
    assert all(width % 8 == 0 for width in widths)
    assert max(widths[:2]) <= min(widths[4:])
    assert report.groups[0].layers[0] == "conv2d"
    assert result.model.count_params() == report.costs["params"][1]
