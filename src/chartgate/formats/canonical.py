"""One byte form for one JSON value, so that a digest means the content and nothing else.

Keys sorted, no white space, UTF-8; the numbers that RFC 8785 would write differently
(floats in exponent form) do not occur in FHIR decimals that orjson has read.
"""

import hashlib
from typing import Any

import orjson


def canonical_bytes(value: Any) -> bytes:
    """Canonical JSON of any JSON value."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(content: bytes) -> bytes:
    """SHA-256 of the bytes, 32 bytes long."""
    return hashlib.sha256(content).digest()


def digest_of(value: Any) -> bytes:
    """SHA-256 of the canonical bytes of a JSON value."""
    return digest(canonical_bytes(value))
