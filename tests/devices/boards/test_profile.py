"""Board profiles: all of them load, state only known facts, and give a source for each."""

from __future__ import annotations

import pytest

from edgeopt.devices.boards.profile import FACTS, load_profile, profile_names
from edgeopt.errors import UsageError

NAMED = [
    *("local", "rpi3", "rpi4", "rpi5", "rpi-zero2w", "coral-devboard", "coral-devboard-mini", "coral-usb", "coral-m2"),
    *("generic-arm64", "generic-armv7"),
]


def test_every_promised_profile_is_there():
    assert profile_names() == sorted(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_a_profile_states_known_facts_with_sources(name):
    profile = load_profile(name)
    assert set(profile.facts) <= set(FACTS)
    assert all(item.source.strip() for item in [*profile.facts.values(), *profile.notes])
    assert profile.title and profile.install_runtime
    assert profile.to_dict()["name"] == name


def test_the_pi_5_differs_in_what_breaks_drivers():
    assert load_profile("rpi5").expected("page_size_bytes") == 16384
    assert load_profile("rpi4").expected("page_size_bytes") == 4096
    assert load_profile("local").expected("page_size_bytes") is None


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'rpi4'"):
        load_profile("rpi44")
