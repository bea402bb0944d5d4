"""What commands share: a store to talk to, a gate, a way to read numbers and two ways to print."""

import argparse
import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import orjson
import uvloop

from chartgate.config import Config
from chartgate.errors import ConfigError, Unavailable
from chartgate.flows.changes import settle_config
from chartgate.flows.charters import load_book, settle
from chartgate.gate import Gate, open_gate, open_store_gate
from chartgate.policy.charters import CharterBook, compile_book
from chartgate.store.embedded import EmbeddedServer, running_url, start_embedded
from chartgate.store.embedded_orphans import wait_until
from chartgate.store.migrate import check_store, migrate

STARTING_WITHIN_S = 5.0
GARBAGE_AFTER = 100_000  # containers made since the last look: some hundred messages

Answer = TypeVar("Answer")


@contextmanager
def store_url(config: Config) -> Iterator[str]:
    """The store that the config names; our own PostgreSQL is started if it does not run."""
    url = config.store.database_url or running_url(config.data_dir)
    server: EmbeddedServer | None = None
    if not url:
        try:
            server = start_embedded(config.data_dir, postgres_bin=config.store.postgres_bin)
            url = server.url
        except Unavailable:
            # Another Chartgate may have it, whose PostgreSQL is about to start.
            wait_until(lambda: running_url(config.data_dir) is not None, STARTING_WITHIN_S)
            url = running_url(config.data_dir)
            if not url:
                raise
    try:
        yield url
    finally:
        if server:
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
    """A gate with everything, on a store that was checked and brought up to date. Settings and
    charters that are weaker than before wait for two people, where they are needed."""
    book = load_book(config)
    await _prepare(url)
    async with open_gate(config, url=url, book=book) as gate:
        await settle_config(gate)
        await settle(gate)
        yield gate


def with_gate(config: Config, act: Callable[[Gate], Awaitable[Answer]]) -> Answer:
    """Runs `act` on a gate with everything, for commands that do one thing and end."""

    async def run(url: str) -> Answer:
        async with gate_on(config, url) as gate:
            return await act(gate)

    with store_url(config) as url:
        answer: Answer = run_async(run(url))
        return answer


def with_store(
    config: Config, act: Callable[[Gate], Awaitable[Answer]], *, book: CharterBook | None = None
) -> Answer:
    """Runs `act` on a gate without systems of record and, unless they are given, charters: a
    mistake in either must not keep an operator from halting, or from looking."""

    async def run(url: str) -> Answer:
        await _prepare(url)
        async with open_store_gate(config, url=url, book=book or no_charters(config)) as gate:
            return await act(gate)

    with store_url(config) as url:
        answer: Answer = run_async(run(url))
        return answer


def charters_or_mistakes(config: Config) -> tuple[CharterBook, str]:
    """The charters and "", or none and what is wrong with them."""
    try:
        return load_book(config), ""
    except ConfigError as error:
        return no_charters(config), str(error)


def no_charters(config: Config) -> CharterBook:
    """A book that permits what no charter has to, as strict as the config is."""
    return compile_book((), production=config.production, mfa_required=config.mfa_required)


async def _prepare(url: str) -> None:
    await migrate(url)
    await check_store(url)


def run_async(coroutine: Any) -> Any:
    """asyncio.run on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def serve_async(coroutine: Any) -> Any:
    """As `run_async`, for a process that runs for long: what is there already is not looked
    through for garbage again, and the rest less often. Many short-lived values of one message or
    request are freed without it."""
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER, 50, 100)
    return run_async(coroutine)


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """For argparse: an int from `least` to `most`."""

    def parse(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{number} is not from {least} to {most}")
        return number

    parse.__name__ = "number"  # argparse names it where the text is none
    return parse


def add_limit(parser: Any, most: int, *, default: int = 50) -> None:
    """--limit of a list."""
    parser.add_argument(
        "--limit",
        type=whole_number(1, most),
        default=default,
        metavar="N",
        help=f"at most so many; default: {default}",
    )


def add_json_flag(parser: Any) -> None:
    """--json, the same everywhere."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def show(as_json: bool, value: Any, *lines: str) -> None:
    """Prints `value` as JSON, or the lines."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() if as_json else "\n".join(lines))
