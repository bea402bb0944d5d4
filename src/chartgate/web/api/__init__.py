"""The versioned JSON API under /v1; openapi.yaml is its contract."""

from chartgate.web.routes import Route

ROUTES: tuple[Route, ...] = ()
