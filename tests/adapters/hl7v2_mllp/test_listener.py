"""The listener on real sockets: framing, order, limits, and answers that are never early."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from chartgate.adapters.hl7v2_mllp import listener as listeners
from chartgate.adapters.hl7v2_mllp.listener import Listener
from chartgate.config import MllpConfig
from chartgate.errors import ConfigError
from chartgate.formats.mllp import frame
from chartgate.model.message import Received
from chartgate.model.ports import NotTaken

Decide = Callable[[Received], bytes | None]


def echo(received: Received) -> bytes:
    return b"" if received.flaw in ("noise", "truncated") else b"re:" + received.raw[:40]


@dataclass(kw_only=True)
class Store:
    """Stands for the flow: keeps the batches, and answers once `open` is set."""

    decide: Decide = echo
    batches: list[list[Received]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False

    def admit(self, received: Received) -> Received:
        return received

    async def commit(self, batch: Sequence[Received]) -> list[bytes | None]:
        self.batches.append(list(batch))
        await self.open.wait()
        if self.gone:
            raise NotTaken([b"later:" + received.raw for received in batch])
        return [self.decide(received) for received in batch]

    @property
    def received(self) -> list[Received]:
        return [received for batch in self.batches for received in batch]


@asynccontextmanager
async def listening(store: Store, limits: MllpConfig | None = None) -> AsyncIterator[int]:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    listener = Listener("north-adt", store, limits or MllpConfig())
    task = asyncio.create_task(listener.serve("127.0.0.1", 0, ready=port.set_result))
    try:
        yield await port
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture
def store() -> Store:
    opened = Store()
    opened.open.set()
    return opened


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def exchange(port: int, *chunks: bytes, answers: int) -> list[bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
        await asyncio.sleep(0.002)
    found = [await reader.readuntil(b"\x1c\r") for _ in range(answers)]
    writer.close()
    return found


async def test_message_when_cut_at_every_offset_is_answered_once(store: Store) -> None:
    stream = frame(b"MSH|one")
    async with listening(store) as port:
        for cut in range(1, len(stream)):
            assert await exchange(port, stream[:cut], stream[cut:], answers=1) == [
                frame(b"re:MSH|one")
            ]
    assert len(store.received) == len(stream) - 1


async def test_messages_when_pipelined_are_answered_in_their_order(store: Store) -> None:
    stream = b"".join(frame(b"MSH|%d" % n) for n in range(300))
    async with listening(store) as port:
        found = await exchange(port, stream, answers=300)
    assert found == [frame(b"re:MSH|%d" % n) for n in range(300)]


async def test_messages_that_come_during_a_commit_make_the_next_one(store: Store) -> None:
    store.open.clear()
    async with listening(store) as port:
        tasks = [
            asyncio.create_task(exchange(port, frame(b"MSH|%d" % n), answers=1)) for n in range(20)
        ]
        await until(lambda: bool(store.batches))
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in tasks)
        store.open.set()
        await asyncio.gather(*tasks)
    assert len(store.batches) <= 3


async def test_line_ends_after_a_frame_are_no_matter(store: Store) -> None:
    async with listening(store) as port:
        assert len(await exchange(port, frame(b"a") + b"\n" + frame(b"b"), answers=2)) == 2


@pytest.mark.parametrize(
    ("sent", "flaw"),
    [(b"\x0bMSH|half", "truncated"), (b"GET / HTTP/1.1\r\n" * 200, "noise")],
)
async def test_bytes_when_they_make_no_message_are_handed_over_and_the_line_closed(
    store: Store, sent: bytes, flaw: str
) -> None:
    async with listening(store, MllpConfig(idle_timeout_s=0.1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await reader.read() == b""
        writer.close()
    assert [received.flaw for received in store.received] == [flaw]


async def test_part_when_the_sender_hangs_up_is_handed_over(store: Store) -> None:
    async with listening(store) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frame(b"MSH|1") + b"\x0bMSH|2")
        writer.close()
        await until(lambda: len(store.received) == 2)
    assert [received.flaw for received in store.received] == ["", "truncated"]


async def test_bytes_when_they_trickle_in_are_not_waited_for_for_ever(store: Store) -> None:
    async with listening(store, MllpConfig(idle_timeout_s=0.2)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x0bMSH")
        ended = asyncio.create_task(reader.read())
        async with asyncio.timeout(5):
            while not ended.done():
                writer.write(b"x")
                await asyncio.sleep(0.02)
        writer.close()
    assert store.received[0].flaw == "truncated"


async def test_message_whose_last_byte_is_missing_is_taken(store: Store) -> None:
    async with listening(store, MllpConfig(idle_timeout_s=0.1)) as port:
        assert await exchange(port, b"\x0bMSH|1\x1c", answers=1) == [frame(b"re:MSH|1")]


async def test_quiet_connection_is_left_open(store: Store) -> None:
    async with listening(store, MllpConfig(idle_timeout_s=0.05)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.3)
        writer.write(frame(b"MSH|late"))
        assert await reader.readuntil(b"\x1c\r") == frame(b"re:MSH|late")
        writer.close()


async def test_message_over_the_limit_is_answered_and_the_line_closed(store: Store) -> None:
    """17 MiB against the default of 16."""
    async with listening(store) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x0bMSH|big" + b"x" * (17 * 1024 * 1024))
        assert (await reader.readuntil(b"\x1c\r")).startswith(b"\x0bre:MSH|big")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()
    assert [received.flaw for received in store.received] == ["too large"]


async def test_connection_over_the_limit_is_closed_at_once(store: Store) -> None:
    async with listening(store, MllpConfig(connections_max=1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frame(b"MSH|1"))
        await reader.readuntil(b"\x1c\r")
        second, other = await asyncio.open_connection("127.0.0.1", port)
        assert await second.read() == b""
        other.close()
        writer.close()


async def test_reading_stops_when_the_queue_is_full_and_goes_on_after(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "QUEUED_MESSAGES_MAX", 10)
    store.open.clear()
    count = 4_000
    content = b"MSH|" + b"x" * 4_000
    async with listening(store, MllpConfig(batch_max=5)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frame(content) * count)
        await until(lambda: bool(store.batches))
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await writer.drain()
        store.open.set()
        for _ in range(count):
            await reader.readuntil(b"\x1c\r")
        writer.close()
    assert sum(map(len, store.batches)) == count


async def test_store_when_it_fails_closes_and_answers_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "RETRY_S", 0.0)

    def broken(received: Received) -> bytes:
        raise RuntimeError("ours")

    store.decide = broken
    async with listening(store) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frame(b"MSH|1"))
        assert await reader.read() == b""
        writer.close()
        store.decide = echo
        assert await exchange(port, frame(b"MSH|2"), answers=1) == [frame(b"re:MSH|2")]


async def test_line_whose_messages_are_not_taken_ends_and_what_came_behind_is_not_taken(
    store: Store,
) -> None:
    """Else a sender that does not wait would be overtaken by its own later messages."""
    store.open.clear()
    store.gone = True
    async with listening(store) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frame(b"one") + frame(b"two"))
        await until(lambda: bool(store.batches))
        assert [received.raw for received in store.received] == [b"one", b"two"]
        writer.write(frame(b"three"))
        _, other = await asyncio.open_connection("127.0.0.1", port)
        other.write(frame(b"other"))
        await writer.drain()
        await asyncio.sleep(0.1)  # for both to be queued: nothing outside shows it
        store.open.set()
        assert await reader.read() == frame(b"later:one") + frame(b"later:two")
        await until(lambda: len(store.received) > 2)
        assert [received.raw for received in store.received] == [b"one", b"two", b"other"]
        writer.close()
        other.close()


async def test_sender_when_it_is_gone_disturbs_no_other(store: Store) -> None:
    store.open.clear()
    async with listening(store) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.write(frame(b"MSH|1"))
        await until(lambda: bool(store.batches))
        writer.transport.abort()
        other = asyncio.create_task(exchange(port, frame(b"MSH|2"), answers=1))
        store.open.set()
        assert await other == [frame(b"re:MSH|2")]


async def test_port_when_in_use_is_a_sentence(store: Store) -> None:
    async with listening(store) as port:
        second = Listener("other", store, MllpConfig())
        with pytest.raises(ConfigError, match=r"cannot be listened on .* \[mllp\] port"):
            await second.serve("127.0.0.1", port, ready=lambda _: None)


async def test_message_that_asks_for_no_answer_gets_none_and_the_line_stays(store: Store) -> None:
    store.decide = lambda received: None if b"quiet" in received.raw else echo(received)
    async with listening(store) as port:
        stream = [frame(b"MSH|quiet"), frame(b"MSH|1"), frame(b"MSH|quiet"), frame(b"MSH|2")]
        found = await exchange(port, *stream, answers=2)
    assert found == [frame(b"re:MSH|1"), frame(b"re:MSH|2")]
    assert len(store.received) == 4


async def test_connection_over_the_limit_of_its_address_is_closed_and_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another address one more is taken; and of the same when another has gone."""
    monkeypatch.setattr(listeners, "SWEEP_INTERVAL_S", 0.01)

    async def connect(port: int, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        writer.write(frame(b"MSH|1"))
        return reader, writer

    async with listening(store, MllpConfig(connections_per_peer_max=1)) as port:
        first, gone = await connect(port, "127.0.0.1")
        await first.readuntil(b"\x1c\r")
        second, other = await connect(port, "127.0.0.1")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await second.readuntil(b"\x1c\r")
        third, writer = await connect(port, "127.0.0.2")
        await third.readuntil(b"\x1c\r")
        await until(lambda: "connections_per_peer_max=1" in capsys.readouterr().out)
        gone.close()
        await gone.wait_closed()

        async def taken() -> bool:
            again, last = await connect(port, "127.0.0.1")
            found = await again.read(1)
            last.close()
            return bool(found)

        async with asyncio.timeout(5):
            while not await taken():
                await asyncio.sleep(0.005)
        writer.close()
        other.close()


async def test_unanswered_messages_of_one_connection_are_limited(store: Store) -> None:
    store.open.clear()
    async with listening(store, MllpConfig(in_flight_max=3, batch_max=1)) as port:
        writers = []
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
        for n in range(40):  # in chunks of their own, so that reading can stop between them
            writers[0].write(frame(b"MSH|%d" % n))
            await writers[0].drain()
            await asyncio.sleep(0.002)
        store.open.set()
        await until(lambda: len(store.received) == 40)
        for writer in writers:
            writer.close()
    assert [received.raw for received in store.received] == [b"MSH|%d" % n for n in range(40)]


async def test_sender_that_does_not_read_is_not_read(store: Store) -> None:
    """Its answers would fill our memory instead."""
    store.decide = lambda received: b"x" * 100_000
    stream = frame(b"MSH|" + b"y" * 10_000) * 2_000
    async with listening(store, MllpConfig(in_flight_max=1000)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        writer.write(stream)
        await until(lambda: bool(store.received))
        before = -1
        while before != len(store.received):
            before = len(store.received)
            await asyncio.sleep(0.1)
        assert before < 2_000
        for _ in range(2_000):
            await reader.readexactly(100_003)
        writer.close()
    assert len(store.received) == 2_000


async def test_stop_answers_what_came_in_and_closes(store: Store) -> None:
    """What was read is committed and answered, and what is still on the way is not begun."""
    store.open.clear()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    listener = Listener("north-adt", store, MllpConfig(batch_max=1))
    task = asyncio.create_task(listener.serve("127.0.0.1", 0, ready=port.set_result))
    reader, writer = await asyncio.open_connection("127.0.0.1", await port)
    idle, quiet = await asyncio.open_connection("127.0.0.1", await port)
    writer.write(frame(b"MSH|1") + frame(b"MSH|2") + b"\x0bMSH|part")
    await until(lambda: bool(store.batches))
    task.cancel()
    assert await idle.read() == b""
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port.result())
    assert not task.done()
    store.open.set()
    assert await reader.read() == frame(b"re:MSH|1") + frame(b"re:MSH|2")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [received.raw for received in store.received] == [b"MSH|1", b"MSH|2"]
    writer.close()
    quiet.close()


async def test_stop_does_not_wait_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "DRAIN_S", 0.05)
    store.open.clear()
    async with listening(store) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frame(b"MSH|1"))
        await until(lambda: bool(store.batches))
    assert await reader.read() == b""
    writer.close()
