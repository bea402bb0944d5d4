"""Checks on the code base itself: sizes, module docs, queries in use, mirrored tests, layers."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "chartgate"
TESTS = ROOT / "tests"
MODULES = sorted(SRC.rglob("*.py"))
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
VAGUE = {"util", "utils", "common", "core", "helpers", "managers", "services", "misc"}


def relative(path: Path) -> str:
    return str(path.relative_to(SRC))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_fits_in_the_head_and_says_what_lives_there(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= FILE_LINES_MAX
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "say what lives here and why"
    assert path.stem not in VAGUE
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} is {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_public_things_have_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        if isinstance(node, kinds) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_every_named_query_is_used() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in MODULES)
    for sql in SRC.rglob("*.sql"):
        for name in re.findall(r"^-- name: (\w+)$", sql.read_text(), flags=re.MULTILINE):
            assert f'"{name}"' in code, f"{sql.name}: {name} is never used"


def test_every_test_file_mirrors_a_module() -> None:
    """tests/<row>/test_<file>[_more].py: a reader finds the tests of a file without searching."""
    apart = {
        "attacks",
        "tidy",
        "walks",
        "tools",
        "benchmarks",
        "simulation",
    }  # tests of the project itself, and of whole walks
    for test in TESTS.rglob("test_*.py"):
        folder = test.parent.relative_to(TESTS)
        if folder.parts and folder.parts[0] in apart:
            continue
        stem = test.stem.removeprefix("test_")
        names = {p.stem for p in (SRC / folder).glob("*.py")} | {
            p.name for p in (SRC / folder).glob("*") if p.is_dir()
        }
        assert any(stem == n or stem.startswith(n + "_") for n in names), f"{test}: of which file?"


def test_only_bookkeeping_is_done_without_an_audit_event() -> None:
    """Each use of `bookkeeping` is listed here with what makes it one (invariant 10)."""
    allowed = (ROOT / "tests" / "tidy" / "bookkeeping.txt").read_text().splitlines()
    known = {line.partition(" ")[0] for line in allowed if line.strip()}
    for path in MODULES:
        book = relative(path) != "store/database.py"
        if book and re.search(r"\.bookkeep(ing|_row)\(", path.read_text()):
            assert relative(path) in known, f"{path} writes without an audit event: say why"


def test_the_project_names_no_machine_and_no_registry() -> None:
    """Committed files hold no path of a machine and no host of a package index."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    banned = re.compile(r"/root/|/home/\w+/|/work/|pypi\.org|pythonhosted|registry\.npmjs")
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        found = banned.search(path.read_text(encoding="utf-8", errors="replace"))
        assert not found, f"{name} names {found and found[0]}"


def test_reference_pages_are_current() -> None:
    """docs/reference is generated; `make docs` writes it."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.reference", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
