"""Mutation tests: run the quick tests of some modules on many slightly changed copies of them.

A change that no test notices is a gap in the tests, or one that changes nothing. mutmut makes the changes and maps them
to the tests that reach them. It works on a copy that is laid out as the wheel is, so that what the tests import is what
it changed: it stops when no test fails although every changed function raises. It leaves properties, other decorated
functions and constants of modules alone.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import tomllib

CHECKOUT = Path(__file__).resolve().parent.parent
QUICK = ["-m", "not heavy and not board", "-p", "no:cacheprovider"]
CAUGHT = ("killed", "timeout", "segfault")


def main() -> None:
    """Read the command line, mutate, and print the share that was noticed and every change that was not."""
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a module or a folder, such as edgeopt/evaluation")
    parser.add_argument("--tests", nargs="+", default=[], metavar="FILE", help="in place of those that mirror PATH")
    parser.add_argument("--sample", type=int, metavar="N", help="try N changes, drawn by --seed (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="try these changes, by name or pattern")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time (default: 1)")
    options = parser.parse_args()
    tests = options.tests or [str(mirrored(Path(path))) for path in options.paths]
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        lay_out(Path(folder), [installed(Path(path)) for path in options.paths], list(dict.fromkeys(tests)))
        os.chdir(folder)
        Path("mutants").mkdir()  # Python remembers the folders of its path that were not there when it started
        os.environ["PYTHONPATH"] = str(Path(folder) / "mutants")
        os.environ.setdefault("EDGEOPT_TEST_DATA", str(CHECKOUT.parent / "shared" / "data"))
        names = chosen(options.only, options.sample, options.seed)
        argv = [sys.executable, "-m", "mutmut", "run", "--max-children", str(options.jobs), *names]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit("\n".join(line.split("\r")[-1] for line in done.stdout.split("\n")[-60:]))
        report()


def installed(path: Path) -> Path:
    """Return where a path of the checkout lies in the wheel."""
    return path if path.parts[0] == "edgeopt" else Path("edgeopt") / path


def mirrored(path: Path) -> Path:
    """Return the tests of a module, or of its folder where it has none of its own."""
    folder = Path("tests", *path.with_suffix("").parts[path.parts[0] == "edgeopt" :])
    own = folder.with_name(f"test_{folder.name}.py")
    return folder if path.is_dir() else own if (CHECKOUT / own).exists() else folder.parent


def lay_out(folder: Path, mutated: Sequence[Path], tests: Sequence[str]) -> None:
    """Copy the package, as it is installed, and the tests; write mutmut's settings beside them."""
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "edgeopt", folder / "edgeopt", ignore=without)
    for name in ("converters", "devices"):
        shutil.copytree(CHECKOUT / name, folder / "edgeopt" / name, ignore=without)
    shutil.copytree(CHECKOUT / "tests", folder / "tests", ignore=without)
    settings = {
        "source_paths": ["edgeopt"],
        "only_mutate": [str(path) if path.suffix else f"{path}/*.py" for path in mutated],
        "pytest_add_cli_args": QUICK,
        "pytest_add_cli_args_test_selection": list(tests),
        "process_isolation": "forkserver",  # some tests start TensorFlow, whose threads do not outlive a fork
        "timeout_constant": 4,  # seconds, to be multiplied by mutmut's 15: a busy machine is slow, and not endless
    }
    import tomli_w

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    tools = {"pytest": project["tool"]["pytest"], "mutmut": settings}
    (folder / "pyproject.toml").write_text(tomli_w.dumps({"tool": tools}))


def chosen(only: Sequence[str], sample: int | None, seed: int) -> list[str]:
    """Return the names or patterns of the changes to try; none for all."""
    if only or sample is None:
        return list(only)
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import get_mutant_name

    names = sorted(
        get_mutant_name(path, name)
        for path in walk_mutatable_files()
        for name in mutate_file_contents(str(path), path.read_text()).mutant_names
    )
    print(f"{len(names)} changes, of which {min(sample, len(names))} are tried (seed {seed})")
    return random.Random(seed).sample(names, min(sample, len(names)))


def report() -> None:
    """Print each change that no test noticed, and the share of those that one did, by module."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    total: Counter[str] = Counter()
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        tried = {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items() if code is not None}
        for name, status in tried.items():
            if status not in CAUGHT:
                print(f"\n# {name}: {status}\n{get_diff_for_mutant(name, path=path)}")
        caught = Counter(status in CAUGHT for status in tried.values())
        total.update({"tried": len(tried), "caught": caught[True], **Counter(tried.values())})
        print(f"{path}: {caught[True]} of {len(tried)} noticed")
    share = f"{total['caught'] / max(total['tried'], 1):.1%}"
    endless = f"{total['timeout']} of them because the tests did not end"
    print(f"\n{total['caught']} of {total['tried']} changes noticed ({endless}): {share}")


if __name__ == "__main__":
    main()
