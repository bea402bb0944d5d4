"""A cheap HTTP/1.1 load generator: keep-alive connections on uvloop, one request each at a time.

`python -m benchmarks.http_load` takes a JSON plan on standard input and prints a JSON result. It
is a process of its own, so that what it measures is not its own event loop.
"""

import asyncio
import itertools
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import uvloop


@dataclass(frozen=True)
class Plan:
    """What to send: to each path in turn, in a shuffled order, with the same headers."""

    host: str
    port: int
    paths: list[str]
    headers: dict[str, str]
    requests: int
    concurrency: int
    seed: int = 1


@dataclass
class Result:
    """What came back. Times in milliseconds."""

    requests: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    statuses: dict[str, int] = field(default_factory=dict)


class Connection(asyncio.Protocol):
    """Sends one request after another until the plan is done."""

    def __init__(self, load: "Load", done: "asyncio.Future[None]") -> None:
        self._load = load
        self._done = done
        self._buffer = b""
        self._missing = 0  # bytes of the body that are still to come
        self._sent_at = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head, length = self._buffer[:end].lower(), 0
            at = head.find(b"content-length:")
            if at >= 0:
                length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            self._load.statuses[head[9:12].decode()] += 1
            self._missing = length - (len(self._buffer) - end - 4)
            self._buffer = b""
        if self._missing == 0:
            self._load.times_s.append(perf_counter() - self._sent_at)
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError("the server closed the connection"))

    def _next(self) -> None:
        if self._load.left == 0:
            if not self._done.done():
                self._done.set_result(None)
            self._transport.close()
            return
        self._load.left -= 1
        self._sent_at = perf_counter()
        self._transport.write(next(self._load.messages))


class Load:
    """The shared state of one run's connections."""

    def __init__(self, plan: Plan) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in plan.headers.items())
        messages = [
            f"GET {path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n{lines}\r\n".encode()
            for path in plan.paths
        ]
        random.Random(plan.seed).shuffle(messages)
        self.messages = itertools.cycle(messages)
        self.left = plan.requests
        self.times_s: list[float] = []
        self.statuses: Counter[str] = Counter()


async def run(plan: Plan) -> Result:
    """Runs a plan to its end. Raises ConnectionError if the server hangs up."""
    load = Load(plan)
    loop = asyncio.get_running_loop()
    started = perf_counter()
    waits = []
    for _ in range(plan.concurrency):
        done: asyncio.Future[None] = loop.create_future()
        waits.append(done)
        await loop.create_connection(partial(Connection, load, done), plan.host, plan.port)
    await asyncio.gather(*waits)
    seconds = perf_counter() - started
    times = sorted(load.times_s)
    return Result(
        requests=len(times),
        seconds=round(seconds, 3),
        per_second=round(len(times) / seconds, 1),
        p50_ms=round(times[len(times) // 2] * 1000, 3),
        p99_ms=round(times[int(len(times) * 0.99)] * 1000, 3),
        max_ms=round(times[-1] * 1000, 3),
        statuses=dict(load.statuses),
    )


def main() -> None:
    """Reads the plan, prints the result."""
    plan = Plan(**json.load(sys.stdin))
    print(json.dumps(asdict(uvloop.run(run(plan)))))


if __name__ == "__main__":
    main()
