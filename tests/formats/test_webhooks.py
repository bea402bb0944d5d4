"""Standard Webhooks signatures, against the specification's own example."""

import pytest

from chartgate.errors import ConfigError
from chartgate.formats.webhooks import parse_secret, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT_S, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'


def test_signature_is_that_of_the_specification() -> None:
    headers = signed_headers(parse_secret(SECRET), message_id=ID, timestamp_s=AT_S, body=BODY)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!"])
def test_secret_when_short_or_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="whsec_"):
        parse_secret(text)
