"""Logs name kinds and places, never values."""

import json
import logging
import subprocess
import sys
from typing import Any

from chartgate.observe.logs import place_only

PROGRAM = """
import logging
import structlog
from chartgate.observe.logs import start_logs

start_logs("gateway")
structlog.get_logger().info("started", site="north-clinic")
try:
    raise KeyError("Canary")
except KeyError:
    structlog.get_logger().error("unexpected", exc_info=True)
    logging.getLogger("uvicorn.error").exception("Exception in application")
logging.getLogger("asyncpg").info("not shown")
"""


def test_each_line_is_json_with_the_process_and_no_value_of_an_exception() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == [
        "started",
        "unexpected",
        "Exception in application",
    ]
    assert {line["process"] for line in lines} == {"gateway"}
    assert [line.get("error") for line in lines] == [None, "KeyError", "KeyError"]
    assert lines[1]["at"] == ["<string>:9"]
    assert "Canary" not in done.stderr


def test_exception_is_cut_down_however_it_is_given() -> None:
    error = ValueError("Canary")
    given: list[Any] = [error, (ValueError, error, None)]
    for exc_info in given:
        event = place_only(logging.getLogger(), "error", {"exc_info": exc_info})
        assert event == {"error": "ValueError", "at": []}
