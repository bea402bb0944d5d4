"""Does a test notice? Policy, guards and ledger are changed a little, one place at a time, by
mutmut, and their tests are run on each change. What no test notices is a survivor.

mutmut runs its tests in forks of a process that has imported everything, and by what it saw run in
each test. What was worked out before the fork, at import or in a cache, is then never changed. So
whatever seems to survive is tried once more: in a new process, by the tests nearest to its module.

A survivor that only alters the words of a sentence is counted apart: what a sentence says to a
person is read in reviews, and is no rule. All others are printed, to be killed or explained.

`python -m benchmarks.mutation [--only NAME …] [--jobs N] [--sample N] [--out FILE]`
"""

import argparse
import ast
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SEED = 1  # of the lot
# The same examples each time, and no deadline: a slow machine is no test that noticed.
PYTEST = ("-p", "no:cacheprovider", "--hypothesis-profile=ci")
COPIED = ("src", "tests", "tools", "benchmarks", "docs", "changelog.d", "README.md", "Makefile")
KILLED, SURVIVED, NO_TESTS = 1, 0, 33  # exit codes by which mutmut keeps what became of a mutant
TIMED_OUT = (24, -24, 36, 152, 255)  # on a busy machine that says nothing: tried again
ALONE_TIMEOUT_S = 300  # of the tests on one change; a loop without end is noticed by that
ALONE_MEMORY_KIB = 8 * 1024 * 1024  # and one that gathers by this: a change must not take it all
SENTENCE = re.compile(r"[\w}][^ ]* +[^ ]*[\w{]")  # two words with a space between
FIELD = re.compile(r"\{[^{}]*\}")
DIFFS = """
import json, sys
from mutmut.configuration import Config
from mutmut.mutation.diff_apply import get_diff_for_mutant
Config.ensure_loaded() if hasattr(Config, "ensure_loaded") else None
print(json.dumps({name: get_diff_for_mutant(name) for name in json.load(sys.stdin)}))
"""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Modules that belong together, and the tests that should notice."""

    modules: tuple[str, ...]  # globs below src/chartgate
    tests: tuple[str, ...]


GROUPS = {
    "policy": Group(modules=("policy/*.py",), tests=("tests/policy",)),
    "guards": Group(
        modules=("flows/guards.py", "formats/compartment.py", "flows/consented.py"),
        tests=(
            "tests/flows/test_guards.py",
            "tests/flows/test_commits.py",
            "tests/flows/test_proposals.py",
            "tests/flows/test_consented.py",
            "tests/formats/test_compartment.py",
        ),
    ),
    "tree": Group(modules=("formats/merkle.py",), tests=("tests/formats/test_merkle.py",)),
    "ledger": Group(
        modules=("formats/checkpoint.py", "model/audit.py"),
        tests=(
            "tests/formats/test_checkpoint.py",
            "tests/model/test_audit.py",
            "tests/flows/test_ledger_rotation.py",
            "tests/flows/test_audit_export.py",
        ),
    ),
}


def mutate(group: Group, folder: Path, *, jobs: int, sample: int | None) -> dict[str, int]:
    """What became of each mutant, or of so many drawn by lot: an exit code by its name."""
    for name in COPIED:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif place.exists():
            shutil.copy(place, folder / name)
    only = [f"src/chartgate/{glob}" for glob in group.modules]
    settings = {
        "source_paths": ["src"],
        "only_mutate": only,
        "also_copy": [name for name in COPIED if (folder / name).exists()],
        "pytest_add_cli_args": list(PYTEST),
        "timeout_multiplier": 3.0,  # a change that makes a loop endless is noticed by its time
        "timeout_constant": 5.0,
        "pytest_add_cli_args_test_selection": list(group.tests),
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (folder / "pyproject.toml").write_text(
        f"{project}\n[tool.mutmut]\n" + "\n".join(lines) + "\n", encoding="utf-8"
    )
    drawn: list[str] = []
    if sample:
        run_mutmut(folder, ["none is called so"], jobs=jobs)  # makes them all, and tries none
        names = sorted(outcomes(folder))
        drawn = random.Random(SEED).sample(names, min(sample, len(names)))
    exit_code = run_mutmut(folder, drawn, jobs=jobs)
    found = outcomes(folder)
    if exit_code or not found:
        lines = (folder / "mutmut.log").read_text("utf-8").replace("\r", "\n").splitlines()
        telling = [line[:300] for line in lines if line.startswith(("FAILED", "ERROR", "E  "))]
        said = "\n".join((telling or lines)[-20:])
        sys.exit(f"mutmut ended with {exit_code}:\n{said}")
    return {name: code for name, code in found.items() if code is not None}


def run_mutmut(folder: Path, names: Sequence[str], *, jobs: int) -> int:
    """On these mutants, or on all; its exit status."""
    with (folder / "mutmut.log").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        while running.poll() is None:
            time.sleep(10)
            found = outcomes(folder)
            ended = sum(code is not None for code in found.values())
            print(f"  {ended} of {len(names) or len(found)} mutants", flush=True)
    return running.returncode


def outcomes(folder: Path) -> dict[str, int | None]:
    """Exit codes by mutant so far; None: not tried yet."""
    found: dict[str, int | None] = {}
    for meta in folder.glob("mutants/**/*.meta"):
        try:
            found.update(json.loads(meta.read_text("utf-8"))["exit_code_by_key"])
        except (ValueError, KeyError):
            continue  # it is being written
    return found


def diffs(folder: Path, names: list[str]) -> dict[str, str]:
    """What each mutant changed."""
    done = subprocess.run(
        [sys.executable, "-c", DIFFS],
        cwd=folder, input=json.dumps(names), capture_output=True, text=True, check=True,
    )  # fmt: skip
    shown: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    return shown


def is_only_words(diff: str) -> bool:
    """Whether nothing but the words of a sentence differs, or a sentence became None."""
    changed = [line for line in diff.splitlines() if line[:3] not in ("+++", "---")]
    before = list(_tokens(line[1:] for line in changed if line[:1] == "-"))
    after = list(_tokens(line[1:] for line in changed if line[:1] == "+"))
    pairs = list(zip(before, after, strict=False))
    return len(before) == len(after) and all(
        old == new or (_is_sentence(old) and (new == "None" or _fields(old) == _fields(new)))
        for old, new in pairs
    )


def _tokens(lines: Iterable[str]) -> Iterator[str]:
    """Of a few lines out of a file, as far as they can be read without the rest."""
    text = "\n".join(line.strip() for line in lines)
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            yield token.string
    except (tokenize.TokenError, IndentationError):
        return


def _is_sentence(token: str) -> bool:
    return token[-1:] in "\"'" and SENTENCE.search(token.strip("rf\"'")) is not None


def _fields(token: str) -> list[str] | None:
    """What an f-string fills in, which is no words; None: no string."""
    return FIELD.findall(token) if token[-1:] in "\"'" and token[:1] in "rf\"'" else None


def nearest(folder: Path, module: str, tests: Iterable[str]) -> list[str]:
    """Those of the tests that import the module or, where none does, what imports it, and so on;
    and those that are one step further away."""
    known = {path: _imported(path) for place in tests for path in _files(folder / place)}
    sources = {path: _imported(path) for path in _files(folder / "src" / "chartgate")}
    reached, fresh = {module}, {module}
    near: set[str] = set()
    while fresh:
        found = [p for p, names in known.items() if names & fresh and p.name.startswith("test_")]
        further = bool(near)
        near |= {str(path.relative_to(folder)) for path in found}
        if further:
            break
        importers = {_module(path, folder) for path, names in sources.items() if names & fresh}
        fresh = importers - reached
        reached |= fresh
    return sorted(near) or list(tests)


def _files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def _module(path: Path, folder: Path) -> str:
    return ".".join(path.relative_to(folder / "src").with_suffix("").parts)


def _imported(path: Path) -> set[str]:
    """Modules, and what is imported from them, which may be modules."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found


def is_noticed_alone(folder: Path, mutant: str, tests: Sequence[str]) -> bool:
    """Whether these tests fail on a mutant, in a process that was never without it."""
    limited = ["sh", "-c", f'ulimit -v {ALONE_MEMORY_KIB} && exec "$@"', "sh"]
    command = [sys.executable, "-m", "pytest", "-x", "-q", *PYTEST]
    try:
        done = subprocess.run(
            [*limited, *command, *tests],
            cwd=folder / "mutants", capture_output=True, timeout=ALONE_TIMEOUT_S, check=False,
            env={**os.environ, "MUTANT_UNDER_TEST": mutant, "PYTHONPATH": "src"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return True
    return done.returncode in (1, 2, 3)  # failed, or could not even be collected


def tried_again(
    folder: Path, survivors: list[str], words: list[str], name: str, *, jobs: int
) -> list[str]:
    """Those that no test notices in a process of their own either."""
    rest = sorted(set(survivors) - set(words))
    print(f"  {len(rest)} are tried again", flush=True)
    modules = {each.rpartition(".")[0] for each in rest}
    tests = {each: nearest(folder, each, GROUPS[name].tests) for each in modules}
    with ThreadPoolExecutor(jobs) as pool:
        trying = pool.map(
            lambda each: is_noticed_alone(folder, each, tests[each.rpartition(".")[0]]), rest
        )
        noticed = []
        for number, yes in enumerate(trying, 1):
            noticed.append(yes)
            if number % 20 == 0:
                print(f"  {number} of {len(rest)} tried, {sum(noticed)} noticed", flush=True)
    return [each for each, yes in zip(rest, noticed, strict=True) if not yes]


def measure(name: str, *, jobs: int, sample: int | None) -> dict[str, Any]:
    """One group, from its copy to its survivors."""
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="cg-mutation-") as text:
        folder = Path(text)
        folder.chmod(0o711)
        ended = mutate(GROUPS[name], folder, jobs=jobs, sample=sample)
        unclear = (SURVIVED, NO_TESTS, *TIMED_OUT)
        survivors = sorted(n for n, code in ended.items() if code in unclear)
        print(f"  {len(survivors)} of {len(ended)} seem to survive", flush=True)
        shown = diffs(folder, survivors)
        words = [n for n in survivors if is_only_words(shown[n])]
        survivors = sorted({*words, *tried_again(folder, survivors, words, name, jobs=jobs)})
    rest = [n for n in survivors if n not in words]
    rules = len(ended) - len(words)
    return {
        "mutants": len(ended),
        "killed": len(ended) - len(survivors),
        "killed_share": round((len(ended) - len(survivors)) / len(ended), 4),
        "survivors_in_words": len(words),
        "killed_share_of_rules": round((rules - len(rest)) / rules, 4),
        "survivors": {n: shown[n] for n in rest},
    }


def main() -> None:
    """Measures, prints the survivors and one line of figures a group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(GROUPS), default=list(GROUPS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int, help="so many of each group, drawn by lot")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = {
        name: measure(name, jobs=options.jobs, sample=options.sample) for name in options.only
    }
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for result in results.values():
        for diff in result["survivors"].values():
            print(diff)
    for name, result in results.items():
        print(name, json.dumps({k: v for k, v in result.items() if k != "survivors"}))


if __name__ == "__main__":
    main()
