"""`edgeopt.__all__` and what is really there are the same."""

from __future__ import annotations

import edgeopt


def test_every_public_name_exists() -> None:
    for name in edgeopt.__all__:
        assert getattr(edgeopt, name) is not None


def test_all_is_sorted_and_is_what_dir_shows() -> None:
    assert list(edgeopt.__all__) == sorted(edgeopt.__all__)
    assert dir(edgeopt) == sorted(edgeopt.__all__)


def test_the_lazy_table_and_all_name_the_same() -> None:
    assert {*edgeopt._PUBLIC, "__version__"} == set(edgeopt.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(edgeopt, "optimise_everything")
