"""Cookies: no script sees one, each has one place, and over https its name says that no other host
of the domain can have planted it.

Source: https://www.rfc-editor.org/rfc/rfc6265, and draft-ietf-httpbis-rfc6265bis for the prefix.
"""

from typing import Literal

from starlette.responses import Response

from chartgate.gate import Gate

HOST_PREFIX = "__Host-"


def cookie_name(gate: Gate, name: str) -> str:
    """The name that it has on the wire."""
    return HOST_PREFIX + name if _is_https(gate) else name


def read_cookie(gate: Gate, header: bytes, name: str) -> str | None:
    """The cookie's value. Two of that name count as none: one may be planted."""
    wanted = cookie_name(gate, name).encode()
    values = [
        value
        for key, _, value in (part.strip().partition(b"=") for part in header.split(b";"))
        if key == wanted
    ]
    return values[0].decode("latin") if len(values) == 1 and values[0] else None


def set_cookie(
    gate: Gate,
    response: Response,
    name: str,
    value: str,
    *,
    max_age_s: int | None = None,
    same_site: Literal["strict", "lax"] = "strict",
) -> None:
    """Lasts as long as the browser does, or `max_age_s`. An empty value removes it."""
    response.set_cookie(
        cookie_name(gate, name),
        value,
        max_age=max_age_s if value else 0,
        path="/",
        secure=_is_https(gate),
        httponly=True,
        samesite=same_site,
    )


def _is_https(gate: Gate) -> bool:
    return gate.config.web.url.startswith("https://")
