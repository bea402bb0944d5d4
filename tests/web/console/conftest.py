"""What the tests of the pages share."""

from collections.abc import Awaitable, Callable

import pytest

from tests.web.console.pages_of import Page
from tests.web.front_desk import FrontDesk, Session

Look = Callable[..., Awaitable[Page]]


@pytest.fixture
def look(desk: FrontDesk) -> Look:
    """GET of a page by a person, or by nobody."""

    async def looking(path: str, session: Session | None = None) -> Page:
        return Page(await desk.ask("GET", path, headers=session.headers if session else None))

    return looking
