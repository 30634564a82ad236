"""`edgeopt.recipes.optimize`: TOML in and out without loss, and refusals that name what was meant."""

from __future__ import annotations

import pytest

from edgeopt.errors import RecipeError, UsageError
from edgeopt.evaluation.budget import Budget
from edgeopt.passes import registry
from edgeopt.recipes.convert import ConvertRecipe, parse_toml
from edgeopt.recipes.optimize import BUILT_IN, OptimizeRecipe, built_in_text

FULL = """
loss = "mse"
metric = "mae"
output = "size"
seed = 4

[distillation]
temperature = 3.0
features = { "student \\"one\\"" = "b" }

[[pass]]
kind = "channels"
fraction = 0.5
skip = ["first"]
epochs = 2
early_stop = { metric = "loss", patience = 1 }

[[pass]]
kind = "qat"

[convert]
quantize = "int8"
input_type = "uint8"

[budget]
max_drop = 0.01
max_size_bytes = 100
"""


def parsed(text):
    return OptimizeRecipe.from_tables(parse_toml(text, "The recipe"))


def test_every_part_is_read():
    recipe = parsed(FULL)
    assert recipe.kinds == ("channels", "qat")
    assert (recipe.loss, recipe.metric, recipe.output_name, recipe.seed) == ("mse", "mae", "size", 4)
    assert recipe.convert == ConvertRecipe(quantize="int8", input_type="uint8")
    assert (recipe.budget.max_drop, recipe.budget.max_size_bytes) == (0.01, 100)
    assert recipe.distillation == {"temperature": 3.0, "features": {'student "one"': "b"}}


def test_a_round_trip_through_toml_loses_nothing():
    recipe = parsed(FULL)
    again = parsed(recipe.to_toml())
    assert again == recipe
    assert again != parsed(FULL.replace("0.5", "0.25"))


def test_a_value_that_toml_cannot_hold_is_refused():
    with pytest.raises(RecipeError, match="holds a value that TOML cannot: .*'object' is not TOML"):
        OptimizeRecipe(({"kind": "qat", "skip": [object()]},)).to_toml()


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_recipes_are_valid_and_their_passes_can_be_made(name):
    recipe = OptimizeRecipe.load(name)
    assert [registry.plan(table).step.name for table in recipe.passes] == list(recipe.kinds)
    assert built_in_text(name).startswith(f"# {name}: ")


def test_a_file_of_a_built_in_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fast").write_text("seed = 7\n[[pass]]\nkind = 'finetune'\n")
    assert OptimizeRecipe.load("fast").seed == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[pas]]\nkind = 'qat'", "'pas' in the recipe; did you mean 'pass'"),
        ("[[pass]]\nkind = 'prun'", "kind 'prun' of pass 1; did you mean 'prune'"),
        ("[[pass]]\nsparsity = 0.5", "Pass 1 has no kind"),
        ("[pass]\nkind = 'qat'", "two brackets"),
        ("[convert]\nquantise = 'int8'", "did you mean 'quantize'"),
        ("[budget]\nmax_dorp = 1", "'max_dorp' in .budget.; did you mean 'max_drop'"),
        ("[budget]\nmax_drop = 'low'", "expected a number"),
        ("[distillation]\ntemprature = 2", "did you mean 'temperature'"),
        ("convert = 3", "expected a .convert. table"),
        ("seed = -1", "seed=-1; expected a whole number"),
        ("loss = 3", "loss is 3; expected text"),
        ("[[pass]\n", "not valid TOML"),
    ],
)
def test_what_is_not_a_recipe_is_refused_with_what_was_meant(text, message):
    with pytest.raises(RecipeError, match=message):
        parsed(text)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (("qat", "cluster"), "'cluster' after 'qat': .*put qat last"),
        (("qat", "qat"), "'qat' after 'qat'"),
        (("cluster", "prune"), "'prune' after 'cluster': .*before cluster"),
        (("cluster", "channels", "qat"), "'channels' after 'cluster'"),
    ],
)
def test_passes_that_contradict_each_other_are_refused(kinds, message):
    with pytest.raises(RecipeError, match=message):
        OptimizeRecipe(tuple({"kind": kind} for kind in kinds))


def test_prune_then_cluster_then_qat_is_no_contradiction():
    assert OptimizeRecipe(({"kind": "prune"}, {"kind": "cluster"}, {"kind": "qat"})).kinds[-1] == "qat"


def test_a_student_behind_other_passes_is_refused():
    with pytest.raises(RecipeError, match="student after 'prune', whose work .* put it first"):
        OptimizeRecipe(({"kind": "prune"}, {"kind": "distil", "student": "a:b"}))


def test_training_for_8_bits_and_converting_to_others_is_refused():
    with pytest.raises(RecipeError, match="trains for weights of 8 bits .qat. and converts to 'float16'"):
        OptimizeRecipe(({"kind": "qat"},), ConvertRecipe(quantize="float16"))


def test_a_file_that_is_not_there_names_the_built_in_ones():
    with pytest.raises(UsageError, match="no recipe file smal; .*one of small, fast, edgetpu, tiny"):
        OptimizeRecipe.load("smal")
    with pytest.raises(RecipeError, match="no built-in recipe 'smal'; did you mean 'small'"):
        built_in_text("smal")


def test_options_of_a_pass_and_of_its_training_stand_in_one_table():
    table = {"kind": "prune", "sparsity": 0.25, "skip": ["a"], "epochs": 4, "schedule": "constant",
             "learning_rate_schedule": "cosine"}  # fmt: skip
    planned = registry.plan(table)
    assert (planned.step.sparsity, planned.step.skip, planned.step.training.epochs) == (0.25, ("a",), 4)
    assert (planned.step.sparsity_schedule, planned.step.training.learning_rate_schedule) == ("constant", "cosine")
    assert planned.finetune is None


def test_a_pass_that_does_not_train_gets_its_training_behind_it():
    planned = registry.plan({"kind": "channels", "fraction": 0.5, "epochs": 3})
    assert planned.finetune is not None
    assert planned.finetune.epochs == 3
    assert registry.plan({"kind": "channels", "fraction": 0.5, "epochs": 0}).finetune is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "prune", "sparsty": 0.5}, "Unknown option 'sparsty' of the pass 'prune'; did you mean 'sparsity'"),
        ({"kind": "prune", "sparsity": 0.5, "epoch": 1}, "did you mean 'epochs'"),
        ({"kind": "prune", "sparsity": 1.0}, "sparsity=1.0"),
        ({"kind": "channels", "fraction": "half"}, r"fraction='half'; expected the fraction to remove, in \[0, 1\)"),
        ({"kind": "channels", "latency_ms": "fast"}, "latency_ms='fast'; expected a positive number of milliseconds"),
        ({"kind": "prune", "sparsity": 0.5, "begin": "now"}, "'prune' has a value of the wrong type"),
        ({"kind": "finetune", "training": {}}, "Unknown option 'training'"),
        ({"kind": "prunes"}, "did you mean 'prune'"),
    ],
)
def test_bad_passes_are_refused_by_name(table, message):
    with pytest.raises(RecipeError, match=message):
        registry.plan(table)


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "prune", "sparsity": 0.5, "epochs": 2, "learning_rate_schedule": "cosine"},
        {"kind": "channels", "layers": {"conv": 0.5}, "epochs": 1, "early_stop": "val_loss"},
        {"kind": "channels", "fraction": 0.5, "epochs": 0},
        {"kind": "cluster", "clusters": 16, "skip": ["first"]},
        {"kind": "distil", "student": "math:sqrt", "alpha": 0.3, "schedule": "cosine"},
        {"kind": "qat"},
    ],
)
def test_a_pass_as_it_was_run_is_a_table_with_its_defaults_that_makes_the_same_pass(table):
    whole = registry.resolved(registry.plan(table))
    assert whole["batch_size"] == 32
    assert registry.plan(whole) == registry.plan(table)
    recipe = OptimizeRecipe((whole,))
    assert registry.plan(parse_toml(recipe.to_toml(), "it")["pass"][0]) == registry.plan(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "[" * 3000, "is not valid TOML: it nests"),
        ('[[pass]]\nkind = "qat"\nlearning_rate = -1' + "0" * 400, "is not valid TOML: .*more than 64 bits"),
        ("[budget]\nmax_drop = 1" + "0" * 400, "is not valid TOML: .*more than 64 bits"),
        ("seed = " + "9" * 5000, "is not valid TOML: "),
    ],
)
def test_a_recipe_that_nests_or_counts_without_end_is_no_recipe(tmp_path, text, message):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        OptimizeRecipe.load(path)


def test_a_number_beyond_all_floats_is_refused_from_python_too():
    with pytest.raises(RecipeError, match="expected a number above 0"):
        registry.plan({"kind": "qat", "learning_rate": 10**400})
    with pytest.raises(UsageError, match="expected a finite number"):
        Budget(max_drop=10**400)


def test_a_message_that_quotes_a_damaged_value_keeps_its_beginning_and_its_end():
    with pytest.raises(RecipeError) as caught:
        ConvertRecipe(quantize="x" * 9000)
    assert len(str(caught.value)) <= 2000
    assert str(caught.value).startswith("Unknown quantize mode")
    assert str(caught.value).endswith("expected one of dynamic, dynamic4, float16, float32, int16x8, int8, int8w4.")


@pytest.mark.parametrize("value", [float("nan"), "true", 1, None, []])
def test_an_option_that_is_true_or_false_is_nothing_else(value):
    with pytest.raises(RecipeError, match="The pass 'qat' has per_tensor_dense = .*; expected true or false"):
        registry.plan({"kind": "qat", "per_tensor_dense": value})
