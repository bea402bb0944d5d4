"""What makes an ID token hold: laws over whatever a provider may say."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from chartgate.flows.id_tokens import (
    Expected,
    TokenFlaw,
    claim_texts,
    has_second_factor,
    kid_of,
    parse_keys,
    verified_claims,
)
from tests.web.provider import sign

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
KEY = ECKey.generate_key("P-256")
KEYS = parse_keys({"keys": [KEY.as_dict(private=False) | {"kid": "one", "use": "sig"}]})
EXPECTED = Expected(issuer="https://idp.example", client_id="us", nonce="n" * 43)
RIGHT = {
    "iss": EXPECTED.issuer,
    "aud": EXPECTED.client_id,
    "nonce": EXPECTED.nonce,
    "sub": "subject-1",
    "iat": NOW.timestamp(),
    "exp": NOW.timestamp() + 300,
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def checked(claims: dict[str, Any]) -> dict[str, Any]:
    token = sign(claims, KEY, algorithm="ES256")
    return verified_claims(token, KEYS, EXPECTED, now=NOW)


def test_right_token_holds() -> None:
    assert checked(RIGHT) == RIGHT


@pytest.mark.parametrize("name", RIGHT)
def test_token_without_any_one_of_its_claims_does_not_hold(name: str) -> None:
    with pytest.raises(TokenFlaw):
        checked({k: v for k, v in RIGHT.items() if k != name})


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(["iss", "aud", "nonce"]), value=ANYTHING)
def test_party_and_nonce_are_exactly_ours_or_the_token_does_not_hold(name: str, value: Any) -> None:
    if value == RIGHT[name] or (name == "aud" and value == [RIGHT["aud"]]):
        return
    with pytest.raises(TokenFlaw):
        checked(RIGHT | {name: value})


@settings(max_examples=300, deadline=None)
@given(
    extra=st.dictionaries(
        st.sampled_from(["exp", "iat", "nbf", "sub", "azp", "amr", "acr", "groups"]), ANYTHING
    )
)
def test_whatever_a_token_says_it_holds_or_is_refused_and_nothing_else(
    extra: dict[str, Any],
) -> None:
    try:
        claims = checked(RIGHT | extra)
    except TokenFlaw:
        return
    now = NOW.timestamp()
    assert claims["exp"] + 60 > now
    assert now - 660 <= claims["iat"] <= now + 60
    assert claims.get("nbf", now) <= now + 60
    assert 0 < len(claims["sub"]) <= 255
    assert claims.get("azp", "us") == "us"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_\-]*\.[A-Za-z0-9_\-]*\.[A-Za-z0-9_\-]*"))
def test_text_that_is_no_token_is_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(TokenFlaw):
        verified_claims(text, KEYS, EXPECTED, now=NOW)
    with pytest.raises(TokenFlaw):
        kid_of(text)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=5))
def test_any_change_of_a_token_breaks_it(position: int, bit: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = sign(RIGHT, KEY, algorithm="ES256")
    at = position % len(token)
    if token[at] == ".":
        return
    other = alphabet[alphabet.index(token[at]) ^ (1 << bit)]
    changed = token[:at] + other + token[at + 1 :]
    if changed.rpartition(".")[0] == token.rpartition(".")[0] and at == len(token) - 1:
        return  # the last character of a signature has bits that stand for nothing
    with pytest.raises(TokenFlaw):
        verified_claims(changed, KEYS, EXPECTED, now=NOW)


@given(ANYTHING)
def test_document_that_holds_no_keys_is_no_fault(document: Any) -> None:
    assert parse_keys(document) == ()
    assert parse_keys({"keys": [document]}) == ()


@given(claims=st.dictionaries(st.sampled_from(["amr", "acr"]), ANYTHING))
def test_second_factor_is_there_only_where_a_named_value_is(claims: dict[str, Any]) -> None:
    amr, acr = claims.get("amr"), claims.get("acr")
    named = (isinstance(amr, list) and "mfa" in amr) or acr == "loa3"
    assert has_second_factor(claims, amr=("mfa",), acr=("loa3",)) == named


def test_claim_of_a_name_with_dots_comes_before_the_way_inwards() -> None:
    inner = {"realm_access": {"roles": ["a", 7, "b"]}}
    assert claim_texts(inner, "realm_access.roles") == ("a", "b")
    assert claim_texts(inner | {"realm_access.roles": "c"}, "realm_access.roles") == ("c",)
    assert claim_texts({}, "realm_access.roles") == ()
    assert claim_texts({"realm_access": "x"}, "realm_access.roles") == ()
