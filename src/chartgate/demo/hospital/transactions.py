"""Transaction and batch Bundles.

A transaction is done in the order DELETE, POST, PUT and PATCH, GET, all or nothing; urn:uuid
references point to what its creates become, conditional references are looked up first.
Source: https://hl7.org/fhir/R4/http.html#transaction
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from chartgate.demo.hospital.chart import Version
from chartgate.demo.hospital.exchange import Refused, outcome
from chartgate.demo.hospital.search import parse_query, run
from chartgate.demo.hospital.validate import check_type
from chartgate.demo.hospital.writes import Writer, Written

ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}
ENTRIES_MAX = 5000
Get = Callable[[str], dict[str, Any]]  # a relative URL to what reading or searching it answers


@dataclass(slots=True, kw_only=True)
class Entry:
    """One entry of a Bundle, understood."""

    position: int
    method: str
    resource_type: str
    resource_id: str
    url: str
    resource: Any
    full_url: str
    if_match: str
    if_none_exist: str
    existing: Version | None = None  # what its If-None-Exist found


def parse_entries(bundle: Any) -> list[Entry]:
    """The entries of a transaction or batch. Raises Refused."""
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise Refused(400, "structure", "a Bundle is expected at the base")
    if bundle.get("type") not in ("transaction", "batch"):
        raise Refused(400, "value", "Bundle.type must be transaction or batch")
    raw = bundle.get("entry", [])
    if not isinstance(raw, list) or len(raw) > ENTRIES_MAX:
        raise Refused(400, "structure", f"Bundle.entry must be a list of at most {ENTRIES_MAX}")
    return [_entry(item, position) for position, item in enumerate(raw)]


def run_batch(entries: list[Entry], writer: Writer, get: Get) -> dict[str, Any]:
    """Each entry by itself."""
    answers = []
    for entry in entries:
        try:
            answers.append(_do(entry, writer, get))
        except Refused as refused:
            told = outcome(refused.code, refused.text)
            answers.append({"response": {"status": str(refused.status), "outcome": told}})
    return {"resourceType": "Bundle", "type": "batch-response", "entry": answers}


def run_transaction(
    entries: list[Entry], writer: Writer, get: Get, *, stop_after: int | None = None
) -> dict[str, Any]:
    """All or nothing; raises the first refusal after undoing everything.

    `stop_after` is the fault of a server that is not atomic: so many entries, then an error.
    """
    answers: dict[int, dict[str, Any]] = {}
    position = 0
    try:
        _check_identities(entries)
        _link(entries, writer)
        for done, entry in enumerate(sorted(entries, key=lambda e: ORDER[e.method])):
            if done == stop_after:
                raise InterruptedError
            position = entry.position
            answers[position] = _do(entry, writer, get)
    except InterruptedError:
        raise Refused(500, "exception", "the server failed half-way") from None
    except Refused as refused:
        if not writer.habits.keeps_half:
            writer.undo()
        text = f"Bundle.entry[{position}]: {refused.text}"
        raise Refused(refused.status, refused.code, text) from None
    ordered = [answers[i] for i in range(len(entries))]
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": ordered}


def _entry(item: Any, position: int) -> Entry:
    request = item.get("request") if isinstance(item, dict) else None
    if not isinstance(request, dict):
        raise Refused(400, "required", f"Bundle.entry[{position}].request is required")
    method, url = request.get("method"), request.get("url")
    if method not in ORDER or not isinstance(url, str) or not url:
        raise Refused(400, "value", f"Bundle.entry[{position}].request lacks a method or url")
    resource_type, _, rest = url.partition("?")[0].strip("/").partition("/")
    check_type(resource_type)
    return Entry(
        position=position,
        method=method,
        resource_type=resource_type,
        resource_id=rest,
        url=url,
        resource=item.get("resource"),
        full_url=str(item.get("fullUrl", "")),
        if_match=str(request.get("ifMatch", "")),
        if_none_exist=str(request.get("ifNoneExist", "")),
    )


def _check_identities(entries: list[Entry]) -> None:
    """A transaction may touch each resource once."""
    touched: set[str] = set()
    for entry in entries:
        if entry.method in ("PUT", "PATCH", "DELETE"):
            if entry.url in touched:
                raise Refused(400, "invalid", f"two entries change {entry.resource_type}")
            touched.add(entry.url)


def _link(entries: list[Entry], writer: Writer) -> None:
    """Sets ids aside for creates and makes every reference to them literal."""
    targets: dict[str, str] = {}
    for entry in entries:
        if entry.method == "POST":
            entry.existing = writer.match(entry.resource_type, entry.if_none_exist)
            if entry.existing is None:
                entry.resource_id = writer.chart.new_id()
            targets[entry.full_url] = (
                entry.existing.reference
                if entry.existing
                else f"{entry.resource_type}/{entry.resource_id}"
            )
    targets.pop("", None)
    for entry in entries:
        entry.resource = relink(entry.resource, targets, lambda text: _look_up(text, writer))


def relink(value: Any, targets: Mapping[str, str], look_up: Callable[[str], str]) -> Any:
    """A copy in which references to `targets` and conditional references are literal."""
    if isinstance(value, list):
        return [relink(item, targets, look_up) for item in value]
    if not isinstance(value, dict):
        return value
    copy = {k: relink(v, targets, look_up) for k, v in value.items()}
    literal = copy.get("reference")
    if isinstance(literal, str):
        if literal in targets:
            copy["reference"] = targets[literal]
        elif "?" in literal and not literal.startswith(("#", "http", "urn:")):
            copy["reference"] = look_up(literal)
    if copy.get("url") in targets and "contentType" in copy:
        copy["url"] = targets[copy["url"]]  # an Attachment
    return copy


def _look_up(conditional: str, writer: Writer) -> str:
    resource_type, _, text = conditional.partition("?")
    check_type(resource_type)
    query = parse_query(resource_type, parse_qsl(text))
    found = run(writer.chart, query)
    if len(found) != 1:
        raise Refused(412, "not-found", "a conditional reference does not match exactly one")
    return found[0].reference


def _do(entry: Entry, writer: Writer, get: Get) -> dict[str, Any]:
    if entry.method in ("GET", "HEAD"):
        return get(entry.url)
    if entry.method == "POST":
        if entry.existing is not None:
            return _answer(Written(status=200, version=entry.existing, applied=False))
        existing_checked = "" if entry.resource_id else entry.if_none_exist
        return _answer(
            writer.create(
                entry.resource_type,
                entry.resource,
                if_none_exist=existing_checked,
                resource_id=entry.resource_id,
            )
        )
    if not entry.resource_id or "/" in entry.resource_id or "?" in entry.url:
        raise Refused(400, "not-supported", f"{entry.method} needs a url such as Slot/12")
    kind, target = entry.resource_type, unquote(entry.resource_id)
    if entry.method == "PUT":
        return _answer(writer.update(kind, target, entry.resource, if_match=entry.if_match))
    if entry.method == "DELETE":
        return _answer(writer.delete(kind, target, if_match=entry.if_match))
    operations = patch_of(entry.resource)
    return _answer(writer.patch(kind, target, operations, if_match=entry.if_match))


def patch_of(binary: Any) -> Any:
    """The JSON Patch that a Binary carries. Raises Refused."""
    if not isinstance(binary, dict) or binary.get("resourceType") != "Binary":
        raise Refused(400, "structure", "a PATCH entry carries a Binary")
    if binary.get("contentType") != "application/json-patch+json":
        raise Refused(415, "not-supported", "the Binary must be application/json-patch+json")
    try:
        return orjson.loads(base64.b64decode(str(binary.get("data", "")), validate=True))
    except (binascii.Error, orjson.JSONDecodeError):
        raise Refused(400, "structure", "the data of the Binary is no JSON in base64") from None


def _answer(written: Written) -> dict[str, Any]:
    version = written.version
    stamp = version.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    response = {
        "status": str(written.status),
        "location": f"{version.reference}/_history/{version.number}",
        "etag": version.etag.decode(),
        "lastModified": stamp,
    }
    if version.resource is None:
        return {"response": response}
    return {"resource": version.resource, "response": response}
