"""Writes docs/reference from the code, so that the pages cannot drift from it.

`python -m tools.reference` writes; `--check` says which pages are stale and exits with 1.
"""

import argparse
import ast
import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from chartgate import config, errors
from chartgate.cli import build_parser
from chartgate.model.audit import ACTIONS
from chartgate.model.proposal import ENDS, TRANSITIONS, Status
from chartgate.policy.charters import CHARTER_SCHEMA
from chartgate.web.app import ROUTES

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "chartgate"
WRITTEN = "<!-- written by `make docs`; change the code instead -->"


def main() -> None:
    """Writes or checks every page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say what is stale")
    check: bool = parser.parse_args().check
    stale = []
    for name, text in pages():
        path = FOLDER / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old != text:
            stale.append(name)
            if not check:
                FOLDER.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if stale:
        print(("stale, run `make docs`: " if check else "wrote ") + ", ".join(stale))
    sys.exit(1 if check and stale else 0)


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each page."""
    yield "states.md", _page("States of a proposal", states())
    yield "cli.md", _page("Command line", command_line())
    yield "config.md", _page("chartgate.toml", configuration())
    yield "charter.md", _page("Charter", charter())
    yield "charter.schema.json", json.dumps(CHARTER_SCHEMA, indent=1) + "\n"
    yield "errors.md", _page("Errors", error_classes())
    yield "audit-actions.md", _page("Audit actions", audit_actions())
    yield "routes.md", _page("Routes", routes())


def states() -> str:
    """The transitions, as a Mermaid diagram and a table."""
    meaning = _field_comments(SOURCE / "model" / "proposal.py", "Status")
    arrows = [
        f"  {before.name} --> {after.name}"
        for before, targets in TRANSITIONS.items()
        for after in sorted(targets, key=lambda status: status.value)
    ]
    arrows += [f"  {status.name} --> [*]" for status in Status if status in ENDS]
    rows = [
        f"| `{s.value}` | {meaning.get(s.name, '')} | "
        f"{', '.join(sorted(f'`{t.value}`' for t in TRANSITIONS[s])) or 'the end'} |"
        for s in Status
    ]
    head = ["| state | meaning | next |", "|---|---|---|"]
    return "\n".join(["```mermaid", "stateDiagram-v2", *arrows, "```", "", *head, *rows])


def command_line() -> str:
    """The help text of every command."""
    return "\n\n".join(_help(build_parser()))


def _help(parser: argparse.ArgumentParser) -> Iterator[str]:
    parser.formatter_class = lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=92)
    yield f"## {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _help(child)


def configuration() -> str:
    """Every key with its type, default and reason."""
    parts = [textwrap.dedent(config.__doc__ or "").strip()]
    sections: list[tuple[str, type[Any]]] = [
        ("top of the file", config.Config),
        *((f"[{name}]", section) for name, section in config.SECTIONS.items()),
        ("[connections.NAME]", config.ConnectionConfig),
        ("[clients.NAME]", config.ClientConfig),
    ]
    hidden = {"folder", "connections", "clients", "name", "options", *config.SECTIONS}
    for title, section in sections:
        comments = _field_comments(SOURCE / "config.py", section.__name__)
        rows = [
            f"| `{f.name}` | {_default(f)} | {comments.get(f.name, '')} |"
            for f in fields(section)
            if f.name not in hidden
        ]
        parts.append("\n".join([f"## {title}", "", "| key | default | |", "|---|---|---|", *rows]))
    parts.append(
        "What else stands under `[connections.NAME]` is the adapter's own: see its README."
    )
    return "\n\n".join(parts)


def _default(spec: Any) -> str:
    if spec.default is MISSING:
        return "needed"
    return "empty" if str(spec.default) == "" else f"`{spec.default}`"


def charter() -> str:
    """Every key of a charter, from the schema."""
    lines = ["The JSON Schema is [charter.schema.json](charter.schema.json).", ""]
    lines += ["| key | |", "|---|---|"]
    lines += [f"| `{path}` | {text} |" for path, text in _keys(CHARTER_SCHEMA, "")]
    return "\n".join(lines)


def _keys(schema: Any, path: str) -> Iterator[tuple[str, str]]:
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        schema = CHARTER_SCHEMA.get("$defs", {}).get(name, {}) | {
            k: v for k, v in schema.items() if k != "$ref"
        }
    if path:
        yield path, str(schema.get("description", ""))
    for key, child in schema.get("properties", {}).items():
        yield from _keys(child, f"{path}.{key}" if path else key)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _keys(schema["additionalProperties"], f"{path}.NAME")
    if isinstance(schema.get("items"), dict) and schema["items"].get("type") == "object":
        yield from _keys(schema["items"], f"{path}[]")


def error_classes() -> str:
    """Every error with its FHIR issue code and HTTP status."""
    rows = ["| error | issue | HTTP | when |", "|---|---|---|---|"]
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.ChartgateError)
    ]
    for kind in classes:
        text = " ".join((kind.__doc__ or "").split())
        rows.append(f"| `{kind.__name__}` | `{kind.issue}` | {kind.status} | {text} |")
    return "\n".join(rows)


def audit_actions() -> str:
    """Every action of an audit event."""
    rows = ["| action | what happened |", "|---|---|"]
    return "\n".join(rows + [f"| `{name}` | {text} |" for name, text in sorted(ACTIONS.items())])


def routes() -> str:
    """Every route with its guard."""
    rows = ["| method | path | who | name |", "|---|---|---|---|"]
    rows += [
        f"| {r.method} | `{r.path}` | {r.guard.value} | `{r.name}` |"
        for r in sorted(ROUTES, key=lambda r: (r.path, r.method))
    ]
    return "\n".join(rows)


def _page(title: str, body: str) -> str:
    return f"{WRITTEN}\n\n# {title}\n\n{body}\n"


def _field_comments(path: Path, class_name: str) -> dict[str, str]:
    """The comment behind each field of a class, and those of an enum's members."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in ast.parse("\n".join(lines)).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return {
                target: lines[item.lineno - 1].partition("  # ")[2]
                for item in node.body
                for target in _targets(item)
            }
    return {}


def _targets(item: ast.stmt) -> list[str]:
    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
        return [item.target.id]
    if isinstance(item, ast.Assign):
        return [t.id for t in item.targets if isinstance(t, ast.Name)]
    return []


if __name__ == "__main__":
    main()
