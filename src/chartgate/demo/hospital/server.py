"""Starts and stops the sample hospital on a real socket, in the running event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from chartgate.clock import Clock, utc_now
from chartgate.demo.hospital.app import TRANSPORT, HospitalApp
from chartgate.demo.hospital.chart import Chart
from chartgate.demo.hospital.dress import load_dress
from chartgate.demo.hospital.faults import Faults
from chartgate.demo.hospital.journal import Journal
from chartgate.demo.hospital.oauth import RegisteredClient
from chartgate.demo.hospital.population import Fill
from chartgate.demo.hospital.scenario import Scenario
from chartgate.errors import ConfigError


class HospitalProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also lets the application cut its connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]


class Hospital:
    """A sample hospital that listens. `stop` and `start` model a system that is really down:
    its chart, journal and faults stay, connections are refused meanwhile."""

    def __init__(self, app: HospitalApp, *, host: str, port: int) -> None:
        self.app = app
        self.host = host
        self.port = port
        self._server: asyncio.Server | None = None
        self._state = ServerState()

    @property
    def url(self) -> str:
        return self.app.url

    @property
    def fhir_url(self) -> str:
        return self.app.fhir_url

    @property
    def token_url(self) -> str:
        return self.app.desk.token_url

    @property
    def control_url(self) -> str:
        return f"{self.app.url}/control"

    @property
    def chart(self) -> Chart:
        return self.app.chart

    @property
    def faults(self) -> Faults:
        return self.app.faults

    @property
    def scenario(self) -> Scenario:
        """What the demo plays on. Raises LookupError if the chart was opened empty."""
        if self.app.control.scenario is None:
            raise LookupError("this hospital was opened without patients")
        return self.app.control.scenario

    @property
    def journal(self) -> Journal:
        return self.app.journal

    def edit(self, resource: dict[str, Any]) -> int:
        """Somebody in the hospital writes this resource now; its new version."""
        return int(self.app.control.edit(resource)["version"])

    def resource(self, reference: str) -> dict[str, Any]:
        """The current content of e.g. "Slot/12". Raises KeyError if there is none."""
        resource = self.chart.current[reference].resource
        if resource is None:
            raise KeyError(reference)
        return dict(resource)

    async def start(self) -> None:
        """Listens. Raises ConfigError if the port is taken."""
        config = Config(
            self.app,
            http=HospitalProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            timeout_keep_alive=75,
        )
        config.load()
        self._state = ServerState()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: HospitalProtocol(config=config, server_state=self._state, app_state={}),
                self.host,
                self.port,
                backlog=2048,
            )
        except OSError as error:
            raise ConfigError(
                f"port {self.port} of {self.host} is in use: choose another with --port",
                operator_detail=str(error),
            ) from None

    async def stop(self) -> None:
        """Stops listening and cuts all connections; late faults that wait never happen."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.transport.abort()
        for handle in self.app.late:
            handle.cancel()
        self.app.late.clear()
        for task in list(self._state.tasks):
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None


def free_port(host: str) -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running_hospital(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clients: Iterable[RegisteredClient] = (),
    fill: Fill | None = None,
    clock: Clock = utc_now,
    dialect: str = "",
) -> AsyncIterator[Hospital]:
    """A hospital in this event loop. Port 0 takes a free one; without clients no token is needed.

    `fill` fills the chart before it opens, e.g. `sample_patients()`; without it, it is empty.
    `dialect` names the dialect whose habits it shows.
    """
    hospital = make_hospital(
        host=host, port=port, clients=clients, fill=fill, clock=clock, dialect=dialect
    )
    await hospital.start()
    try:
        yield hospital
    finally:
        await hospital.stop()


def make_hospital(
    *,
    host: str,
    port: int,
    clients: Iterable[RegisteredClient] = (),
    fill: Fill | None = None,
    clock: Clock = utc_now,
    dialect: str = "",
) -> Hospital:
    """A filled hospital that does not listen yet. Raises ConfigError for an unknown dialect."""
    dress = load_dress(dialect) if dialect else None
    port = port or free_port(host)
    chart = Chart(clock=clock)
    scenario = fill(chart) if fill else None
    url = f"http://{host}:{port}"
    app = HospitalApp(chart, clients=tuple(clients), url=url, clock=clock, dress=dress)
    app.control.scenario = scenario
    return Hospital(app, host=host, port=port)
