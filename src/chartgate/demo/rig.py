"""Real processes on free ports: a sample hospital, Chartgate, and whoever else joins.

The story, the benchmarks and the crash campaign all stand on this, so what they show is what a
person at the command line would get.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import aiohttp

from chartgate.store.embedded_place import remove_place

READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05
CHARTERS = ("clinic-booking", "visit-note", "prior-authorisation")
PEOPLE: Mapping[str, str] = {
    "sofia": "scheduler",
    "dr-osei": "clinician",
    "nora": "utilisation",
    "olu": "operator",
}
# Whoever decides here is a program, which reads at once. Production would not start with this.
AT_ONCE = """\
[review]
dwell_s = 0
word_s = 0
field_s = 0
"""
PASSWORD = "sample-hospital-only"  # the demo listens on loopback and holds synthetic people only


class RigError(Exception):
    """A process of the rig did not come up or ended too early; the message names its log."""


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Rig:
    """One folder with everything in it, and the processes that run on it."""

    folder: Path
    web_port: int = field(default_factory=free_port)
    mllp_port: int = field(default_factory=free_port)
    hospital_port: int = field(default_factory=free_port)
    client_ports: dict[str, int] = field(
        default_factory=lambda: {n: free_port() for n in ("slot-picker", "scribe", "auth-clerk")}
    )
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def gateway(self) -> str:
        """Base URL of the gateway."""
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def hospital(self) -> str:
        """Base URL of the sample hospital."""
        return f"http://127.0.0.1:{self.hospital_port}"

    def chartgate(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs one `chartgate` command to its end."""
        command = [sys.executable, "-m", "chartgate", "--config", str(self.config), *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )

    @property
    def config(self) -> Path:
        """The rig's chartgate.toml."""
        return self.folder / "chartgate.toml"

    def initialise(self, settings: str = "") -> None:
        """`chartgate init`, then the rig's ports. `settings` is TOML put at the file's end."""
        command = [sys.executable, "-m", "chartgate", "init", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        text = self.config.read_text(encoding="utf-8")
        text = text.replace("port = 8480", f"port = {self.web_port}")
        text = text.replace("port = 2575", f"port = {self.mllp_port}")
        text = text.replace("127.0.0.1:8490", f"127.0.0.1:{self.hospital_port}")
        for sample, (name, port) in zip((8491, 8492, 8493), self.client_ports.items(), strict=True):
            assert f"[clients.{name}]" in text
            text = text.replace(f"127.0.0.1:{sample}", f"127.0.0.1:{port}")
        assert "[web]\n" in text
        text = text.replace("[web]\n", f"{AT_ONCE}\n[web]\n", 1)
        self.config.write_text(text + settings, encoding="utf-8")

    def set_feed_option(self, line: str) -> None:
        """Adds one line of TOML to the feed's connection."""
        text = self.config.read_text(encoding="utf-8")
        head = "[connections.north-adt]\n"
        assert head in text
        self.config.write_text(text.replace(head, f"{head}{line}\n"), encoding="utf-8")

    def start_hospital(self, *more: str) -> None:
        """The sample hospital, which knows Chartgate's public key."""
        clients = self.folder / "hospital-clients.json"
        jwks = json.loads((self.folder / "keys" / "north-ehr.jwks.json").read_text())
        clients.write_text(json.dumps({"chartgate": {"jwks": jwks}}))
        module = ["chartgate.demo.hospital", "--port", str(self.hospital_port)]
        self.start("hospital", [*module, "--clients", str(clients), *more], ready='"ready"')

    async def control(self, path: str, change: Any = None) -> Any:
        """The hospital's back door: GET, or PUT of `change`, decoded."""
        method = "GET" if change is None else "PUT"
        url = f"{self.hospital}/control/{path}"
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, url, json=change) as response,
        ):
            return await response.json(content_type=None)

    def start_chartgate(self) -> None:
        """`chartgate up`, until it serves."""
        self.start("chartgate", ["chartgate", "--config", str(self.config), "up"])
        self.wait_until_serving()

    def start_client(self, name: str) -> None:
        """One sample AI client."""
        port, keys = str(self.client_ports[name]), str(self.folder / "keys")
        command = ["chartgate.demo.agents", name, "--gateway", self.gateway]
        self.start(name, [*command, "--keys", keys, "--port", port], ready='"ready"')

    def start(self, name: str, module: Sequence[str], *, ready: str = "") -> None:
        """Starts `python -m …` with its output in NAME.log, and waits for `ready` in it."""
        log = self.log(name)
        with log.open("ab") as out:
            offset = out.tell()
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *module], stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        if ready:
            self.wait(name, lambda: ready in _text_from(log, offset))

    def log(self, name: str) -> Path:
        """Where a process's output goes."""
        return self.folder / f"{name}.log"

    def wait(self, name: str, condition: Callable[[], bool]) -> None:
        """Waits for a condition that the process will bring about. Raises RigError."""
        deadline = time.monotonic() + READY_WITHIN_S
        process = self.processes[name]
        while not condition():
            if process.poll() is not None:
                tail = "\n".join(self.log(name).read_text().splitlines()[-8:])
                raise RigError(f"{name} ended with {process.returncode}:\n{tail}")
            if time.monotonic() > deadline:
                raise RigError(
                    f"{name} is not ready after {READY_WITHIN_S:.0f} s: {self.log(name)}"
                )
            time.sleep(LOOK_EVERY_S)

    def wait_until_serving(self) -> None:
        """Until the gateway is ready and the listener takes connections."""
        self.wait("chartgate", lambda: _answers(self.web_port) and _answers(self.mllp_port))

    def prepare(self, stage: str = "suggest") -> None:
        """What an operator does before the first event: probe, stages, people."""
        site = ("--site", "north-clinic")
        commands: list[tuple[tuple[str, ...], str]] = [(("probe", "north-ehr"), "")]
        commands += [(("stage", charter, stage), "") for charter in CHARTERS]
        commands += [
            (("person", "add", person, "--role", role, *site), f"{PASSWORD}\n")
            for person, role in PEOPLE.items()
        ]
        with ThreadPoolExecutor(max_workers=2) as pool:
            for done in [pool.submit(self.must, *words, stdin=text) for words, text in commands]:
                done.result()

    def must(self, *arguments: str, stdin: str = "") -> str:
        """A command that has to succeed; its output. Raises RigError."""
        done = self.chartgate(*arguments, stdin=stdin)
        if done.returncode:
            raise RigError(f"chartgate {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def discard(self) -> None:
        """Stops everything and deletes the folder with all that was stored."""
        self.stop()
        remove_place(self.folder / "var")
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """Stops every process, Chartgate first."""
        for name in sorted(self.processes, key=lambda name: name != "chartgate"):
            process = self.processes[name]
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _text_from(path: Path, offset: int) -> str:
    file: IO[bytes]
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")


@dataclass
class Staff:
    """A person at the JSON API, as the pages' own forms would act."""

    gateway: str
    http: aiohttp.ClientSession
    name: str
    csrf: str = ""
    cookie: str = ""

    async def sign_in(self) -> None:
        """Opens a session."""
        answer, headers = await self._send("POST", "/v1/session", name=self.name, password=PASSWORD)
        self.csrf = answer["csrf"]
        found = re.match(r"([^;]+)", headers["Set-Cookie"])
        self.cookie = found[1] if found else ""

    async def get(self, path: str) -> Any:
        """GET, decoded."""
        return (await self._send("GET", path))[0]

    async def post(self, path: str, **body: Any) -> Any:
        """POST of JSON, decoded."""
        return (await self._send("POST", path, **body))[0]

    async def _send(self, method: str, path: str, **body: Any) -> tuple[Any, Mapping[str, str]]:
        headers = {"Cookie": self.cookie, "X-CSRF-Token": self.csrf} if self.cookie else {}
        async with self.http.request(
            method, self.gateway + path, json=body or None, headers=headers
        ) as response:
            answer = await response.json(content_type=None)
            if response.status >= 400:
                issue = (answer.get("issue") or [{}])[0]
                raise StaffRefused(response.status, issue.get("diagnostics", ""))
            return answer, response.headers


class StaffRefused(Exception):
    """Chartgate said no to a person, and why."""

    def __init__(self, status: int, diagnostics: str) -> None:
        super().__init__(f"{status}: {diagnostics}")
        self.status = status
        self.diagnostics = diagnostics


async def eventually(
    condition: Callable[[], Any], *, within_s: float = READY_WITHIN_S, what: str
) -> Any:
    """The first true answer of an async condition. Raises RigError after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        answer = await condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise RigError(f"waited {within_s:.0f} s in vain for: {what}")
        await asyncio.sleep(LOOK_EVERY_S)


def running_in_ci() -> bool:
    """CI=1: nobody is there to look around."""
    return os.environ.get("CI", "") not in ("", "0", "false")
