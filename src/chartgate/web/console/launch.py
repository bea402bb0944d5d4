"""An EHR opens Chartgate for one patient."""

from starlette.responses import Response

from chartgate.flows import launches
from chartgate.web.auth import session_cookie
from chartgate.web.console.login import AWAY_COOKIE, arrived, away
from chartgate.web.cookies import read_cookie
from chartgate.web.routes import Call


async def launch(call: Call) -> Response:
    """GET /launch?iss=…&launch=…: off to the EHR's own sign-in."""
    query = dict(call.query)
    cookies = (call.header("cookie") or "").encode("latin")
    begun = await launches.begin_launch(
        call.gate,
        iss=query.get("iss", ""),
        launch=query.get("launch", ""),
        cookie=read_cookie(call.gate, cookies, AWAY_COOKIE),
        session=session_cookie(call.gate, cookies),
    )
    return away(call, begun)


async def launched(call: Call) -> Response:
    """GET /launch/{name}/callback: back from there."""
    cookies = (call.header("cookie") or "").encode("latin")
    cookie = read_cookie(call.gate, cookies, AWAY_COOKIE)
    arrival = await launches.finish_launch(
        call.gate, call.parameters["name"], dict(call.query), cookie
    )
    return arrived(call, arrival)
