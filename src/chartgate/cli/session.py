"""What commands share: a store to talk to, a gate, and two ways to print."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import orjson
import uvloop

from chartgate.config import Config
from chartgate.errors import Unavailable
from chartgate.flows.charters import load_book
from chartgate.gate import Gate, open_gate
from chartgate.store.embedded import running_url, start_embedded
from chartgate.store.migrate import check_store, migrate

Answer = TypeVar("Answer")


@contextmanager
def store_url(config: Config) -> Iterator[str]:
    """The store that the config names; our own PostgreSQL is started if it does not run."""
    url = config.store.database_url or running_url(config.data_dir)
    if url:
        yield url
        return
    server = start_embedded(config.data_dir, postgres_bin=config.store.postgres_bin)
    try:
        yield server.url
    finally:
        server.stop()


def running_store_url(config: Config) -> str:
    """The store of a Chartgate that is up. Raises Unavailable with what to do."""
    url = config.store.database_url or running_url(config.data_dir)
    if not url:
        raise Unavailable(
            f"no PostgreSQL runs on {config.data_dir}; start everything with `chartgate up`, "
            "or name your own server as database_url under [store]"
        )
    return url


@asynccontextmanager
async def gate_on(config: Config, url: str) -> AsyncIterator[Gate]:
    """A gate on a store that was checked and brought up to date."""
    await migrate(url)
    await check_store(url)
    async with open_gate(config, url=url, book=load_book(config)) as gate:
        yield gate


def with_gate(config: Config, act: Callable[[Gate], Awaitable[Answer]]) -> Answer:
    """Runs `act` on a gate of its own, for commands that do one thing and end."""

    async def run(url: str) -> Answer:
        async with gate_on(config, url) as gate:
            return await act(gate)

    with store_url(config) as url:
        answer: Answer = run_async(run(url))
        return answer


def run_async(coroutine: Any) -> Any:
    """asyncio.run on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def add_json_flag(parser: Any) -> None:
    """--json, the same everywhere."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def show(as_json: bool, value: Any, *lines: str) -> None:
    """Prints `value` as JSON, or the lines."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() if as_json else "\n".join(lines))
