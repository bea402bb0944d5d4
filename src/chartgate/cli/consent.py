"""`chartgate consent`: what a patient's consents say here, and recording what was said of them."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from chartgate.cli import consent_explain
from chartgate.cli.consent_explain import add_site, checked_config, configured, with_registry
from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, with_store
from chartgate.config import Config
from chartgate.errors import Invalid
from chartgate.flows import consent_records, consents
from chartgate.gate import Gate
from chartgate.policy.consent_parse import Directive, parse_consent
from chartgate.store.consents import Known

FILE_BYTES_MAX = 4_000_000


def add_parser(commands: Any) -> None:
    """consent show, explain, revoke, import"""
    parser = commands.add_parser(
        "consent",
        help="what patients consented to: show, explain, revoke, import",
        description="Whether something may be shown is decided by the patient's consents: FHIR R4 "
        "Consents of the system that the site's consent_from names, and those recorded here. A "
        "consent that denies, or that cannot be understood, wins.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    _add_show(verbs)
    consent_explain.add_parser(verbs)
    _add_revoke(verbs)
    _add_import(verbs)


def _add_show(verbs: Any) -> None:
    parser = verbs.add_parser(
        "show",
        help="the consents of one patient, and how fresh they are",
        description="One line each: where it comes from, its id and status, and what it comes to. "
        "Asks the system of record first where the copy here is too old.",
    )
    add_site(parser)
    add_json_flag(parser)
    parser.set_defaults(run=run_show)


def _add_revoke(verbs: Any) -> None:
    parser = verbs.add_parser(
        "revoke",
        help="end all that a patient consented to at a site, at once",
        description="From the moment that this returns, nothing is shown by a consent that was "
        "given before, in whatever mode the site is. A consent that is given later, there or by "
        "`chartgate consent import`, permits again.",
    )
    add_site(parser)
    parser.add_argument("--reason", required=True, help="kept in the audit; no patient data")
    add_json_flag(parser)
    parser.set_defaults(run=run_revoke)


def _add_import(verbs: Any) -> None:
    parser = verbs.add_parser(
        "import",
        help="bring in consents that were given on paper or elsewhere",
        description="FILE holds one FHIR R4 Consent, a Bundle of them, or one a line (NDJSON). "
        "Each needs an id; one of the same id is replaced. All are kept, or none.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="JSON: a Consent, or a Bundle of them"
    )
    parser.add_argument("--site", required=True, help="e.g. north-clinic")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be kept")
    add_json_flag(parser)
    parser.set_defaults(run=run_import)


def run_show(arguments: argparse.Namespace) -> int:
    """Prints them."""
    config, patient = configured(arguments)

    async def act(gate: Gate) -> tuple[Known, bool]:
        found = (await consents.consents_of(gate, arguments.site, [patient]))[0]
        connection = config.site(arguments.site).consent_from
        known = await gate.consent_lookups.known(arguments.site, connection, [patient])
        return known[patient], found.complete

    known, complete = with_registry(config, arguments.site, act)
    listed = [*_listed(config, arguments.site, known)]
    value = {
        "patient": patient,
        "site": arguments.site,
        "mode": config.site(arguments.site).consent,
        "complete": complete,
        "as_of": known.as_of.isoformat() if known.as_of else None,
        "consents": listed,
    }
    many = "1 consent" if len(listed) == 1 else f"{len(listed) or 'no'} consents"
    lines = [f"{patient} at {arguments.site}, where the mode is {value['mode']}: {many}"]
    if known.as_of:
        lines.append(f"  as {config.site(arguments.site).consent_from} said at {value['as_of']}")
    lines += [f"  {c['from']}  {c['id']}  {c['status']}  {c['says']}" for c in listed]
    if not complete:
        lines.append("  not all are known: the system of record does not answer as it should")
    show(arguments.json, value, *lines)
    return 0


def run_revoke(arguments: argparse.Namespace) -> int:
    """Revokes."""
    config, patient = configured(arguments)

    async def act(gate: Gate) -> None:
        await consent_records.revoke(
            gate, operator(), arguments.site, patient, reason=arguments.reason
        )

    with_store(config, act)
    value = {"revoked": patient, "site": arguments.site}
    show(arguments.json, value, f"revoked: what {patient} consented to at {arguments.site}")
    return 0


def run_import(arguments: argparse.Namespace) -> int:
    """Brings them in."""
    config = checked_config(arguments)
    resources = list(_resources(arguments.file))
    checked = [consent_records.check_import(config, arguments.site, each) for each in resources]
    if not checked:
        raise Invalid("the file holds no consent")

    async def act(gate: Gate) -> None:
        await consent_records.bring_in(gate, operator(), arguments.site, resources)

    if not arguments.dry_run:
        with_store(config, act)
    rows = [
        {"id": id_, "patient": patient, "says": _says(parse_consent(resource))}
        for (id_, patient), resource in zip(checked, resources, strict=True)
    ]
    done = "would be kept" if arguments.dry_run else "kept"
    lines = [f"{done}: Consent/{r['id']} of {r['patient']}, which {r['says']}" for r in rows]
    show(arguments.json, {"kept": not arguments.dry_run, "consents": rows}, *lines)
    return 0


def _resources(file: Path) -> Iterator[Any]:
    """Raises Invalid, OSError."""
    with file.open("rb") as opened:
        body = opened.read(FILE_BYTES_MAX + 1)
    if len(body) > FILE_BYTES_MAX:
        raise Invalid(f"the file is over {FILE_BYTES_MAX} bytes")
    try:
        whole = [orjson.loads(body)]
    except orjson.JSONDecodeError:
        try:
            whole = [orjson.loads(line) for line in body.splitlines() if line.strip()]
        except orjson.JSONDecodeError:
            raise Invalid("the file is neither JSON nor a JSON value a line") from None
    for value in whole:
        entries = value.get("entry") if isinstance(value, dict) else None
        inner = entries if isinstance(entries, list) else [{"resource": value}]
        for entry in inner:
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if not isinstance(resource, dict):
                raise Invalid("something in the file is no FHIR resource")
            yield resource


def _listed(config: Config, site: str, known: Known) -> Iterator[dict[str, str]]:
    places = [(config.site(site).consent_from, body) for body in known.bodies]
    places += [("here", body) for body in known.local]
    for place, body in places:
        resource = orjson.loads(body)
        yield {
            "from": place,
            "id": f"Consent/{resource.get('id')}",
            "status": str(resource.get("status")),
            "says": _says(parse_consent(resource)),
        }


def _says(directive: Directive | None) -> str:
    """What it comes to, in a few words."""
    if directive is None:
        return "says nothing now"
    if directive.unreadable:
        return f"denies, as it cannot be understood: {directive.unreadable}"
    if directive.standing == "revocation":
        return "revokes what was given before"
    if directive.standing == "refused":
        return "was refused"
    assert directive.root is not None, "what is readable has a root"
    if directive.root.permit and not directive.permits:
        return "permits nothing, being a notice or not verified"
    inner = len(directive.root.inner)
    exceptions = "1 exception" if inner == 1 else f"{inner or 'no'} exceptions"
    return f"{'permits' if directive.root.permit else 'denies'}, with {exceptions}"
