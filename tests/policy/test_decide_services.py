"""A service decides nothing and sees no chart, whatever its powers and whatever any charter says."""

import pytest

from chartgate.config import POWERS
from chartgate.model.decision import Request
from chartgate.model.principal import Client, Service
from chartgate.policy.charters import compile_book
from chartgate.policy.decide import DOING, decide
from chartgate.testing.gates import CHARTER, parse_test_charter

# Even where a charter names a client of the same name.
BOOK = compile_book([parse_test_charter(CHARTER.replace(b"[slot-picker]", b"[archive]"))])
SERVICE = Service(id="archive", may=POWERS)
CLIENT = Client(id="archive", charter="clinic-booking")


def request(principal: Client | Service, action: str, site: str = "north-clinic") -> Request:
    return Request(
        principal=principal,
        action=action,
        charter="clinic-booking",
        site=site,
        resource_type="Slot",
        preliminary=True,
    )


@pytest.mark.parametrize("action", sorted(DOING))
def test_service_is_denied_everything(action: str) -> None:
    assert not decide(BOOK, request(SERVICE, action)).permitted


def test_client_of_that_name_is_not_denied_what_its_charter_permits() -> None:
    assert decide(BOOK, request(CLIENT, "read")).permitted


@pytest.mark.parametrize(
    ("sites", "permitted"),
    [(None, True), (("north-clinic",), True), (("south-clinic",), False), ((), False)],
)
def test_token_holds_at_its_own_sites_alone(sites: tuple[str, ...] | None, permitted: bool) -> None:
    bound = Client(id="archive", charter="clinic-booking", sites=sites)
    assert decide(BOOK, request(bound, "read")).permitted is permitted
    elsewhere = Client(id="archive", charter="clinic-booking", sites=("elsewhere",))
    assert not decide(BOOK, request(elsewhere, "read", site="elsewhere")).permitted
