"""Finding the route of a request. Literal segments win over parameters, and those over a rest."""

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from chartgate.errors import NotAllowed, NotFound
from chartgate.web.routes import Route

REST = ":path}"
SAY_NO_ROUTE = "there is nothing here"

Segments = tuple[str, ...]


class Table:
    """The routes of an application, by method and first segment."""

    def __init__(self, routes: Sequence[Route]) -> None:
        names = [route.name for route in routes]
        assert len(set(names)) == len(names), "two routes of one name"
        self.routes = tuple(routes)
        self._rows: dict[tuple[str, str], list[tuple[Segments, Route]]] = {}
        for route in routes:
            segments = tuple(route.path[1:].split("/"))
            self._rows.setdefault((route.method, segments[0]), []).append((segments, route))
        for rows in self._rows.values():
            rows.sort(key=lambda row: [_rank(segment) for segment in row[0]])

    def find(self, method: str, raw_path: bytes) -> tuple[Route, dict[str, str]]:
        """The route and its parameters, decoded. Raises NotFound, NotAllowed."""
        path = split_path(raw_path)
        found = self._match("GET" if method == "HEAD" else method, path)
        if found:
            return found
        allow = sorted({m for m, _ in self._rows if self._match(m, path)})
        if allow:
            allow += ["HEAD"] if "GET" in allow else []
            raise NotAllowed(f"{', '.join(allow)} only", allow=", ".join(allow))
        raise NotFound(SAY_NO_ROUTE)

    def _match(self, method: str, path: Segments) -> tuple[Route, dict[str, str]] | None:
        for segments, route in self._rows.get((method, path[0]), ()):
            parameters = _parameters(segments, path)
            if parameters is not None:
                return route, parameters
        return None


def split_path(raw_path: bytes) -> Segments:
    """Decoded segments. Raises NotFound for what no route of ours can hold: a segment that
    decodes to a slash, a control character or not to UTF-8."""
    try:
        if b"%" not in raw_path:
            return tuple(raw_path[1:].decode("ascii").split("/"))
        segments = tuple(
            unquote_to_bytes(part).decode("utf-8") for part in raw_path[1:].split(b"/")
        )
    except UnicodeDecodeError:
        raise NotFound(SAY_NO_ROUTE) from None
    if any("/" in segment or not segment.isprintable() for segment in segments):
        raise NotFound(SAY_NO_ROUTE)
    return segments


def _rank(segment: str) -> tuple[int, str]:
    if segment.endswith(REST):
        return (2, segment)
    return (1, "") if segment.startswith("{") else (0, segment)


def _parameters(segments: Segments, path: Segments) -> dict[str, str] | None:
    rest = segments[-1].endswith(REST)
    fixed = segments[:-1] if rest else segments
    if len(path) < len(fixed) or (not rest and len(path) != len(fixed)):
        return None
    parameters = {}
    for segment, part in zip(fixed, path, strict=False):
        if segment.startswith("{"):
            if not part:
                return None
            parameters[segment[1:-1]] = part
        elif segment != part:
            return None
    if rest:
        parameters[segments[-1][1 : -len(REST)]] = "/".join(path[len(fixed) :])
    return parameters
