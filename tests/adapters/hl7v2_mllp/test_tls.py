"""TLS on real sockets: who may connect, who may send what, and what a new certificate changes."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop

from chartgate.adapters.hl7v2_mllp import listener as listeners
from chartgate.adapters.hl7v2_mllp.listener import Listener
from chartgate.adapters.hl7v2_mllp.tls import ExpiryAlarm, ServerTls, tls_of
from chartgate.config import MllpConfig
from chartgate.errors import ConfigError
from chartgate.formats.mllp import frame
from chartgate.model.message import Received
from tests.adapters.hl7v2_mllp.certificates import (
    Certificate,
    make_certificate,
    write_certificate,
)

WHERE = "[connections.adt]"


@dataclass(kw_only=True)
class Keys:
    """An authority, our certificate, and one of a sender."""

    folder: Path
    authority: Certificate
    ours: Certificate
    sender: Certificate


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    authority = make_certificate(tmp_path, "authority")
    return Keys(
        folder=tmp_path,
        authority=authority,
        ours=make_certificate(tmp_path, "feed", by=authority),
        sender=make_certificate(tmp_path, "adt.north", by=authority, dns=("adt.north.example",)),
    )


class Echo:
    """An intake that tells of whom each message may be."""

    def admit(self, received: Received) -> Received:
        return received

    async def commit(self, batch: Any) -> list[bytes]:
        return [
            repr(sorted(one.senders) if one.senders is not None else None).encode() for one in batch
        ]


def tls(
    keys: Keys, clock: Callable[[], datetime] = lambda: datetime.now(UTC), **more: Any
) -> ServerTls:
    table = {"cert": "feed.pem", "key": "feed.key", "client_ca": "authority.pem"}
    found = tls_of(WHERE, {"tls": table, **more}, folder=keys.folder, clock=clock)
    assert found is not None
    return found


@asynccontextmanager
async def listening(
    served: ServerTls, limits: MllpConfig | None = None
) -> AsyncIterator[tuple[int, Listener]]:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    listener = Listener("adt", Echo(), limits or MllpConfig(), tls=served)
    task = asyncio.create_task(listener.serve("127.0.0.1", 0, ready=port.set_result))
    await asyncio.wait((task, port), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield await port, listener
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def client(keys: Keys, certificate: Certificate | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=keys.authority.file)
    if certificate is not None:
        context.load_cert_chain(certificate.file, certificate.key_file)
    return context


async def connect(
    port: int, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(frame(b"MSH|"))
    return (await reader.readuntil(b"\x1c\r"))[1:-2].decode()


async def exchange(port: int, context: ssl.SSLContext) -> str:
    reader, writer = await connect(port, context)
    try:
        return await ask(reader, writer)
    finally:
        writer.close()


def run(walk: Callable[[], Awaitable[None]], *, fast: bool) -> None:
    """On asyncio's loop, and on the one that serves."""

    async def main() -> None:
        async with asyncio.timeout(20):
            await walk()

    factory = uvloop.new_event_loop if fast else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("fast", [True, False])
def test_sender_needs_a_certificate_of_our_authority(
    keys: Keys, tmp_path: Path, fast: bool
) -> None:
    (tmp_path / "other").mkdir()
    stranger = make_certificate(tmp_path / "other", "other")
    forged = make_certificate(tmp_path / "other", "adt.north", by=stranger)

    async def walk() -> None:
        async with listening(tls(keys)) as (port, _):
            assert await exchange(port, client(keys, keys.sender)) == "None"
            for wrong in (None, forged):
                with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                    await exchange(port, client(keys, wrong))

    run(walk, fast=fast)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", ["CN:adt.north", "DNS:ADT.north.example", "SHA256"])
def test_certificate_stands_for_its_senders_alone(keys: Keys, name: str, fast: bool) -> None:
    name = f"SHA256:{keys.sender.fingerprint.upper()}" if name == "SHA256" else name
    senders = {name: ["ADT1|NORTH", "ADT2|NORTH|P"], "CN:other": ["X|Y"]}

    async def walk() -> None:
        async with listening(tls(keys, senders=senders)) as (port, _):
            allowed = "[('ADT1', 'NORTH'), ('ADT2', 'NORTH', 'P')]"
            assert await exchange(port, client(keys, keys.sender)) == allowed
            other = make_certificate(keys.folder, "nobody", by=keys.authority)
            assert await exchange(port, client(keys, other)) == "[]"

    run(walk, fast=fast)


@pytest.mark.parametrize("fast", [True, False])
def test_new_certificate_counts_for_new_connections_and_ends_none(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(listeners, "SWEEP_INTERVAL_S", 0.01)

    async def serial(port: int) -> int:
        _, writer = await connect(port, client(keys, keys.sender))
        found = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
        writer.close()
        return int(found, 16)

    async def walk() -> None:
        async with listening(tls(keys)) as (port, _):
            reader, writer = await connect(port, client(keys, keys.sender))
            assert await ask(reader, writer) == "None"
            renewed = make_certificate(keys.folder, "renewed", by=keys.authority)
            write_certificate(renewed, keys.ours.file, keys.ours.key_file)
            while await serial(port) != renewed.certificate.serial_number:
                await asyncio.sleep(0.01)
            assert await ask(reader, writer) == "None"
            writer.close()

    run(walk, fast=fast)


async def test_certificate_when_it_is_broken_leaves_the_old_one(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listeners, "SWEEP_INTERVAL_S", 0.01)
    async with listening(tls(keys)) as (port, _):
        keys.ours.file.write_text("no certificate")
        async with asyncio.timeout(5):
            while "mllp.certificate_kept" not in capsys.readouterr().out:
                await asyncio.sleep(0.01)
        assert await exchange(port, client(keys, keys.sender)) == "None"


async def test_certificate_when_it_has_run_out_does_not_start(keys: Keys) -> None:
    expired = make_certificate(keys.folder, "expired", by=keys.authority, days=-1)
    write_certificate(expired, keys.ours.file, keys.ours.key_file)
    with pytest.raises(ConfigError, match="not now; replace it"):
        async with listening(tls(keys)):
            pass


async def test_certificate_when_it_runs_out_takes_no_more_connections(keys: Keys) -> None:
    now = datetime.now(UTC)
    served = tls(keys, clock=lambda: now)
    async with listening(served) as (port, listener):
        assert await exchange(port, client(keys, keys.sender)) == "None"
        now += timedelta(days=400)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await exchange(port, client(keys, keys.sender))
        assert listener.turned_away == {"certificate_expired": 1}


async def test_clear_text_and_old_versions_are_refused(keys: Keys) -> None:
    async with listening(tls(keys)) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(frame(b"MSH|"))
        assert b"MSH" not in await reader.read()
        writer.close()
        old = client(keys, keys.sender)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await exchange(port, old)


@pytest.mark.parametrize("fast", [True, False])
def test_message_over_the_limit_is_answered_before_the_line_is_closed(
    keys: Keys, fast: bool
) -> None:
    """Though the sender is still writing, and TLS has no half-closed connection."""

    async def walk() -> None:
        async with listening(tls(keys), MllpConfig(message_bytes_max=1000)) as (port, _):
            reader, writer = await connect(port, client(keys, keys.sender))
            writer.write(b"\x0bMSH|" + b"x" * 5_000_000)
            assert await reader.readuntil(b"\x1c\r") == frame(b"None")
            writer.close()

    run(walk, fast=fast)


def test_alarm_speaks_once_at_each_threshold() -> None:
    alarm, until = ExpiryAlarm(), datetime(2026, 12, 31, tzinfo=UTC)
    told = [
        alarm.days_to_tell(until, until - timedelta(days=d)) for d in (40, 30, 29, 8, 7, 3, 1, 0)
    ]
    assert told == [None, 30, None, None, 7, None, 1, None]
    assert alarm.days_to_tell(until, until - timedelta(days=300)) is None
    assert alarm.days_to_tell(until, until - timedelta(hours=30)) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tls": {"cert": "feed.pem"}}, "needs the key key"),
        ({"tls": {"cert": "feed.pem", "key": "feed.key", "ca": "x"}}, "not 'ca'"),
        ({"senders": {}}, "needs tls"),
        ({"tls": {"cert": "f", "key": "f"}, "senders": {}}, "needs the key client_ca"),
        ({"senders": {"north": ["A|B"]}}, "must be e.g."),
        ({"senders": {"CN:north": "A|B"}}, "must hold a list"),
        ({"senders": {"CN:north": ["A"]}}, "must hold a list"),
    ],
)
def test_option_when_wrong_is_a_sentence(
    keys: Keys, options: dict[str, Any], sentence: str
) -> None:
    files = {"cert": "feed.pem", "key": "feed.key", "client_ca": "authority.pem"}
    whole = (
        {"tls": files, **options} if "CN" in str(options) or "north" in str(options) else options
    )
    with pytest.raises(ConfigError, match=sentence):
        tls_of(WHERE, whole, folder=keys.folder, clock=lambda: datetime.now(UTC))


@pytest.mark.parametrize("broken", ["feed.pem", "feed.key", "authority.pem"])
def test_file_when_it_cannot_be_used_is_a_sentence(keys: Keys, broken: str) -> None:
    (keys.folder / broken).write_text("nothing")
    with pytest.raises(ConfigError, match="files of tls cannot be used"):
        tls(keys).load()
    (keys.folder / broken).unlink()
    with pytest.raises(ConfigError, match="files of tls cannot be used"):
        tls(keys).load()
