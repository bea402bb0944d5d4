"""Does a test notice? Policy, guards and ledger are changed a little, one place at a time, by
mutmut, and their tests are run on each change. What no test notices is a survivor.

A survivor that only alters the words of a sentence is counted apart: what a sentence says to a
person is read in reviews, and is no rule. All others are printed, to be killed or explained.

`python -m benchmarks.mutation [--only NAME …] [--jobs N] [--out FILE]`
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "tools", "benchmarks", "docs", "changelog.d", "README.md", "Makefile")
KILLED, SURVIVED, NO_TESTS = 1, 0, 33  # exit codes by which mutmut keeps what became of a mutant
WORDS = re.compile(r"""f?("[^"]*[ ,.][^"]*"|'[^']*[ ,.][^']*')""")
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


def mutate(group: Group, folder: Path, *, jobs: int) -> dict[str, int]:
    """What became of each mutant: an exit code by its name."""
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
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        "timeout_multiplier": 3.0,  # a change that makes a loop endless is noticed by its time
        "timeout_constant": 5.0,
        "pytest_add_cli_args_test_selection": list(group.tests),
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (folder / "pyproject.toml").write_text(
        f"{project}\n[tool.mutmut]\n" + "\n".join(lines) + "\n", encoding="utf-8"
    )
    with (folder / "mutmut.log").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs)]
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        while running.poll() is None:
            time.sleep(10)
            found = outcomes(folder)
            ended = sum(code is not None for code in found.values())
            print(f"  {ended} of {len(found)} mutants", flush=True)
    found = outcomes(folder)
    if running.returncode or not found:
        tail = (folder / "mutmut.log").read_text("utf-8").replace("\r", "\n")[-2000:]
        sys.exit(f"mutmut ended with {running.returncode}:\n{tail}")
    return {name: code for name, code in found.items() if code is not None}


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
    lines = [
        line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    bare = {WORDS.sub('""', line[1:]).replace("None", '""').strip() for line in lines}
    return len(bare) == 1 and any(WORDS.search(line) for line in lines)


def measure(name: str, *, jobs: int) -> dict[str, Any]:
    """One group, from its copy to its survivors."""
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="cg-mutation-") as text:
        folder = Path(text)
        folder.chmod(0o711)
        ended = mutate(GROUPS[name], folder, jobs=jobs)
        survivors = sorted(n for n, code in ended.items() if code in (SURVIVED, NO_TESTS))
        shown = diffs(folder, survivors)
    words = [n for n in survivors if is_only_words(shown[n])]
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
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = {name: measure(name, jobs=options.jobs) for name in options.only}
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for result in results.values():
        for diff in result["survivors"].values():
            print(diff)
    for name, result in results.items():
        print(name, json.dumps({k: v for k, v in result.items() if k != "survivors"}))


if __name__ == "__main__":
    main()
