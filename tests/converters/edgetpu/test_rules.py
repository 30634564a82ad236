"""The rules file: the one that comes with edgeopt is whole, and one that is edited wrongly is refused in a sentence."""

from __future__ import annotations

from importlib import resources

import pytest

from edgeopt.converters.edgetpu.constraints import OP_CHECKS
from edgeopt.converters.edgetpu.file_checks import FILE_CHECKS
from edgeopt.converters.edgetpu.rules import SPECIAL_CHECKS, default_rules, load_rules, parse_rules
from edgeopt.errors import FileFormatError, UsageError

TEXT = (resources.files("edgeopt.converters.edgetpu") / "rules.toml").read_text("utf-8")


def test_every_rule_has_an_id_a_source_a_remedy_and_a_compiler_version():
    rules = default_rules()
    everything = (*rules.file_rules, *rules.op_rules)
    assert len(everything) > 30
    for rule in everything:
        assert all((rule.id, rule.source, rule.remedy, rule.why, rule.compiler, rule.status)), rule.id


def test_the_rule_of_three_dimensions_has_the_compilers_words():
    (rule,) = (rule for rule in default_rules().op_rules if rule.id == "three-dimensions")
    assert rule.status == "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"  # as test_log.py has it


def test_every_check_is_used_by_a_rule():
    rules = default_rules()
    used = {rule.check for rule in (*rules.file_rules, *rules.op_rules)}
    assert used == {*OP_CHECKS, *FILE_CHECKS, *SPECIAL_CHECKS}


def test_no_rule_names_a_model():
    # Rules are general; a file name may stand in a source only.
    for rule in (*default_rules().file_rules, *default_rules().op_rules):
        assert not any(word in rule.why + rule.remedy for word in ("mnv2", "deeplab", "posenet", ".tflite")), rule.id


def test_the_documented_ceilings_are_there():
    versions = default_rules().versions
    # Refused by compiler 16 in public threads: CONV_2D 6, TRANSPOSE_CONV 4, QUANTIZE 3.
    assert (versions["CONV_2D"], versions["TRANSPOSE_CONV"], versions["QUANTIZE"]) == (5, 3, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", r"\[meta\] has schema 2, expected 1"),
        ("schema = 1", "", r"\[meta\] lacks the key 'schema'"),
        ("[meta]", "[mta]", r"unknown table \[mta\]; did you mean 'meta'\?"),
        ('verdict = "cpu"', 'verdict = "tpu"', "has the verdict 'tpu', expected 'cpu' or 'unsure'"),
        ('check = "always"', 'check = "alwas"', "unknown check 'alwas'; did you mean 'always'"),
        ('remedy = "', 'remdy = "', "unknown key 'remdy'; did you mean 'remedy'"),
        ('why = "HARD_SWISH is', 'why = "{HARD_SWISH is', "whose braces do not match"),
        ("with = { above = 32767 }", "with = { over = 32767 }", r"gives its check \['over'\], expected \['above'\]"),
        ('id = "elu"', 'id = "hard-swish"', "two rules have the id 'hard-swish'"),
        ("capacity_bytes = 8_074_000", 'capacity_bytes = "much"', "capacity_bytes = 'much', expected int"),
        ("CONV_2D = 5", 'CONV_2D = "5"', r"\[versions\] must give each operator a number"),
        ('scope = "file"', 'scope = "model"', "has the scope 'model', expected 'op' or 'file'"),
        ('ops = ["ELU"]', "ops = []", "names no ops"),
    ],
)
def test_a_wrong_edit_is_named(old, new, message):
    assert old in TEXT
    with pytest.raises(FileFormatError, match=f"The rules mine are wrong.*{message}"):
        parse_rules(TEXT.replace(old, new, 1), "mine")


def test_text_that_is_no_toml_is_named():
    with pytest.raises(FileFormatError, match="The rules mine are not valid TOML"):
        parse_rules("[meta\n", "mine")
    with pytest.raises(FileFormatError, match=r"it has no \[\[rule\]\]"):
        parse_rules(TEXT.split("\n[[supported]]")[0], "mine")


def test_a_file_is_read_from_disk(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(TEXT)
    assert load_rules(path) == default_rules()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="not UTF-8"):
        load_rules(path)
    with pytest.raises(UsageError, match="Cannot read the rules"):
        load_rules(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("above = 32767", "above = 'x'", "above is 'x', expected a whole number"),
        ('why = "', 'why = "{0}', "expected single words in braces"),
        ('why = "', 'why = "{op.__class__}', "expected single words in braces"),
        ('why = "', 'why = "{op:>99999999999}', "expected single words in braces"),
        ("[meta]", "[meta]\nx = " + "[" * 3000, "not valid TOML: it nests"),
    ],
)
def test_what_would_fail_only_when_a_model_breaks_the_rule_is_refused_at_once(old, new, message):
    assert old in TEXT
    with pytest.raises(FileFormatError, match=message):
        parse_rules(TEXT.replace(old, new, 1), "mine.toml")


def test_a_word_that_the_check_does_not_give_is_named():
    rules = parse_rules(TEXT.replace('why = "', 'why = "{nothing} ', 1), "mine.toml")
    first = next(rule for rule in (*rules.file_rules, *rules.op_rules) if "{nothing}" in rule.why)
    with pytest.raises(FileFormatError, match="says {nothing}, which its check does not give"):
        first.said({"op": "CONV_2D"})
