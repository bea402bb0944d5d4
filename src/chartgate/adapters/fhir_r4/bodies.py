"""What comes back: JSON under limits, versions from ETags, copies in canonical form."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from chartgate.formats.canonical import canonical_bytes, digest
from chartgate.model.resource import Copy, Resource, split_reference

ETAG = re.compile(r'\s*(?:W/)?"?([^"\s]{1,256})"?\s*')
LOCATION = re.compile(
    r"(?:^|/)([A-Z][A-Za-z]{1,40})/([A-Za-z0-9\-.]{1,64})(?:/_history/([^/\s?#]{1,128}))?$"
)


class BadAnswer(Exception):
    """The system answered, but not with what FHIR says. The text holds no patient data."""


def parse_resource(body: bytes, *, depth_max: int) -> Resource:
    """The JSON object of an answer. Raises BadAnswer."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadAnswer("the body is no JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        raise BadAnswer("the body is no FHIR resource")
    check_depth(value, depth_max=depth_max)
    return value


def check_depth(value: Any, *, depth_max: int) -> None:
    """Raises BadAnswer for JSON nested deeper than `depth_max`."""
    level = [value]
    for _ in range(depth_max):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise BadAnswer(f"the body is nested deeper than {depth_max}")


def parse_etag(value: str | None) -> str | None:
    """The version in `W/"3"`, `"3"` or `3`; None for nothing or junk."""
    match = ETAG.fullmatch(value) if value else None
    return match[1] if match else None


def write_etag(version: str, *, strong: bool = False) -> str:
    """The weak ETag that FHIR prescribes, or a strong one for a system that has those.

    Source: https://hl7.org/fhir/R4/http.html#versioning
    """
    return f'"{version}"' if strong else f'W/"{version}"'


def parse_location(value: str | None) -> tuple[str, str | None] | None:
    """("Slot/12", "3") of a Location such as https://…/Slot/12/_history/3."""
    match = LOCATION.search(value) if value else None
    return (f"{match[1]}/{match[2]}", match[3]) if match else None


def meta_version(resource: Mapping[str, Any]) -> str | None:
    """meta.versionId, if it is there and a text."""
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) and version else None


def reference_of(resource: Mapping[str, Any]) -> str:
    """ "Slot/12". Raises BadAnswer for a resource without a usable type and id."""
    reference = f"{resource.get('resourceType')}/{resource.get('id')}"
    if not isinstance(resource.get("id"), str) or split_reference(reference) is None:
        raise BadAnswer("a resource has no id of FHIR's form")
    return reference


def copy_of(resource: Resource, *, as_of: datetime, etag: str | None = None) -> Copy:
    """A Copy; its version is the ETag's, else meta.versionId, else "". Raises BadAnswer."""
    body = canonical_bytes(resource)
    return Copy(
        reference=reference_of(resource),
        version=etag or meta_version(resource) or "",
        digest=digest(body),
        body=body,
        as_of=as_of,
    )


def issue_codes(body: bytes) -> str:
    """The codes of an OperationOutcome for the log; its texts may hold patient data."""
    try:
        outcome = orjson.loads(body)
        codes = [str(issue["code"]) for issue in outcome["issue"]][:10]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "no OperationOutcome"
    return ",".join(code for code in codes if re.fullmatch(r"[a-z\-]{1,40}", code)) or "no codes"
