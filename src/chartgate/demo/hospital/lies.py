"""What lying about versions does to an answer: none, always the same, or strong ones."""

from collections.abc import Callable
from typing import Any

import orjson

from chartgate.demo.hospital.exchange import Answer, Refused, Request

FROZEN = "1"


def without_etag(answer: Answer, *, everywhere: bool) -> Answer:
    """No ETag; with `everywhere` no meta.versionId either."""
    answer.headers = [h for h in answer.headers if h[0] not in (b"etag", b"last-modified")]
    if everywhere:
        _each_resource(answer, lambda resource: resource.get("meta", {}).pop("versionId", None))
    return answer


def with_frozen_etag(answer: Answer) -> Answer:
    """Whatever its version is, it is called version 1."""
    answer.headers = [
        (
            name,
            b'W/"1"' if name == b"etag" else _frozen_place(value) if name == b"location" else value,
        )
        for name, value in answer.headers
    ]
    _each_resource(answer, _freeze)
    return answer


def with_strong_etags(answer: Answer) -> Answer:
    """ETags as strong ones."""
    answer.headers = [
        (name, value.removeprefix(b"W/") if name == b"etag" else value)
        for name, value in answer.headers
    ]
    return answer


def heard_strongly(request: Request) -> Request:
    """The same request with its ETags as this hospital has them. Raises Refused for a weak
    If-Match: by RFC 9110, 13.1.1, it never holds where ETags are compared strongly."""
    headers = dict(request.headers)
    if headers.get("if-match", "").startswith("W/"):
        raise Refused(412, "conflict", "a weak If-Match never holds here")
    if headers.get("if-none-match", "").startswith('"'):
        headers["if-none-match"] = "W/" + headers["if-none-match"]
    request.headers = headers
    return request


def _frozen_place(value: bytes) -> bytes:
    return value.partition(b"/_history/")[0] + b"/_history/1"


def _freeze(resource: dict[str, Any]) -> None:
    if isinstance(resource.get("meta"), dict) and "versionId" in resource["meta"]:
        resource["meta"]["versionId"] = FROZEN


def _each_resource(answer: Answer, change: Callable[[dict[str, Any]], Any]) -> None:
    if not answer.body:
        return
    body = orjson.loads(answer.body)
    entries = [entry for entry in body.get("entry", ()) if isinstance(entry, dict)]
    for resource in (body, *(entry.get("resource") or {} for entry in entries)):
        change(resource)
    answer.body = orjson.dumps(body)
