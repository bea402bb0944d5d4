"""Logs: one JSON object a line on standard error, key-value, bound once.

Never a name, an MRN, free text or a body. What a library or a traceback would add is cut down
to the kind of error and the place, because messages of exceptions may quote data.
"""

import logging
import sys
import traceback
from typing import Any

import structlog

FRAMES_MAX = 12
QUIET = ("asyncio", "aiohttp.access", "uvicorn.access")


def start_logs(process: str, *, level: int = logging.INFO) -> None:
    """Sets the logs of this process up; `process` stands in each line, e.g. "gateway"."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        place_only,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


def place_only(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Turns exception information into the kind of error and where it happened."""
    found = event.pop("exc_info", None)
    error = sys.exc_info()[1] if found is True else found
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
        event["error"] = type(error).__name__
        event["at"] = [f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in frames]
    event.pop("stack_info", None)
    return event
