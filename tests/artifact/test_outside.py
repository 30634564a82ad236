"""Text from outside becomes values that may be walked through, printed and written again, or one clause of refusal."""

from __future__ import annotations

import time

import pytest

from edgeopt.artifact.outside import LONGEST_TEXT, loads, loads_toml, read_text


def test_what_edgeopt_writes_itself_is_taken():
    assert loads('{"a": [1, 0.5, null, true, "é"], "b": {}}') == {"a": [1, 0.5, None, True, "é"], "b": {}}
    assert loads_toml("a = [1, inf]\n[b.c]\nd = 1979-05-27\n")["a"] == [1, float("inf")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nests deeper than 64 levels"),
        ("[" * 65 + "]" * 65, "nests deeper than 64 levels"),
        ('{"a":' * 65 + "1" + "}" * 65, "nests deeper than 64 levels"),
        ("[NaN]", "not finite"),
        ("[1e999]", "not finite"),
        ("[18446744073709551616]", "more than 64 bits"),
        ('["\\ud800"]', "no Unicode|not Unicode"),
        ('{"\\ud800": 1}', "not Unicode"),
        ("[1,]", "Expecting value|Illegal trailing comma"),
    ],
)
def test_json_that_nobody_means(text, reason):
    with pytest.raises(ValueError, match=reason):
        loads(text)
    assert loads("[" * 64 + "]" * 64) is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = " + "[" * 100_000, "nests"),
        ("x = " + "{a = " * 100_000, "nests"),
        ("a." * 65 + "a = 1", "more than 64 names"),
        ('"a".' * 200_000 + "a = 1", "more than 64 names"),
        ("x = 0x" + "f" * 5000, "more than 64 bits"),
        ("x = " + "9" * 5000, "4300 digits|more than 64 bits"),
        ("x = " + " " * (1 << 20), "more than 1 MiB"),
        ("x =", "Invalid value"),
    ],
)
def test_toml_that_nobody_means_is_refused_at_once(text, reason):
    start = time.process_time()
    with pytest.raises(ValueError, match=reason):
        loads_toml(text)
    assert time.process_time() - start < 1  # dotted keys took hours


def test_a_file_is_read_up_to_a_limit(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b" " * (LONGEST_TEXT + 1))
    with pytest.raises(ValueError, match="more than 16 MiB"):
        read_text(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_text(path)
