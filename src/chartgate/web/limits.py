"""Limits that stand before everything else: a stranger's request is measured before it is
parsed, and parsed before anyone asks who sent it."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from chartgate.config import WebConfig
from chartgate.errors import Invalid, NotAllowed, TooLarge, UnsupportedMedia
from chartgate.formats.depth import deeper_than, more_parts_than

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Sequence[tuple[bytes, bytes]]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
HEADERS_MAX = 64  # fields; browsers send some 20
HEADER_BYTES_MAX = 16_384  # of all fields together
PATH_BYTES_MAX = 8_192  # with the query
# Two of these, and two readers may each believe another one.
SINGLE = frozenset(
    {
        b"authorization",
        b"chartgate-interaction",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"host",
        b"if-match",
        b"if-none-match",
        b"origin",
    }
)


class HeadTooLarge(TooLarge):
    """More or longer header fields than any client of ours sends."""

    status = 431


def check_head(scope: MutableMapping[str, Any]) -> dict[bytes, bytes]:
    """The header fields that may stand but once, by name.

    Raises NotAllowed, HeadTooLarge, Invalid.
    """
    if scope["method"] not in METHODS:
        raise NotAllowed("this method is not used here", allow=", ".join(sorted(METHODS)))
    headers: Headers = scope["headers"]
    if len(headers) > HEADERS_MAX:
        raise HeadTooLarge(f"a request may have {HEADERS_MAX} header fields")
    if len(scope["raw_path"]) + len(scope["query_string"]) > PATH_BYTES_MAX:
        raise HeadTooLarge(f"path and query may have {PATH_BYTES_MAX} bytes; use POST _search")
    size = 0
    single: dict[bytes, bytes] = {}
    for name, value in headers:
        size += len(name) + len(value)
        if name in SINGLE:
            if name in single:
                raise Invalid(f"the header {name.decode()} stands twice")
            single[name] = value
    if size > HEADER_BYTES_MAX:
        raise HeadTooLarge(f"header fields may have {HEADER_BYTES_MAX} bytes together")
    return single


async def read_body(
    web: WebConfig,
    single: dict[bytes, bytes],
    headers: Headers,
    receive: Receive,
    *,
    media_types: Sequence[str],
) -> bytes:
    """The whole body, of a known media type, within its limits of size, time and JSON shape.

    Raises TooLarge, UnsupportedMedia, Invalid.
    """
    declared = single.get(b"content-length")
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    if not chunked and (declared is None or declared == b"0"):
        return b""
    if declared is not None and (not declared.isdigit() or len(declared) > 18):
        raise Invalid("content-length must be a number")
    if declared is not None and int(declared) > web.body_bytes_max:
        raise TooLarge(f"a body may have {web.body_bytes_max} bytes")
    if single.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia("send the body without a content coding")
    media_type = single.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin")
    if media_type not in media_types:
        raise UnsupportedMedia(f"the body must be {' or '.join(media_types)}")
    body = await _receive_all(web, receive)
    if declared is not None and len(body) != int(declared):
        raise Invalid("the body is not as long as content-length says")
    if media_type.endswith("json"):
        _check_json(web, body)
    return body


def _check_json(web: WebConfig, body: bytes) -> None:
    if deeper_than(body, web.json_depth_max):
        raise Invalid(f"JSON may nest {web.json_depth_max} deep, and its brackets must match")
    if more_parts_than(body, web.json_parts_max):
        raise TooLarge(f"JSON may have {web.json_parts_max} keys and items")


async def _receive_all(web: WebConfig, receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(web.body_timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Invalid("the connection was closed before the body was whole")
                part = message.get("body", b"")
                size += len(part)
                if size > web.body_bytes_max:
                    raise TooLarge(f"a body may have {web.body_bytes_max} bytes")
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Invalid(f"the body did not arrive within {web.body_timeout_s:g} s") from None
