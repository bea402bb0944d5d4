"""What goes in and out of the sample hospital: requests, answers, refusals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

FHIR_JSON = b"application/fhir+json; charset=utf-8"
Headers = list[tuple[bytes, bytes]]


class Refused(Exception):
    """The hospital will not do it; nothing was changed. Shown as an OperationOutcome."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code  # FHIR issue-type
        self.text = text


@dataclass(slots=True, kw_only=True)
class Request:
    """One HTTP request under /fhir, its body read. `client` is known once authorised."""

    method: str
    path: str  # below the base, without the leading slash: "Slot/12/_history/3"
    query: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes = b""
    client: str = ""
    allowed: Mapping[str, str] | None = None  # letters of cruds by type; None: everything

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(part for part in self.path.split("/") if part)

    def pairs(self) -> list[tuple[str, str]]:
        """Search parameters: of the query, and of a form sent to _search."""
        found = parse_qsl(self.query, keep_blank_values=True)
        if self.path.endswith("_search"):
            found += parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)
        return found

    def prefers(self, wish: str) -> bool:
        """E.g. wish "return=minimal" in the Prefer header."""
        return wish in self.headers.get("prefer", "").replace(" ", "").split(",")


@dataclass(slots=True, kw_only=True)
class Answer:
    """An HTTP answer; `body` is ready to send."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)
    content_type: bytes = FHIR_JSON


def json_answer(status: int, value: Any, *, content_type: bytes = FHIR_JSON) -> Answer:
    """Any JSON value as an answer."""
    return Answer(status=status, body=orjson.dumps(value), content_type=content_type)


def outcome(code: str, text: str, *, severity: str = "error") -> dict[str, Any]:
    """An OperationOutcome of one issue."""
    issue = {"severity": severity, "code": code, "diagnostics": text}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def refusal(refused: Refused, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """The answer that tells a refusal."""
    answer = json_answer(refused.status, outcome(refused.code, refused.text))
    answer.headers.extend(headers)
    return answer
