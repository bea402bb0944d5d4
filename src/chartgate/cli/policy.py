"""`chartgate policy`: check the rules, explain a decision, compare two revisions, test them."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chartgate.adapters.loader import manifests
from chartgate.cli.session import add_json_flag, show, with_store
from chartgate.config import Config, load_config
from chartgate.errors import ConfigError, Invalid
from chartgate.flows import policies
from chartgate.flows.charter_files import POLICIES, TESTS, Folder
from chartgate.flows.charters import adopted_book, load
from chartgate.gate import Gate
from chartgate.model.charter import RELATIONSHIPS, STAGES
from chartgate.model.decision import Decision, Request
from chartgate.model.label import CONFIDENTIALITY, USUAL
from chartgate.policy.asked import question_of
from chartgate.policy.cases import failures, parse_cases, request_from
from chartgate.policy.charters import CharterBook
from chartgate.policy.decide import DOING
from chartgate.policy.explain import Explanation, explain
from chartgate.policy.forbids import Forbid
from chartgate.policy.names import unknown_names
from chartgate.policy.roster import roster_notes
from chartgate.store.changes import ChangeStore

SHOWN_MAX = 50  # differences that are printed; --json has all


def add_parser(commands: Any) -> None:
    """policy check, explain, diff, test"""
    parser = commands.add_parser(
        "policy",
        help="check, explain, compare and test the rules",
        description="The rules are the charters, the forbids of the tenant (policies/*.cedar) and "
        "of its sites (policies/sites/SITE/*.cedar), and the rules that label resources "
        "(policies/labels.yaml). With them goes the on-call roster (policies/roster.yaml).",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser(
        "check",
        help="say what is wrong with any of the rules",
        description="Parses and compiles all of them. Exit code 2 with every mistake, a line each.",
    )
    check.set_defaults(run=run_check)
    _add_explain(verbs)
    diff = verbs.add_parser(
        "diff",
        help="which decisions change between two revisions",
        description="Asks both revisions every question that was recorded, and every one that "
        "follows from their charters. Exit code 1 if any is answered differently.",
    )
    diff.add_argument(
        "--before", type=Path, metavar="FOLDER", help="of charters; default: what runs"
    )
    diff.add_argument("--not-recorded", action="store_true", help="leave out what was recorded")
    diff.set_defaults(run=run_diff)
    test = verbs.add_parser(
        "test",
        help="ask the cases of policies/tests.yaml",
        description="Each case says a question and its answer, and may name the rule. Exit code 1 "
        "if one is answered otherwise.",
    )
    test.add_argument("--cases", type=Path, metavar="FILE", help=f"default: {POLICIES}/{TESTS}")
    test.set_defaults(run=run_test)
    for verb in (check, diff, test):
        verb.add_argument(
            "--charters", type=Path, help="folder; default: charters_dir of the config"
        )
        add_json_flag(verb)


def _add_explain(verbs: Any) -> None:
    parser = verbs.add_parser(
        "explain",
        help="which rule decided, and what would change it",
        description="Give a question, or the id of a decision out of the audit. The answer is one "
        "sentence: the rule that decided, and each single change that would turn it round.",
    )
    parser.add_argument(
        "--decision", metavar="ID", help="of an audit entry; nothing else is needed"
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--client", help="an AI client asks")
    who.add_argument(
        "--role",
        action="append",
        dest="person",
        metavar="ROLE",
        help="a person with this role asks; repeatable",
    )
    parser.add_argument("--mfa", action="store_true", help="who signed in with a second factor")
    parser.add_argument("--charter", help="default: the only one that names the client")
    parser.add_argument("--site", default="", help="where; needed unless it is about a charter")
    what = parser.add_mutually_exclusive_group()
    for action in ("read", "search"):
        what.add_argument(f"--{action}", metavar="TYPE", help=f"{action} this FHIR type")
    what.add_argument(
        "--action", choices=sorted(DOING), metavar="ACTION", help="another, e.g. review or submit"
    )
    parser.add_argument("--proposes", metavar="NAME", help="of what a charter proposes")
    parser.add_argument(
        "--author", metavar="AGENT", help="of the proposal, e.g. client:slot-picker"
    )
    parser.add_argument("--stage", choices=STAGES, help="of the charter; default: not known")
    parser.add_argument(
        "--label",
        action="append",
        dest="labels",
        metavar="CODE",
        help="a sensitivity, e.g. PSY; repeatable",
    )
    parser.add_argument("--confidentiality", choices=CONFIDENTIALITY, help="default: N")
    parser.add_argument(
        "--relationship", action="append", choices=RELATIONSHIPS, help="that is known; repeatable"
    )
    parser.add_argument(
        "--preliminary", action="store_true", help="as asked before the resource is at hand"
    )
    add_json_flag(parser)
    parser.set_defaults(run=run_explain)


def run_check(arguments: argparse.Namespace) -> int:
    """Prints how much of each there is, and names in forbids that nothing else knows."""
    config = load_config(arguments.config)
    book = load(config, folder=arguments.charters).book
    forbids = [f for f in book.rulebook.forbids.values() if not f.id.startswith("chartgate/")]
    notes = [note for forbid in forbids for note in unknown_names(forbid, book, config)]
    notes += [*roster_notes(book.roster, book.charters), *_list_notes(book, config)]
    value = {
        "digest": book.digest,
        "charters": sorted(book.charters),
        "forbids": [_forbid_row(forbid) for forbid in forbids],
        "label_rules": book.labels.version,
        "notes": notes,
    }
    lines = [
        f"{f.id}: {'everywhere' if not f.site else f'at {f.site}'}; {f.sentence}" for f in forbids
    ]
    show(
        arguments.json,
        value,
        *lines,
        *(f"  note: {note}" for note in notes),
        f"{len(book.charters)} charters, {len(forbids)} forbids and label rules "
        f"{book.labels.version} are right",
    )
    return 0


def _list_notes(book: CharterBook, config: Config) -> Iterator[str]:
    """Tasks that could be put nowhere: the console has that work alone."""
    known = manifests()
    for charter in book.charters.values():
        for name, action in charter.proposes.items():
            for connection in charter.sites.values() if action.handoff_as == "task" else ():
                adapter = known.get(config.connections[connection].adapter)
                if adapter is None or not {"source", "sink"}.issubset(adapter.ports):
                    yield f"{charter.name}/{name}: {connection} is nothing that Tasks stand in"


def run_explain(arguments: argparse.Namespace) -> int:
    """Prints one sentence."""
    config = load_config(arguments.config)
    book = load(config).book
    if arguments.decision:

        async def act(gate: Gate) -> Request:
            return await policies.request_with(gate, arguments.decision)

        request = with_store(config, act, book=book)
    else:
        request = _request(arguments, book)
    explained = explain(book, request)
    show(arguments.json, _explained(explained, request), explained.sentence)
    return 0


def run_diff(arguments: argparse.Namespace) -> int:
    """Prints a line for each question that is answered differently."""
    config = load_config(arguments.config)
    after = load(config, folder=arguments.charters)
    before = load(config, folder=arguments.before).book if arguments.before else None
    asked: list[tuple[Request, int]] = []
    if before is None or not arguments.not_recorded:

        async def act(gate: Gate) -> tuple[CharterBook | None, list[tuple[Request, int]]]:
            last = await ChangeStore(gate.database).adopted("charters")
            running = adopted_book(gate, last).book if last else None
            return running, list(await policies.recorded(gate))

        running, asked = with_store(config, act, book=after.book)
        before = before or running
    if before is None:
        raise ConfigError("nothing runs yet to compare with; give a folder with --before")
    asked = [] if arguments.not_recorded else asked
    compared, found = policies.differing(before, after.book, asked)
    rows = [_differing(each) for each in found]
    lines = [_said(each) for each in found[:SHOWN_MAX]]
    if len(found) > SHOWN_MAX:
        lines.append(f"… and {len(found) - SHOWN_MAX} more; --json prints all")
    total = f"{compared} questions compared, {len(asked)} of them recorded; {len(found)} differ"
    show(
        arguments.json,
        {"compared": compared, "recorded": len(asked), "differ": rows},
        *lines,
        total,
    )
    return 1 if found else 0


def run_test(arguments: argparse.Namespace) -> int:
    """Prints a line for each case that is answered otherwise."""
    config = load_config(arguments.config)
    loaded = load(config, folder=arguments.charters)
    file = arguments.cases or _tests_file(config, arguments)
    cases = parse_cases(file.read_bytes(), file=file.name)
    failed = list(failures(loaded.book, cases))
    rows = [
        {"case": case.says, "expected": case.permitted, "said": said, "decision": asdict(decision)}
        for case, decision, said in failed
    ]
    lines = [f"{row['case']}: {row['said']}" for row in rows]
    value = {"cases": len(cases), "failed": rows}
    show(arguments.json, value, *lines, f"{len(cases)} cases, {len(failed)} answered otherwise")
    return 1 if failed else 0


def _tests_file(config: Config, arguments: argparse.Namespace) -> Path:
    file = Folder(path=arguments.charters or config.charters_dir).policies / TESTS
    if not file.is_file():
        raise Invalid(f"there is no {file}; name another with --cases")
    return file


def _request(arguments: argparse.Namespace, book: CharterBook) -> Request:
    row = {k: v for k, v in vars(arguments).items() if v not in (None, "")}
    if arguments.client is None and arguments.person is None:
        raise Invalid("say who asks: --client NAME, or --role ROLE for a person")
    for action in ("read", "search"):
        if row.get(action):
            row |= {"action": action, "type": row[action]}
    if "action" not in row:
        raise Invalid("say what is asked for: --read TYPE, --search TYPE or --action ACTION")
    row["charter"] = arguments.charter or _charter(arguments, book)
    if not arguments.preliminary:  # what was not said is known to be nothing
        row = {"labels": [], "confidentiality": USUAL, "relationship": [], **row}
    return request_from(row)


def _charter(arguments: argparse.Namespace, book: CharterBook) -> str:
    """The only one that it can be."""
    names = sorted(c.name for c in book.charters.values())
    if arguments.client is not None:
        names = sorted(c.name for c in book.of_client(arguments.client))
    if len(names) != 1:
        known = f"; {arguments.client} is named by {', '.join(names)}" if names else ""
        raise Invalid(f"say under which charter: --charter NAME{known}")
    return names[0]


def _forbid_row(forbid: Forbid) -> dict[str, Any]:
    return {
        "id": forbid.id,
        "site": forbid.site or None,
        "sentence": forbid.sentence,
        "actions": sorted(forbid.actions),
    }


def _explained(explained: Explanation, request: Request) -> dict[str, Any]:
    return {
        "question": question_of(request),
        **asdict(explained.decision),
        "rules": list(explained.rules),
        "turned_by": list(explained.turned_by),
        "explanation": explained.sentence,
    }


def _differing(each: policies.Differing) -> dict[str, Any]:
    return {
        "question": question_of(each.request),
        "asked": each.count,
        "before": asdict(each.before),
        "after": asdict(each.after),
    }


def _said(each: policies.Differing) -> str:
    question = ", ".join(_facts(each.request))
    asked = f"asked {each.count} times" if each.count else "never asked"
    answers = f"{_answer(each.before)} -> {_answer(each.after)}"
    return f"{answers}  {question} ({asked}): {each.after.sentence}"


def _answer(decision: Decision) -> str:
    return "permitted" if decision.permitted else "refused"


def _facts(request: Request) -> Iterator[str]:
    roles = getattr(request.principal, "roles", None)
    yield f"a {' and '.join(roles) or 'person'}" if roles is not None else request.principal.agent
    yield f"{request.action} {request.resource_type or request.proposes or request.charter}"
    if request.site:
        yield f"at {request.site}"
    for name in ("stage", "relationship", "sensitivities", "confidentiality"):
        value = getattr(request, name)
        if value:
            yield f"{name} {' '.join(sorted(value)) if isinstance(value, frozenset) else value}"
    if request.preliminary:
        yield "before the resource is at hand"
