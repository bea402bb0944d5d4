"""Documents, problems, vaccinations, medications and charges as others send them: the corpus."""

import json
from collections import Counter
from pathlib import Path

import pytest

from chartgate.formats.hl7v2 import MalformedMessage, Message, parse
from chartgate.formats.r4_structure import structure_findings
from chartgate.transform.hl7v2.charges import CHARGE_MESSAGES
from chartgate.transform.hl7v2.datatypes import Unmappable
from chartgate.transform.hl7v2.documents import DOCUMENT_MESSAGES
from chartgate.transform.hl7v2.engine import merged
from chartgate.transform.hl7v2.immunizations import IMMUNIZATION_MESSAGES
from chartgate.transform.hl7v2.medications import MEDICATION_MESSAGES
from chartgate.transform.hl7v2.messages import transform
from chartgate.transform.hl7v2.problems import PROBLEM_MESSAGES
from chartgate.transform.hl7v2.settings import FeedSettings

CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "hl7v2"
SETTINGS = FeedSettings(connection="north", site="north-clinic", patient_system="urn:mrn")
OURS = {
    *CHARGE_MESSAGES,
    *DOCUMENT_MESSAGES,
    *IMMUNIZATION_MESSAGES,
    *MEDICATION_MESSAGES,
    *PROBLEM_MESSAGES,
}
# Each reason has been looked at. Most are fragments of tests, which end before what they are about.
REFUSED = {
    "PID-3 holds no identifier",  # nobody is named
    "there is no TXA segment",
    "there is no RXO, RXE or RXD segment",
    "PRB-2 is not a timestamp",  # the minute with one digit
    "PRB-7 is not a timestamp",  # fields moved by one: a number of the list stands there
    "RXA-3 is not a timestamp",  # the hour with one digit
    "RXA-5 names no vaccine",
    "RXA-22 is not a timestamp",  # fields moved by one: the action code stands there
}


def corpus() -> list[Message]:
    """The messages of our types that can be read."""
    if not CORPUS.is_dir():
        pytest.skip("the corpora are not part of the project")
    lines = (CORPUS / "linuxforhealth" / "messages.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line)["message"].replace("{{segment}}", "MDM^T02") for line in lines]
    raws = [text.replace("\n", "\r").encode() for text in texts]
    raws += [path.read_bytes() for path in sorted((CORPUS / "ms-fhir-converter").glob("*.hl7"))]
    found = []
    for raw in raws:
        try:
            message = parse(raw)
        except MalformedMessage:
            continue
        if message.message_type in OURS:
            found.append(message)
    return found


def said(message: Message) -> list[str]:
    """Its resources, each checked as R4, as text."""
    resources = [merged(None, draft) for draft in transform(message, SETTINGS).drafts]
    for resource in resources:
        assert list(structure_findings(resource)) == []
    return [json.dumps(resource) for resource in resources]


def test_corpus_of_our_types_is_transformed_or_refused_for_a_reason_that_is_right() -> None:
    outcomes: Counter[str] = Counter()
    for message in corpus():
        try:
            assert said(message) == said(parse(message.raw))
            outcomes["transformed"] += 1
        except Unmappable as error:
            outcomes[str(error)] += 1
    assert set(outcomes) - {"transformed"} <= REFUSED
    assert outcomes["transformed"] >= 155
