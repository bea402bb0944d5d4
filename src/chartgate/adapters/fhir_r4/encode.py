"""Changes as FHIR requests: alone, or as entries of one transaction. No input or output here."""

import base64
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson

from chartgate.adapters.fhir_r4.bodies import write_etag
from chartgate.adapters.fhir_r4.dialect import Habits
from chartgate.adapters.fhir_r4.link import FHIR_JSON
from chartgate.adapters.fhir_r4.marks import marked, marker_criteria
from chartgate.model.write import Change

JSON_PATCH = "application/json-patch+json"
# The answer then names the version even where a server sends no ETag.
REPRESENTATION = {"Prefer": "return=representation"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One write on the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None


def encode_alone(change: Change, mark: str | None, habits: Habits) -> Request:
    """Source: https://hl7.org/fhir/R4/http.html"""
    headers = dict(REPRESENTATION)
    if change.interaction == "create":
        assert change.resource is not None
        assert mark is not None
        headers["Content-Type"] = FHIR_JSON
        headers["If-None-Exist"] = if_none_exist(change.resource_type, mark, habits)
        body = orjson.dumps(marked(change.resource, mark, habits.dialect))
        return Request(method="POST", path=change.resource_type, headers=headers, body=body)
    assert change.reference is not None
    assert change.if_match is not None
    headers["If-Match"] = write_etag(change.if_match, strong=habits.strong_etags)
    if change.interaction == "delete":
        return Request(method="DELETE", path=change.reference, headers=headers, body=None)
    if change.interaction == "update":
        headers["Content-Type"] = FHIR_JSON
        body = orjson.dumps(change.resource)
        return Request(method="PUT", path=change.reference, headers=headers, body=body)
    headers["Content-Type"] = JSON_PATCH
    guarded = habits.patch_guard == "test"
    if guarded:
        del headers["If-Match"]
    body = orjson.dumps(guarded_patch(change) if guarded else list(change.patch))
    return Request(method="PATCH", path=change.reference, headers=headers, body=body)


def encode_transaction(
    changes: tuple[Change, ...], marks: tuple[str | None, ...], habits: Habits
) -> Request:
    """One transaction Bundle. Source: https://hl7.org/fhir/R4/http.html#transaction"""
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [_entry(c, m, habits) for c, m in zip(changes, marks, strict=True)],
    }
    headers = {**REPRESENTATION, "Content-Type": FHIR_JSON}
    return Request(method="POST", path="", headers=headers, body=orjson.dumps(bundle))


def guarded_patch(change: Change) -> list[dict[str, Any]]:
    """The patch behind a test that fails if the version is not the one we stand on.

    Source: RFC 6902, 4.6, and section 5: one failing operation fails the whole patch.
    """
    assert change.if_match is not None
    guard = {"op": "test", "path": "/meta/versionId", "value": change.if_match}
    return [guard, *change.patch]


def if_none_exist(resource_type: str, mark: str, habits: Habits) -> str:
    """The criteria of a conditional create. Source: https://hl7.org/fhir/R4/http.html#ccreate"""
    return "&".join(
        f"{name}={value}" for name, value in marker_criteria(resource_type, mark, habits.dialect)
    )


def _entry(change: Change, mark: str | None, habits: Habits) -> dict[str, Any]:
    if change.interaction == "create":
        assert change.resource is not None
        assert mark is not None
        return {
            "fullUrl": uuid5(NAMESPACE_URL, mark).urn,
            "resource": marked(change.resource, mark, habits.dialect),
            "request": {
                "method": "POST",
                "url": change.resource_type,
                "ifNoneExist": if_none_exist(change.resource_type, mark, habits),
            },
        }
    assert change.reference is not None
    assert change.if_match is not None
    etag = write_etag(change.if_match, strong=habits.strong_etags)
    request = {"url": change.reference, "ifMatch": etag}
    if change.interaction == "delete":
        return {"request": {"method": "DELETE", **request}}
    if change.interaction == "update":
        return {"resource": change.resource, "request": {"method": "PUT", **request}}
    # Both guards, as the probe tried it: a server may mind the one and pass over the other.
    patch = guarded_patch(change)
    binary = {
        "resourceType": "Binary",
        "contentType": JSON_PATCH,
        "data": base64.b64encode(orjson.dumps(patch)).decode(),
    }
    return {"resource": binary, "request": {"method": "PATCH", **request}}
