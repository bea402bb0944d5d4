"""Standard Webhooks signatures, against the specification's own example."""

import pytest

from chartgate.errors import ConfigError, Unauthenticated
from chartgate.formats.webhooks import check_signature, parse_secret, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT_S, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'


def test_signature_is_that_of_the_specification() -> None:
    headers = signed_headers(parse_secret(SECRET), message_id=ID, timestamp_s=AT_S, body=BODY)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    check_signature(parse_secret(SECRET), headers, BODY, now_s=AT_S + 10)


@pytest.mark.parametrize(
    ("change", "body", "now_s"),
    [
        ({}, BODY + b" ", AT_S),
        ({"webhook-id": "other"}, BODY, AT_S),
        ({"webhook-timestamp": str(AT_S + 1)}, BODY, AT_S),
        ({"webhook-signature": "v1,AAAA"}, BODY, AT_S),
        ({}, BODY, AT_S + 600),
    ],
)
def test_signature_when_anything_differs_is_refused(
    change: dict[str, str], body: bytes, now_s: float
) -> None:
    key = parse_secret(SECRET)
    headers = signed_headers(key, message_id=ID, timestamp_s=AT_S, body=BODY) | change
    with pytest.raises(Unauthenticated):
        check_signature(key, headers, body, now_s=now_s)


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!"])
def test_secret_when_short_or_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="whsec_"):
        parse_secret(text)
