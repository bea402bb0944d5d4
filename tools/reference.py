"""Writes docs/reference from the code, so that the pages cannot drift from it.

`python -m tools.reference` writes; `--check` says which pages are stale and exits with 1.
"""

import argparse
import ast
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from datetime import date
from pathlib import Path
from typing import Any

from chartgate import config, errors
from chartgate.adapters.fhir_r4.dialect import PROBED, SETTINGS, load_dialect
from chartgate.adapters.loader import manifests
from chartgate.cli import build_parser
from chartgate.model.audit import ACTIONS
from chartgate.model.proposal import ENDS, TRANSITIONS, Status
from chartgate.observe.metrics import Metrics
from chartgate.policy.charters import CHARTER_SCHEMA
from chartgate.policy.model_file import SOURCE_ATTRIBUTES
from chartgate.transform.balp.events import OUTCOMES, profiles_of
from chartgate.transform.balp.patterns import pattern_of
from chartgate.web.app import ROUTES

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "chartgate"
WRITTEN = "<!-- written by `make docs`; change the code instead -->"
PLACEHOLDERS = {
    "sites": "SITE",
    "reads": "TYPE",
    "proposes": "ACTION",
    "proposes.ACTION.fixed": "ELEMENT",
    "proposes.ACTION.through": "SITE",
    "proposes.ACTION.values": "ELEMENT",
    "proposes.ACTION.values.ELEMENT.names": "CODE",
    "halt_when": "MEASURE",
    "rollout[].gate": "MEASURE",
}

STATES_INTRO = """\
Every change of state is one row here, is made in one transaction with its audit event, and no
other change is possible. `committed`, `mismatched`, `expired` and `conflicted` pass by themselves."""
CONFIG_INTRO = """\
`chartgate init` writes a commented one. It is read once, at start; `--config FILE` or
`CHARTGATE_CONFIG` names another than `./chartgate.toml`. A key that is not listed here is an error
that names the near one. Paths are relative to the file's own folder. Secrets are named by file and
never written here. Keys ending in `_s` are seconds."""
CHARTER_INTRO = """\
One YAML file in `charters_dir` for each AI use. `chartgate charter check` says what is wrong with
one; [how to write one](../howto/write-a-charter.md) goes through it. The JSON Schema, for editors,
is [charter.schema.json](charter.schema.json)."""
MODEL_INTRO = """\
The file that a charter's `model` names: `model` (its name), `version`, and `attributes`, texts by
paragraph of 45 CFR 170.315(b)(11)(iv)(B). One that is left out is shown to reviewers as
"not provided". A paragraph that is not listed here is an error."""
DIALECT_INTRO = """\
The habits of one product each, as data: `dialect` of a connection names one. A line is documented,
with its source, or probed. Documents say what to expect; what decides about writing is what
`chartgate probe` has seen on that very system."""
ERRORS_INTRO = """\
Over HTTP each is an OperationOutcome whose issue has this code; `diagnostics` says what to do and
holds no patient data. At the token endpoint it is an OAuth error instead (RFC 6749). On the
command line `Invalid` and `ConfigError` end with status 2, all others with 1."""
AUDIT_INTRO = """\
An audit event has `recorded`, `action`, `agent` (`client:`, `person:` or `process:` and a name),
`outcome` (`success`, `denied` or `failed`) and `tenant`; where they apply `entities` (references),
`patient` or, of several, `patients`, `site`, `charter` and `charter_digest`, `purpose`,
`interaction`, `rule` and `decision` of the policy, `reason` and `details`; `network` and `request`,
the address and the X-Request-Id of the request it was made for; `consent` and `disclosed`, digests
of the consents that were looked at and of what left; `labels`, its security labels. Its canonical
JSON is a leaf of the ledger."""
AUDIT_EVENTS_INTRO = """\
`chartgate audit export --format fhir` and the feeds of `[atna.NAME]` tell each event as FHIR R4
AuditEvents by [IHE BALP](https://profiles.ihe.net/ITI/BALP/) 1.1.4. The first has the hash of the
event's leaf as its id; entity `leaf` repeats it, since servers give ids of their own.

* One AuditEvent for each patient of a search, and one for each resource that was written.
* What a consent decided is told in one more, `AuthZconsent`; what an accounting of disclosures must
  hold (45 CFR 164.528), in one more, `PrivacyDisclosure.Source`. Where an event names the access
  token that was used, it holds under `OAUTHaccessTokenUse.Minimal` too.
* Queries are told without their values, which can say as much of a patient as the chart: the
  parameters' names stand there, and the interaction has the rest.
* Entity `decision` has the policy's decision as identifier, and rule, charter, interaction, digests
  of consents and of what left as details; entity `XrequestId` the X-Request-Id of the answer.
* BALP claims nothing for what did not succeed (but for a consent that said no). Our pattern for
  that: the same type and subtypes; outcome `8` for what was denied and `4` for what failed;
  `outcomeDesc`; and entity `reason` with the reason as a code of `urn:chartgate:audit-reason`.
* Every subtype list ends with our action, of `urn:chartgate:audit-action`, where a profile leaves
  room for it.

Profiles are those of an event with a patient; without one the `Patient` of the name falls away."""
ROUTES_INTRO = """\
`client` needs an access token, `person` a session cookie (and, to change something, the session's
CSRF token), `principal` either; `public` asks nobody who they are and shows no patient data. What a
caller may do once in is for policy to decide. Bodies and answers: the contract at
`/v1/openapi.yaml`."""
METRICS_INTRO = """\
What one gateway process shows at `/metrics`, in the text form of Prometheus. No label names a
patient, a resource or a person."""


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
    yield "model-file.md", _page("Model file", model_file())
    yield "adapters.md", _page("Adapters", adapters())
    yield "dialects.md", _page("Dialects of FHIR servers", dialects())
    yield "errors.md", _page("Errors", error_classes())
    yield "audit-actions.md", _page("Audit actions", audit_actions())
    yield "audit-events.md", _page("Audit events as FHIR", audit_events())
    yield "routes.md", _page("Routes", routes())
    yield "metrics.md", _page("Metrics", metrics())


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
        (
            f"`{status.value}`",
            meaning.get(status.name, ""),
            ", ".join(sorted(f"`{after.value}`" for after in TRANSITIONS[status])) or "the end",
        )
        for status in Status
    ]
    diagram = "\n".join(["```mermaid", "stateDiagram-v2", *arrows, "```"])
    return f"{STATES_INTRO}\n\n{diagram}\n\n{_table(('state', 'meaning', 'next'), rows)}"


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
    """Every key with its default and meaning."""
    parts = [CONFIG_INTRO]
    sections: list[tuple[str, type[Any]]] = [
        ("top of the file", config.Config),
        *((f"[{name}]", section) for name, section in config.SECTIONS.items()),
        ("[connections.NAME]", config.ConnectionConfig),
        *((f"[{name}.NAME]", section) for name, section in config.NAMED.items()),
    ]
    hidden = {"folder", "connections", "name", "options", *config.SECTIONS, *config.NAMED}
    for title, section in sections:
        comments = _field_comments(Path(inspect.getfile(section)), section.__name__)
        rows = [
            (f"`{f.name}`", _default(f), comments.get(f.name, ""))
            for f in fields(section)
            if f.name not in hidden
        ]
        parts.append(f"## {title}\n\n" + _table(("key", "default", "meaning"), rows))
    parts.append(
        "What else stands under `[connections.NAME]` is its adapter's own: [adapters](adapters.md)."
    )
    return "\n\n".join(parts)


def _default(spec: Any) -> str:
    if spec.default is MISSING and spec.default_factory is MISSING:
        return "needed"
    if spec.default is MISSING or spec.default in ((), date.max):
        return "empty"
    return "empty" if str(spec.default) == "" else f"`{spec.default}`"


def charter() -> str:
    """Every key of a charter, from the schema."""
    rows = [(f"`{path}`", default, text) for path, default, text in _keys(CHARTER_SCHEMA, "")]
    return f"{CHARTER_INTRO}\n\n{_table(('key', 'default', 'value'), rows)}"


def _keys(schema: Any, path: str, default: str = "") -> Iterator[tuple[str, str, str]]:
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        named = CHARTER_SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        schema = {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    if path:
        yield path, default, _meaning(schema)
    needed = schema.get("required", ())
    for key, child in schema.get("properties", {}).items():
        given = f"`{json.dumps(child['default'])}`" if "default" in child else ""
        below = f"{path}.{key}" if path else key
        yield from _keys(child, below, "needed" if key in needed else given)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _keys(schema["additionalProperties"], f"{path}.{PLACEHOLDERS[path]}")
    if "$ref" in schema.get("items", {}) and "enum" not in schema["items"]:
        yield from (row for row in _keys(schema["items"], f"{path}[]") if row[0] != f"{path}[]")


def _meaning(schema: Mapping[str, Any]) -> str:
    text = str(schema.get("description", ""))
    note = str(schema.get("$comment", ""))
    return f"{text}. {note}" if text and note else text or note


def model_file() -> str:
    """The 31 source attributes."""
    rows = [(f"`{paragraph}`", label) for paragraph, label in SOURCE_ATTRIBUTES.items()]
    return f"{MODEL_INTRO}\n\n{_table(('paragraph', 'what it asks for'), rows)}"


def adapters() -> str:
    """Every adapter with its options, from adapter.toml."""
    parts = ["What stands under `[connections.NAME]`, beside `adapter` and `site`."]
    for name, manifest in sorted(manifests().items()):
        rows = [
            (f"`{key}`", spec.type, "yes" if spec.required else "", _note(spec.note, spec.secret))
            for key, spec in manifest.options.items()
        ]
        parts.append(
            f"## {name}\n\n{manifest.title}. Standard: {manifest.standard}, versions "
            f"{', '.join(manifest.versions)}. Ports: {', '.join(manifest.ports)}. Resource types: "
            f"{', '.join(manifest.resource_types)}. What it does not cover stands in "
            f"[its README](../../src/chartgate/adapters/{name}/README.md).\n\n"
            + _table(("option", "type", "needed", "meaning"), rows)
        )
    return "\n\n".join(parts)


def _note(note: str, secret: bool) -> str:
    return f"{note} (names a file that holds a secret)" if secret else note


def dialects() -> str:
    """What each dialect file says, and what the probe tries."""
    folder = SOURCE / "adapters" / "fhir_r4" / "dialects"
    probed = _table(("line", "holds if"), [(f"`{line}`", text) for line, text in PROBED.items()])
    settings = _table(
        ("line", "if no dialect says it"),
        [(f"`{line}`", f"`{json.dumps(value)}`") for line, value in SETTINGS.items()],
    )
    parts = [DIALECT_INTRO, f"## What the probe tries\n\n{probed}"]
    parts.append(f"## What only documents can say\n\n{settings}")
    for file in sorted(folder.glob("*.toml")):
        dialect = load_dialect(file.stem)
        rows = [
            (f"`{name}`", f"`{json.dumps(line.value)}`", line.basis, line.source)
            for name, line in sorted(dialect.lines.items())
        ]
        stand_ins = ", ".join(
            f"{kind} `{element}: {value}`"
            for kind, (element, value) in sorted(dialect.stand_ins.items())
        )
        parts.append(
            f"## {file.stem}\n\nFor {dialect.title}.\n\n"
            + _table(("line", "value", "basis", "source"), rows)
            + f"\n\nStands in for a delete where that is not possible: {stand_ins or 'nothing'}."
        )
    return "\n\n".join(parts)


def error_classes() -> str:
    """Every error with its FHIR issue code and HTTP status."""
    rows = [
        (f"`{kind.__name__}`", f"`{kind.issue}`", str(kind.status), _words(kind.__doc__))
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ChartgateError)
    ]
    return f"{ERRORS_INTRO}\n\n{_table(('error', 'issue', 'HTTP', 'when'), rows)}"


def audit_actions() -> str:
    """Every action of an audit event."""
    rows = [(f"`{name}`", text) for name, text in sorted(ACTIONS.items())]
    return f"{AUDIT_INTRO}\n\n{_table(('action', 'what happened'), rows)}"


def audit_events() -> str:
    """Each action as FHIR: profile, type, subtypes and action code."""
    success = next(outcome for outcome, code in OUTCOMES.items() if code == "0")
    rows = []
    for name in sorted(ACTIONS):
        pattern = pattern_of(name)
        claimed = ", ".join(p.rpartition("IHE.")[2] for p in profiles_of(name, success))
        subtypes = ", ".join(code for _, code in pattern.subtypes)
        rows.append((f"`{name}`", claimed or "ours", pattern.type[1], subtypes, pattern.letter))
    head = ("action", "profile on success", "type", "subtypes beside ours", "action code")
    return f"{AUDIT_EVENTS_INTRO}\n\n{_table(head, rows)}"


def routes() -> str:
    """Every route with its guard."""
    rows = [
        (route.method, f"`{route.path}`", route.guard.value, f"`{route.name}`")
        for route in sorted(ROUTES, key=lambda r: (r.path, r.method))
    ]
    return f"{ROUTES_INTRO}\n\n{_table(('method', 'path', 'who', 'name'), rows)}"


def metrics() -> str:
    """Every metric of the gateway."""
    lines = [line.split(" ", 3) for line in Metrics().render().decode().splitlines()]
    texts = {words[2]: words[3] for words in lines if words[:2] == ["#", "HELP"]}
    kinds = {words[2]: words[3] for words in lines if words[:2] == ["#", "TYPE"]}
    rows = [
        (f"`{name}`", kinds[name], text)
        for name, text in texts.items()
        if not name.endswith("_created")  # when the counter began: nothing to look at
    ]
    return f"{METRICS_INTRO}\n\n{_table(('metric', 'kind', 'what it counts'), rows)}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _words(text: str | None) -> str:
    return " ".join((text or "").split())


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
