"""Standard Webhooks: how a notification proves where it comes from.

Signed is "id.timestamp.body" by HMAC-SHA256; the secret is "whsec_" and base64.
Source: https://www.standardwebhooks.com, specification 1.0.
"""

import base64
import binascii
import hashlib
import hmac

from chartgate.errors import ConfigError

PREFIX = "whsec_"
SECRET_BYTES_MIN = 24


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
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{signature}",
    }
