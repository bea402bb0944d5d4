"""What the tests of the API share."""

import pytest

from tests.web.api.promised import Api
from tests.web.front_desk import FrontDesk


@pytest.fixture
def api(desk: FrontDesk) -> Api:
    """Calls that are held against the contract."""
    return Api(desk=desk)
