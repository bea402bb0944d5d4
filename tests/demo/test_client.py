"""What a sample AI client believes of a notification."""

import pytest

from chartgate.demo.client import signature_holds
from chartgate.formats.webhooks import parse_secret, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT_S, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'


@pytest.mark.parametrize(
    ("change", "body", "late_s", "holds"),
    [
        ({}, BODY, 10, True),
        ({}, BODY + b" ", 0, False),
        ({"webhook-id": "other"}, BODY, 0, False),
        ({"webhook-timestamp": str(AT_S + 1)}, BODY, 0, False),
        ({"webhook-signature": "v1,AAAA"}, BODY, 0, False),
        ({"webhook-signature": "v1,é"}, BODY, 0, False),
        ({}, BODY, 600, False),
        ({}, BODY, -600, False),
    ],
)
def test_signature_holds_for_what_was_signed_a_moment_ago(
    change: dict[str, str], body: bytes, late_s: int, holds: bool
) -> None:
    sent = signed_headers(parse_secret(SECRET), message_id=ID, timestamp_s=AT_S, body=BODY)
    assert signature_holds(SECRET, sent | change, body, now_s=AT_S + late_s) is holds


def test_one_of_several_signatures_is_enough() -> None:
    """While the secret is being replaced."""
    sent = signed_headers(parse_secret(SECRET), message_id=ID, timestamp_s=AT_S, body=BODY)
    sent["webhook-signature"] = "v1,AAAA " + sent["webhook-signature"]
    assert signature_holds(SECRET, sent, BODY, now_s=AT_S)
