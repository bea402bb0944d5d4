"""Standard Webhooks: how a notification proves where it comes from.

Signed is "id.timestamp.body" by HMAC-SHA256; the secret is "whsec_" and base64.
Source: https://www.standardwebhooks.com, specification 1.0.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from chartgate.errors import ConfigError, Unauthenticated

PREFIX = "whsec_"
SECRET_BYTES_MIN = 24
TOLERANCE_S = 300


def parse_secret(text: str) -> bytes:
    """The key of "whsec_…". Raises ConfigError."""
    try:
        key = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < SECRET_BYTES_MIN:
        raise ConfigError(f"a webhook secret is {PREFIX} and base64 of at least 24 random bytes")
    return key


def signed_headers(key: bytes, *, message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of one delivery; a retry keeps the id and takes a new timestamp."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{_signature(key, message_id, str(timestamp_s), body)}",
    }


def check_signature(key: bytes, headers: Mapping[str, str], body: bytes, *, now_s: float) -> None:
    """Raises Unauthenticated unless one of the signatures holds and the timestamp is near."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise Unauthenticated("webhook-timestamp is missing or too far from now")
    expected = _signature(key, message_id, timestamp, body).encode()
    for part in headers.get("webhook-signature", "").split():
        version, _, signature = part.partition(",")
        if version == "v1" and hmac.compare_digest(signature.encode(), expected):
            return
    raise Unauthenticated("webhook-signature does not hold")


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
