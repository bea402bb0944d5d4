"""The pages people use, one file a page."""

from chartgate.web.routes import Route

ROUTES: tuple[Route, ...] = ()
