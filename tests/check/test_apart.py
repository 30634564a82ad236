"""`edgeopt.check.apart`: a child that looks at a file says what a look in this process says."""

from __future__ import annotations

import sys

import pytest

from edgeopt.check.apart import ALL, goes_apart, look_apart
from edgeopt.check.every import EveryStageChecker
from edgeopt.check.registry import Subject
from edgeopt.errors import UsageError


@pytest.mark.heavy
def test_a_child_says_the_same_and_tells_how_far_it_is(tmp_path):
    import keras

    x = image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(8, 3, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    keras.Model(image, keras.layers.Dense(3, name="out")(x)).save(tmp_path / "m.keras")
    told = []
    subject = Subject("m", keras=tmp_path / "m.keras", on_event=told.append)
    found = look_apart(ALL, subject)
    assert {"stage": "checking for qat"} in told
    assert found == EveryStageChecker().check(subject)
    assert [fix["layer"] for fix in found.summary["fixes"]] == ["norm"]


def test_what_cannot_be_read_is_the_users_error(tmp_path):
    (tmp_path / "m.keras").write_bytes(b"no model")
    with pytest.raises(UsageError, match=r"m\.keras is not a Keras model"):
        look_apart("prune", Subject("m", keras=tmp_path / "m.keras"))


def test_where_tensorflow_is_loaded_the_look_is_here(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert not goes_apart(Subject("m", keras="m.keras"))
    monkeypatch.delitem(sys.modules, "tensorflow")
    assert goes_apart(Subject("m", keras="m.keras"))
    assert not goes_apart(Subject("m", keras=object()))
