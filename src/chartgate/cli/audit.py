"""`chartgate audit search | accounting | access | review | breach | denials | suspend`."""

import argparse
import getpass
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import orjson

from chartgate.cli import audit_export
from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, whole_number, with_store
from chartgate.config import load_config
from chartgate.errors import Invalid
from chartgate.flows import audit_reports, audit_review, audit_search, people
from chartgate.flows.audit_reports import Report, plain
from chartgate.flows.audit_review import Hours
from chartgate.formats.csv_text import write_csv
from chartgate.gate import Gate
from chartgate.model.audit import Outcome
from chartgate.store.audit_search import EVER, NEVER, Criteria, Found

COLUMNS = ("when", "number", "action", "outcome", "agent", "patient", "site", "what", "reason")
WIDTH_MAX = 48
TIME_HELP = "a date, a date and time, or how long ago: 2026-11-01, 2026-11-01T12:00Z, 90d, 12h"


def add_parser(commands: Any) -> None:
    """audit and its verbs"""
    parser = commands.add_parser(
        "audit",
        help="search the audit, report on it, send it elsewhere",
        description="Looks into the audit ledger. Every look is itself an audit event, by the "
        "account that this command runs under. Times without a zone are UTC.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    _add_search(verbs)
    _add_accounting(verbs)
    access = _verb(verbs, "access", "who saw what of a patient", run_access)
    access.add_argument("patient", metavar="PATIENT", help='e.g. "Patient/7"')
    access.add_argument("--since", metavar="TIME", help=TIME_HELP)
    _add_review(verbs)
    breach = _verb(verbs, "breach", "patients whose data an agent was given", run_breach)
    breach.add_argument("--agent", required=True, help='e.g. "client:slot-picker"')
    breach.add_argument("--since", required=True, metavar="TIME", help=TIME_HELP)
    denials = _verb(
        verbs, "denials", "refusals by reason, with their information blocking class", run_denials
    )
    denials.add_argument("--since", default="30d", metavar="TIME", help="default: 30d")
    denials.add_argument("--until", metavar="TIME", help="default: now")
    audit_export.add_verbs(verbs)


def _verb(verbs: Any, name: str, text: str, run: Any) -> Any:
    parser = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    _add_forms(parser)
    parser.set_defaults(run=run)
    return parser


def _add_forms(parser: Any) -> None:
    forms = parser.add_mutually_exclusive_group()
    add_json_flag(forms)
    forms.add_argument("--csv", action="store_true", help="print CSV, safe for spreadsheets")


def _add_search(verbs: Any) -> None:
    search = _verb(verbs, "search", "events, newest first", run_search)
    search.add_argument("--patient", help='e.g. "Patient/7"')
    search.add_argument("--agent", help='e.g. "client:slot-picker" or "person:sofia"')
    search.add_argument("--action", help="e.g. fhir.read; docs/reference/audit-actions.md")
    search.add_argument(
        "--outcome", choices=[outcome.value for outcome in Outcome], help="what came of it"
    )
    search.add_argument("--site", help="e.g. north-clinic")
    search.add_argument("--since", metavar="TIME", help=TIME_HELP)
    search.add_argument("--until", metavar="TIME", help="the same; up to, but without")
    search.add_argument("--page", default="", help="go on where an earlier answer ended")
    search.add_argument(
        "--count",
        type=whole_number(1, audit_search.COUNT_MAX),
        default=audit_search.COUNT_USUAL,
        help=f"events a page, default {audit_search.COUNT_USUAL}",
    )


def _add_accounting(verbs: Any) -> None:
    accounting = _verb(
        verbs, "accounting", "disclosures of a patient's data (45 CFR 164.528)", run_accounting
    )
    accounting.description = (
        "Disclosures of six years other than for treatment, payment and operations, those under a "
        "consent by 42 CFR part 2 of three years, and emergency access. What is given is kept: "
        "`--kept ID` shows it again as it was given. "
        "`--suspend` leaves a recipient out for as long as an agency asked for in writing."
    )
    accounting.add_argument("patient", nargs="?", metavar="PATIENT", help='e.g. "Patient/7"')
    accounting.add_argument("--kept", metavar="ID", help="the id that stands in an accounting")
    accounting.add_argument("--since", metavar="TIME", help="default: six years ago")
    accounting.add_argument("--suspend", metavar="AGENT", help='e.g. "client:registry"')
    accounting.add_argument("--until", metavar="TIME", help="when the suspension ends")
    accounting.add_argument("--reason", help="which agency asked, in which statement")


def _add_review(verbs: Any) -> None:
    review = _verb(verbs, "review", "activity of each agent, and what stands out", run_review)
    review.description = (
        "What each agent did: refusals, failures, break-glass, reads out of hours, hours far above "
        "an agent's own usual. `--sign-off NAME` asks for that person's password and keeps that "
        "they reviewed exactly this."
    )
    review.add_argument("--since", default="7d", metavar="TIME", help="default: 7d")
    review.add_argument("--until", metavar="TIME", help="default: the last full hour")
    review.add_argument("--hours", default="6-20", help="when people work, default 6-20")
    review.add_argument("--zone", default="UTC", help="of those hours, e.g. Europe/Zurich")
    review.add_argument("--sign-off", metavar="NAME", help="a privacy officer or auditor")
    review.add_argument("--remark", default="", help="kept with the signature")


def run_search(arguments: argparse.Namespace) -> int:
    """Prints one page."""

    async def act(gate: Gate) -> audit_search.Page:
        now = gate.clock()
        criteria = Criteria(
            patient=arguments.patient,
            agent=arguments.agent,
            action=arguments.action,
            outcome=Outcome(arguments.outcome) if arguments.outcome else None,
            site=arguments.site,
            since=_time(arguments.since, now) or EVER,
            until=_time(arguments.until, now) or NEVER,
        )
        return await audit_search.search(
            gate, operator(), criteria, page=arguments.page, count=arguments.count
        )

    page = _with_audit(arguments, act)
    report = Report(title="", columns=COLUMNS, rows=tuple(map(_row, page.found)))
    if arguments.json:
        events = [{"seq": f.seq, **orjson.loads(f.body)} for f in page.found]
        show(True, {"events": events, "next": page.next})
    elif arguments.csv:
        print(write_csv(report.columns, report.rows), end="")
    else:
        print("\n".join(_table(report)) if report.rows else "nothing of that is in the audit")
    if page.next and not arguments.json:
        print(f"more: --page {page.next}", file=sys.stderr)
    return 0


def run_accounting(arguments: argparse.Namespace) -> int:
    """Prints the accounting, or suspends it for one recipient."""
    if bool(arguments.patient) == bool(arguments.kept):
        raise Invalid("name the patient, or with --kept the accounting to show again")
    if arguments.kept:
        return _show_kept(arguments)
    if arguments.suspend:
        return _suspend(arguments)
    return _report(
        arguments,
        lambda gate: audit_reports.accounting(
            gate, operator(), arguments.patient, since=_time(arguments.since, gate.clock())
        ),
    )


def _show_kept(arguments: argparse.Namespace) -> int:
    body = _with_audit(
        arguments, lambda gate: audit_reports.kept_accounting(gate, operator(), arguments.kept)
    )
    print(orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode())
    return 0


def run_access(arguments: argparse.Namespace) -> int:
    """Prints who saw what."""
    return _report(
        arguments,
        lambda gate: audit_reports.access(
            gate, operator(), arguments.patient, since=_time(arguments.since, gate.clock())
        ),
    )


def run_breach(arguments: argparse.Namespace) -> int:
    """Prints whose data an agent was given."""
    return _report(
        arguments,
        lambda gate: audit_reports.breach(
            gate,
            operator(),
            arguments.agent,
            since=audit_search.parse_time(arguments.since, now=gate.clock()),
        ),
    )


def run_denials(arguments: argparse.Namespace) -> int:
    """Prints what was refused."""
    return _report(
        arguments,
        lambda gate: audit_reports.denials(
            gate,
            operator(),
            since=audit_search.parse_time(arguments.since, now=gate.clock()),
            until=_time(arguments.until, gate.clock()),
        ),
    )


def run_review(arguments: argparse.Namespace) -> int:
    """Prints the activity, and keeps a signature if one is given."""
    hours = _hours(arguments.hours, arguments.zone)

    async def act(gate: Gate) -> Report:
        now = gate.clock()
        since = audit_search.parse_time(arguments.since, now=now)
        until = _time(arguments.until, now) or now.replace(minute=0, second=0, microsecond=0)
        report = await audit_review.review(gate, operator(), since=since, until=until, hours=hours)
        if arguments.sign_off:
            # Asked for once the report is on the screen, so that it can be looked at first.
            _show(arguments, report)
            signed_in = await people.sign_in(gate, arguments.sign_off, _password())
            await audit_review.sign_off(
                gate,
                signed_in.person,
                since=since,
                until=until,
                digest=audit_review.digest_of_report(report),
                remark=arguments.remark,
                hours=hours,
            )
            await people.sign_out(gate, signed_in.cookie)
            print(f"signed off by {arguments.sign_off}", file=sys.stderr)
        else:
            _show(arguments, report)
            for signed in await audit_review.signatures(gate, since=since, until=until):
                print(f"signed off by {signed.signed_by} at {signed.signed_at}", file=sys.stderr)
        return report

    _with_audit(arguments, act)
    return 0


def _suspend(arguments: argparse.Namespace) -> int:
    if not arguments.until or not arguments.reason:
        raise Invalid("a suspension needs --until and --reason")

    async def act(gate: Gate) -> datetime:
        now = gate.clock()
        until = _ahead(arguments.until, now)
        await audit_reports.suspend_accounting(
            gate,
            operator(),
            arguments.patient,
            arguments.suspend,
            until=until,
            reason=arguments.reason,
        )
        return until

    until = _with_audit(arguments, act)
    value = {"suspended": arguments.suspend, "until": until.isoformat()}
    show(arguments.json, value, f"{arguments.suspend} is left out until {until.isoformat()}")
    return 0


def _report(arguments: argparse.Namespace, make: Callable[[Gate], Awaitable[Report]]) -> int:
    async def act(gate: Gate) -> Report:
        return await make(gate)

    _show(arguments, _with_audit(arguments, act))
    return 0


def _with_audit(arguments: argparse.Namespace, act: Callable[[Gate], Awaitable[Any]]) -> Any:
    return with_store(load_config(arguments.config), act)


def _show(arguments: argparse.Namespace, report: Report) -> None:
    if arguments.json:
        show(True, plain(report))
        return
    if arguments.csv:
        print(write_csv(report.columns, report.rows), end="")
        return
    print(report.title)
    print("\n".join(f"  {name}: {value}" for name, value in report.facts.items()))
    print("\n".join(_table(report)) if report.rows else "  none")
    print("".join(f"note: {remark}\n" for remark in report.notes), end="")


def _table(report: Report) -> list[str]:
    """Columns as wide as what is in them; what is longer than `WIDTH_MAX` is cut."""
    lines: list[Sequence[str]] = [report.columns]
    lines += [[_cut(str(cell)) for cell in row] for row in report.rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(report.columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _cut(text: str) -> str:
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= WIDTH_MAX else f"{shown[: WIDTH_MAX - 1]}…"


def _row(found: Found) -> tuple[str | int, ...]:
    event = found.event
    patients = event.patients or ((event.patient,) if event.patient else ())
    return (
        event.recorded.isoformat(timespec="milliseconds"),
        found.seq if found.seq is not None else "",
        event.action,
        event.outcome.value,
        event.agent,
        " ".join(patients),
        event.site or "",
        " ".join(event.entities),
        event.reason or "",
    )


def _time(text: str | None, now: datetime) -> datetime | None:
    return audit_search.parse_time(text, now=now) if text else None


def _ahead(text: str, now: datetime) -> datetime:
    """A time to come; "90d" is in so many days."""
    parsed = audit_search.parse_time(text, now=now)
    return now + (now - parsed) if text[-1:] in "dhms" and text[:-1].isdigit() else parsed


def _hours(text: str, zone: str) -> Hours:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit()):
        raise Invalid("hours are two numbers from 0 to 24, e.g. 6-20")
    return Hours(first=int(first), last=int(last), zone=zone)


def _password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("password to sign off with: ")
    return sys.stdin.readline().rstrip("\r\n")
