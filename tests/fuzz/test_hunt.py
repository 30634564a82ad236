"""The hunt finds what it is for: each fault of a reader that has them all."""

from __future__ import annotations

from collections import Counter

from .hunt import hunt
from .readers import load_reader
from .worker import make_case


def test_each_planted_fault_is_found_and_the_hunt_goes_on_behind_it(tmp_path):
    found = hunt("planted", seed=0, cases=9, trace_every=1, limits=(0.5, 100 << 20))
    assert Counter(kind for kind, _ in found.findings.elements()) == {
        "KeyError": 1,
        "EdgeoptError": 1,
        "memory": 1,
        "slow": 1,
        "SIGSEGV": 1,
        "hang": 1,
    }
    assert (found.cases, found.accepted, found.refused) == (9, 2, 1)
    hit, total = found.coverage()
    assert total / 2 < hit < total  # the lines of a process that was killed are lost
    found.save(tmp_path)
    assert {path.read_bytes() for path in tmp_path.glob("*.bin")} == {b"f", b"i", b"m", b"s", b"k", b"h"}
    assert "scripts/fuzz --again planted 0 2" in next(tmp_path.glob("*-KeyError-*.txt")).read_text()


def test_a_number_gives_the_same_damage_each_time_and_another_for_another_seed():
    reader = load_reader("tflite")
    files = list(reader.files().values())
    cases = [make_case(reader, files, 0, index) for index in range(len(files), len(files) + 50)]
    assert cases == [make_case(reader, files, 0, index) for index in range(len(files), len(files) + 50)]
    assert cases != [make_case(reader, files, 1, index) for index in range(len(files), len(files) + 50)]
    assert sum(case in files for case in cases) < 10
