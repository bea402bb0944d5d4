"""`chartgate consent explain`: one question to a patient's consents, and the answer's reason."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson

from chartgate.cli.session import (
    add_json_flag,
    charters_or_mistakes,
    show,
    with_gate,
    with_store,
)
from chartgate.config import Config, load_config
from chartgate.errors import Invalid
from chartgate.flows import consent_records, consents
from chartgate.gate import Gate
from chartgate.model.consent import ConsentAnswer
from chartgate.model.label import CONFIDENTIALITY, USUAL, Labels
from chartgate.policy.consent_codes import is_sensitivity
from chartgate.policy.consent_question import question_about

FILE_BYTES_MAX = 2_000_000

Answer = TypeVar("Answer")


def add_parser(verbs: Any) -> None:
    """consent explain"""
    parser = verbs.add_parser(
        "explain",
        help="ask one question: may this be shown, by which provision, what would change it",
        description="Asks as a read would: of a resource in a file, or of any of a type. Exit code "
        "0: it may be shown; 1: it may not. Nothing is shown and nothing changes.",
    )
    add_site(parser)
    parser.add_argument("--purpose", default="TREAT", help="HL7 v3 PurposeOfUse; default: TREAT")
    parser.add_argument(
        "--client", default="", help="the AI client that asks; default: some client"
    )
    parser.add_argument("--type", default="", help="any resource of this type, e.g. Observation")
    parser.add_argument("--resource", type=Path, metavar="FILE", help="a FHIR resource as JSON")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        help="what it is labelled with, e.g. R or PSY; may be given several times",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run_explain)


def add_site(parser: argparse.ArgumentParser) -> None:
    """PATIENT --site, the same for each verb."""
    parser.add_argument(
        "patient", metavar="PATIENT", help="as the system of record says, e.g. Patient/7"
    )
    parser.add_argument("--site", required=True, help="e.g. north-clinic")


def configured(arguments: argparse.Namespace) -> tuple[Config, str]:
    """The config, and the patient that was named. Raises Invalid."""
    consent_records.check_patient(arguments.patient)
    return checked_config(arguments), arguments.patient


def checked_config(arguments: argparse.Namespace) -> Config:
    """The config. Raises Invalid for a site that nobody names: a revocation under a mistyped one
    would end nothing."""
    config = load_config(arguments.config)
    if arguments.site not in config.sites:
        book, mistakes = charters_or_mistakes(config)
        known = {*config.sites, *(s for c in book.charters.values() for s in c.sites)}
        if arguments.site not in known and not mistakes:
            listed = ", ".join(sorted(known))
            raise Invalid(f"there is no site {arguments.site}; known: {listed}")
        if mistakes:
            print(f"note: the charters have mistakes: {mistakes}", file=sys.stderr)
    return config


def with_registry(config: Config, site: str, act: Callable[[Gate], Awaitable[Answer]]) -> Answer:
    """Runs `act` on a gate that can ask the site's consents: with systems of record only where
    they are kept there."""
    return with_gate(config, act) if config.site(site).consent_from else with_store(config, act)


def run_explain(arguments: argparse.Namespace) -> int:
    """Asks."""
    config, patient = configured(arguments)
    resource, labels = _resource(arguments), _labels(arguments.label)

    async def act(gate: Gate) -> ConsentAnswer:
        at = gate.clock()
        question = question_about(
            resource,
            patient=patient,
            purpose=arguments.purpose,
            actors=frozenset(),
            labels=labels,
            at=at,
        )
        asked = consents.Asked(patients=frozenset({patient}), question=question)
        answers = await consents.decide_for(gate, arguments.site, arguments.client, [asked], at=at)
        return answers[0]

    answer = with_registry(config, arguments.site, act)
    value = {
        "permitted": answer.permitted,
        "rule": answer.rule,
        "sentence": answer.sentence,
        "digest": answer.digest,
        "notice": answer.notice,
        "scope": answer.scope,
    }
    lines = [f"{'yes' if answer.permitted else 'no'}: {answer.sentence}"]
    if answer.notice:
        lines.append(f"the notice of 42 CFR 2.32 goes with it; {answer.scope}")
    show(arguments.json, value, *lines)
    return 0 if answer.permitted else 1


def _resource(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.resource is None:
        return {"resourceType": arguments.type} if arguments.type else {}
    if arguments.type:
        raise Invalid("give --type or --resource, not both")
    with arguments.resource.open("rb") as file:
        body = file.read(FILE_BYTES_MAX + 1)
    try:
        resource = orjson.loads(body) if len(body) <= FILE_BYTES_MAX else None
    except orjson.JSONDecodeError:
        resource = None
    if not isinstance(resource, dict):
        raise Invalid("the file holds no FHIR resource as JSON")
    return resource


def _labels(codes: list[str]) -> Labels:
    levels = [code for code in codes if code in CONFIDENTIALITY]
    named = frozenset(code for code in codes if is_sensitivity(code))
    return Labels(
        confidentiality=max(levels, key=CONFIDENTIALITY.index, default=USUAL),
        sensitivities=named,
        unknown=len(levels) + len(named) < len(codes),
    )
