"""`edgeopt.models.spec`: the shapes that a file gets."""

from __future__ import annotations

import pytest

from edgeopt.errors import UsageError
from edgeopt.models.spec import InputSpec, ModelSpec, fix_shapes


def spec(*shapes, **options):
    inputs = [InputSpec(name, shape, "float32") for name, shape in zip(("image", "state"), shapes, strict=False)]
    return ModelSpec(tuple(inputs), ("out",), **options)


def fixed(model, stated=None, batch_size=1):
    return [item.shape for item in fix_shapes(model, stated or {}, batch_size)]


def test_the_batch_dimension_becomes_static():
    assert fixed(spec((None, 8), (None, 3))) == [(1, 8), (1, 3)]
    assert fixed(spec((None, 8)), batch_size=4) == [(4, 8)]
    assert fixed(spec((None, 8)), batch_size=None) == [(None, 8)]


def test_the_file_has_the_batch_asked_for_even_if_the_keras_model_fixed_another():
    assert fixed(spec((8, 3))) == [(1, 3)]


def test_a_saved_models_static_batch_stays():
    assert fixed(spec((8, 3), fixed_batch=True)) == [(8, 3)]
    assert fixed(spec((None, 3), fixed_batch=True)) == [(1, 3)]


def test_stated_shapes_fill_what_is_open():
    assert fixed(spec((None, None, None, 3)), {"image": (1, 96, 64, 3)}) == [(1, 96, 64, 3)]
    assert fixed(spec((None, None)), {"image": (None, 7)}, None) == [(None, 7)]


def test_the_batch_may_be_stated_in_the_shape():
    assert fixed(spec((None, 8)), {"image": (4, 8)}) == [(4, 8)]
    assert fixed(spec((None, 8)), {"image": (1, 8)}, 4) == [(4, 8)]
    with pytest.raises(UsageError, match="gives input 'image' the batch size 2, but --batch-size is 4"):
        fixed(spec((None, 8)), {"image": (2, 8)}, 4)


def test_a_scalar_stays_a_scalar():
    assert fixed(spec(())) == [()]


def test_an_open_dimension_must_be_stated():
    with pytest.raises(UsageError, match=r"open shape \(None, None, 3\); state it with --input-shape image=1,N,3$"):
        fixed(spec((None, None, 3)))


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"names 'imgae', which is no input of the model; did you mean 'image'\?"):
        fixed(spec((None, 8)), {"imgae": (1, 8)})


def test_a_contradiction_is_refused():
    with pytest.raises(UsageError, match=r"is \(1, 9\), which contradicts the model's shape \(None, 8\)"):
        fixed(spec((None, 8)), {"image": (1, 9)})
    with pytest.raises(UsageError, match=r"has 3 dimensions, but the model expects \(None, 8\)"):
        fixed(spec((None, 8)), {"image": (1, 8, 1)})


def test_shapes_of_one_call_give_way_to_stated_ones():
    assert fixed(spec((5, 32, 32, 3), firm=False)) == [(1, 32, 32, 3)]
    assert fixed(spec((5, 32, 32, 3), firm=False), {"image": (1, 96, 96, 3)}) == [(1, 96, 96, 3)]


def test_a_model_that_knows_nothing_takes_what_is_stated():
    assert fixed(spec((), firm=False), {"image": (1, 4)}) == [(1, 4)]
    with pytest.raises(UsageError, match="The shape of input 'state' is unknown; state it with --input-shape state=1"):
        fixed(spec((), (), firm=False), {"image": (1, 4)})
