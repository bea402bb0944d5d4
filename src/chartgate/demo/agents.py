"""The three sample AI clients, each a process that waits for notifications and proposes.

Their "models" are a few lines of rules, so that the story is the same each time. What is real is
everything around them: keys, tokens, signed notifications, reads under a charter, proposals.
"""

import argparse
import asyncio
import base64
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from chartgate.demo.client import TIMEOUT_S, Gateway, GatewayRefused, load_key, signature_holds

Resource = dict[str, Any]
Agent = Callable[[Gateway, str], Awaitable[str]]  # focus reference in, a line for the log out


async def book(
    gateway: Gateway, focus: str, *, taken: Collection[str] = (), key: str | None = None
) -> str:
    """slot-picker: the first free slot for a patient who registered, none of those `taken`."""
    patient = await gateway.read(focus)
    now = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    free = await gateway.search("Slot", status="free", start=f"ge{now}")
    slots = [slot for slot in free if slot["id"] not in taken]
    if not slots:
        return "no free slot"
    slot = min(slots, key=lambda s: (s["start"], s["id"]))
    schedule = await gateway.read(slot["schedule"]["reference"])
    actors = [a["reference"] for a in schedule["actor"] if a.get("reference")]
    reachable = bool(patient.get("telecom")) and bool(patient.get("birthDate"))
    appointment = {
        "resourceType": "Appointment",
        "status": "booked",
        "slot": [{"reference": f"Slot/{slot['id']}"}],
        "start": slot["start"],
        "end": slot["end"],
        "participant": [
            {"actor": {"reference": f"Patient/{patient['id']}"}, "status": "accepted"},
            *({"actor": {"reference": a}, "status": "accepted"} for a in actors),
        ],
    }
    proposal = await gateway.propose(
        "book",
        [
            {"interaction": "create", "resource": appointment},
            {
                "interaction": "patch",
                "reference": f"Slot/{slot['id']}",
                "patch": [{"op": "replace", "path": "/status", "value": "busy"}],
            },
        ],
        confidence=0.93 if reachable else 0.41,
        rationale="First free slot with the clinic."
        if reachable
        else "The patient's date of birth or phone is missing: I cannot tell who would be booked.",
        key=key,
    )
    return f"proposed {proposal['id']} ({proposal['status']}) Slot/{slot['id']}"


async def write_note(gateway: Gateway, focus: str) -> str:
    """scribe: a visit note for an encounter that has ended."""
    encounter = await gateway.read(focus)
    subject = encounter["subject"]["reference"]
    conditions = await gateway.search("Condition", patient=subject)
    named = [
        coding.get("code", "")
        for condition in conditions
        for coding in condition.get("code", {}).get("coding", [])[:1]
    ]
    text = (
        "Visit note (draft)\n"
        "Seen today in clinic; stable.\n"
        f"Known problems by code: {', '.join(named) or 'none on record'}.\n"
        "Plan: routine follow-up in 6 weeks."
    )
    note = {
        "resourceType": "DocumentReference",
        "status": "current",
        "docStatus": "preliminary",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
        "subject": {"reference": subject},
        "date": datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "data": base64.b64encode(text.encode()).decode(),
                }
            }
        ],
        "context": {"encounter": [{"reference": f"Encounter/{encounter['id']}"}]},
    }
    proposal = await gateway.propose(
        "file-note",
        [{"interaction": "create", "resource": note}],
        confidence=0.88,
        rationale="Drafted from the encounter and the problem list.",
    )
    return f"proposed {proposal['id']} ({proposal['status']})"


async def advance(gateway: Gateway, focus: str) -> str:
    """auth-clerk: a prior authorisation Task that the payer has taken up."""
    task = await gateway.read(focus)
    now = datetime.now(tz=UTC).replace(microsecond=0)
    period = {"start": now.isoformat(), "end": (now + timedelta(days=14)).isoformat()}
    had_period = "executionPeriod" in task
    proposal = await gateway.propose(
        "update-status",
        [
            {
                "interaction": "patch",
                "reference": f"Task/{task['id']}",
                "patch": [
                    {"op": "replace", "path": "/status", "value": "in-progress"},
                    {
                        "op": "replace" if had_period else "add",
                        "path": "/executionPeriod",
                        "value": period,
                    },
                ],
            }
        ],
        confidence=0.91,
        rationale="The payer acknowledged the request; 14 days to decide.",
    )
    return f"proposed {proposal['id']} ({proposal['status']})"


@dataclass(frozen=True, kw_only=True)
class Role:
    """What one sample client listens for and does."""

    agent: Agent
    focus: str  # the resource type it starts from
    scope: str


ROLES: Mapping[str, Role] = {
    "slot-picker": Role(
        agent=book,
        focus="Patient",
        scope="system/Patient.r system/Slot.rs system/Schedule.r",
    ),
    "scribe": Role(
        agent=write_note, focus="Encounter", scope="system/Encounter.r system/Condition.rs"
    ),
    "auth-clerk": Role(agent=advance, focus="Task", scope="system/Task.rs"),
}


def focus_of(bundle: Resource, resource_type: str) -> list[str]:
    """References of that type that a notification points at."""
    found: list[str] = []
    for value in _values(bundle, "reference"):
        relative = "/".join(str(value).rsplit("/", 2)[-2:])
        if relative.startswith(f"{resource_type}/") and relative not in found:
            found.append(relative)
    return found


def _values(node: Any, key: str) -> list[Any]:
    """Every `valueReference.reference` or `focus.reference` of the Parameters, in order."""
    if isinstance(node, list):
        return [value for item in node for value in _values(item, key)]
    if isinstance(node, dict):
        mine = [v for k, v in node.items() if k == key and isinstance(v, str)]
        return mine + [value for item in node.values() for value in _values(item, key)]
    return []


class Listener:
    """Takes signed notifications and hands each focus to the agent."""

    def __init__(self, name: str, gateway: Gateway, secret: str) -> None:
        self._name = name
        self._role = ROLES[name]
        self._gateway = gateway
        self._secret = secret
        self._lock = asyncio.Lock()  # one interaction at a time
        self._seen: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def notify(self, request: web.Request) -> web.Response:
        """POST /notify: 204 once taken, 401 for a signature that does not hold."""
        body = await request.read()
        try:
            held = signature_holds(self._secret, request.headers, body, now_s=time.time())
        except (KeyError, ValueError):
            held = False
        if not held:
            return web.Response(status=401)
        number = request.headers["webhook-id"]
        if number not in self._seen:
            self._seen.add(number)
            for focus in focus_of(orjson.loads(body), self._role.focus):
                self._start(focus)
        return web.Response(status=204)

    async def ask(self, request: web.Request) -> web.Response:
        """POST /ask {"focus": "Task/1"}: the story's way to give a client work without an event."""
        self._start(orjson.loads(await request.read())["focus"])
        return web.Response(status=204)

    def _start(self, focus: str) -> None:
        task = asyncio.create_task(self._act(focus))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _act(self, focus: str) -> None:
        async with self._lock:
            self._gateway.begin()
            try:
                said = await self._role.agent(self._gateway, focus)
            except GatewayRefused as error:
                said = f"refused {error.status}: {error.diagnostics}"
            except (aiohttp.ClientError, TimeoutError, KeyError) as error:
                said = f"failed: {type(error).__name__}"
        print(orjson.dumps({"client": self._name, "focus": focus, "said": said}).decode())
        sys.stdout.flush()


async def run(arguments: argparse.Namespace) -> None:
    """Listens until the process is stopped."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        gateway = Gateway(
            url=arguments.gateway,
            site=arguments.site,
            client_id=arguments.name,
            key=load_key(arguments.keys / f"{arguments.name}.pem"),
            http=http,
            scope=ROLES[arguments.name].scope,
        )
        secret = (arguments.keys / f"{arguments.name}.whsec").read_text()
        listener = Listener(arguments.name, gateway, secret)
        app = web.Application()
        app.add_routes([web.post("/notify", listener.notify), web.post("/ask", listener.ask)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", arguments.port).start()
        print(orjson.dumps({"ready": True, "client": arguments.name}).decode())
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    """python -m chartgate.demo.agents NAME --gateway URL --keys DIR --port N"""
    parser = argparse.ArgumentParser(description="One sample AI client.")
    parser.add_argument("name", choices=sorted(ROLES))
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--site", default="north-clinic")
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    try:
        asyncio.run(run(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
