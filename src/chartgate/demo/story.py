"""The story of the demo: six things that happen to AI proposals, on real processes.

Reviewers act through the JSON API as the pages' own forms do. Each step prints what was shown by
the running system, never what should have happened.
"""

import asyncio
import base64
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from chartgate.demo.rig import Rig, RigError, Staff, eventually

STEP_WITHIN_S = 30.0
VERIFIER = Path("tools") / "verify_ledger.py"


@dataclass
class Story:
    """Who takes part."""

    rig: Rig
    http: aiohttp.ClientSession
    scenario: Mapping[str, Any]
    people: dict[str, Staff] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)  # proposals that were told of
    started: float = field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        """One line of the story, with the time since its start."""
        print(f"  {time.monotonic() - self.started:6.1f} s  {line}", flush=True)

    async def staff(self, name: str) -> Staff:
        """A person, signed in."""
        if name not in self.people:
            self.people[name] = Staff(self.rig.gateway, self.http, name)
            await self.people[name].sign_in()
        return self.people[name]

    async def new_proposal(self, reader: Staff) -> dict[str, Any]:
        """The next proposal that was not told of yet, as this person sees it."""

        async def look() -> Any:
            listed = (await reader.get("/v1/proposals"))["proposals"]
            return next((p for p in listed if p["id"] not in self.known), None)

        found = await eventually(look, within_s=STEP_WITHIN_S, what="a new proposal")
        self.known.add(found["id"])
        view: dict[str, Any] = await reader.get(f"/v1/proposals/{found['id']}")
        return view

    async def until(self, reader: Staff, id_: str, *statuses: str) -> dict[str, Any]:
        """The proposal, once it has one of these states."""

        async def look() -> Any:
            view = await reader.get(f"/v1/proposals/{id_}")
            return view if view["status"] in statuses else None

        what = f"proposal {id_} to be {' or '.join(statuses)}"
        view: dict[str, Any] = await eventually(look, within_s=STEP_WITHIN_S, what=what)
        return view


async def tell(rig: Rig) -> None:
    """The whole story. Raises RigError when a step does not come about."""
    timeout = aiohttp.ClientTimeout(total=STEP_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        story = Story(rig, http, await rig.control("scenario"))
        booked = await booking(story)
        await conflict(story)
        await handoff(story)
        await note(story)
        await authorisation(story)
        await rollback(story, booked)
        await asyncio.to_thread(ledger, story)


async def booking(story: Story) -> str:
    """A booking, approved, committed, verified; the proposal's id."""
    print("1. A patient registers; the booking client proposes; sofia approves.")
    sofia = await story.staff("sofia")
    await send(story, "A04", story.scenario["booking_patient"])
    proposal = await story.new_proposal(sofia)
    story.say(f"{client(proposal)} read {len(proposal['read_set'])} resources and proposed "
              f"{proposal['action']}, confidence {proposal['confidence']:.2f}")  # fmt: skip
    for difference in proposal["content"]["differences"]:
        if difference["path"] in ("start", "status"):
            before, after = difference["before"] or "nothing", difference["after"]
            story.say(f"   {difference['reference']} {difference['path']}: {before} → {after}")
    await approve(story, sofia, proposal)
    done = await story.until(sofia, proposal["id"], "verified")
    story.say(f"written and read back: {effects(done)}")
    id_: str = proposal["id"]
    return id_


async def conflict(story: Story) -> None:
    """The slot is taken in the EHR between proposal and commit."""
    print("2. Another booking; meanwhile somebody takes the slot in the EHR.")
    sofia = await story.staff("sofia")
    await send(story, "A04", other_patient(story))
    proposal = await story.new_proposal(sofia)
    slot = next(
        c["reference"] for c in proposal["content"]["changes"] if c["interaction"] == "patch"
    )
    resource = await story.rig.control(f"resource?reference={slot}")
    await story.rig.control("chart", resource | {"status": "busy-unavailable"})
    story.say(f"{slot} is taken at the front desk; sofia, not knowing, approves")
    await approve(story, sofia, proposal)
    back = await story.until(sofia, proposal["id"], "pending-review", "handed-off")
    if back["status"] == "pending-review":
        broken = [g["sentence"] for g in back["guards"] if g["holds"] is False]
        story.say(f"not written; back to sofia: {back['reason'] or broken}")
        for difference in back["changed_since"]:
            story.say(f"   since: {difference['path']}: {difference['before']} → "
                      f"{difference['after']}")  # fmt: skip
        await decide(sofia, back, "refuse", reason="the slot is gone")
        await story.until(sofia, proposal["id"], "rejected")
        story.say("sofia refuses it")
    else:
        story.say(f"not written; handed to {back['handoff']['worklist']}: {back['reason']}")


async def handoff(story: Story) -> None:
    """Low confidence: staff get it in their worklist."""
    print("3. A patient whom the client cannot tell apart: low confidence.")
    sofia = await story.staff("sofia")
    await send(story, "A04", story.scenario["unreachable_patient"])
    proposal = await story.new_proposal(sofia)
    item = proposal["handoff"]
    if proposal["status"] != "handed-off" or not item:
        raise RigError(f"a low-confidence proposal is {proposal['status']}, not handed off")
    story.say(f"confidence {proposal['confidence']:.2f}: handed to {item['worklist']}, "
              f"due {item['due_at'][11:16]}")  # fmt: skip
    await sofia.post(f"/v1/handoffs/{item['id']}/take")
    await sofia.post(f"/v1/handoffs/{item['id']}/close", outcome="called the patient; booked")
    story.say("sofia takes it on and closes it")


async def note(story: Story) -> None:
    """A note draft, edited by its reviewer."""
    print("4. A visit ends; the scribe drafts its note; dr-osei edits it and approves.")
    doctor = await story.staff("dr-osei")
    await send(story, "A03", story.scenario["visit"])
    proposal = await story.new_proposal(doctor)
    changes = proposal["content"]["changes"]
    attachment = changes[0]["resource"]["content"][0]["attachment"]
    text = base64.b64decode(attachment["data"]).decode() + "\nReviewed and amended at sign-off."
    attachment["data"] = base64.b64encode(text.encode()).decode()
    edited = await doctor.post(
        f"/v1/proposals/{proposal['id']}/edit",
        changes=changes,
        digest=proposal["content"]["digest"],
    )
    story.say(f"the draft has {len(text.splitlines()) - 1} lines; dr-osei adds one: "
              f"version {edited['content']['version']}")  # fmt: skip
    await approve(story, doctor, edited)
    done = await story.until(doctor, proposal["id"], "verified")
    story.say(f"the edited note is in the chart: {effects(done)}")


async def authorisation(story: Story) -> None:
    """A Task gets status and times."""
    print("5. A payer took up a prior authorisation; status and times go back to the EHR.")
    nora = await story.staff("nora")
    port = story.rig.client_ports["auth-clerk"]
    focus = {"focus": story.scenario["authorisation"]}
    async with story.http.post(f"http://127.0.0.1:{port}/ask", json=focus) as answer:
        answer.raise_for_status()
    proposal = await story.new_proposal(nora)
    await approve(story, nora, proposal)
    done = await story.until(nora, proposal["id"], "verified")
    story.say(f"written and read back: {effects(done)}")


async def rollback(story: Story, proposal: str) -> None:
    """The first change is taken back."""
    print("6. The first booking is rolled back.")
    sofia = await story.staff("sofia")
    await sofia.post(f"/v1/proposals/{proposal}/rollback", reason="booked for the wrong day")
    done = await story.until(sofia, proposal, "rolled-back", "verified", "handed-off")
    if done["status"] != "rolled-back":
        raise RigError(f"the rollback ended as {done['status']}: {done['reason']}")
    slot = done["receipt"]["effects"][1]["reference"]
    now = await story.rig.control(f"resource?reference={slot}")
    story.say(f"taken back; in the EHR {slot} is {now['status']} again")


def ledger(story: Story) -> None:
    """Export, and the verifier that shares no code with Chartgate."""
    print("7. The ledger, checked by a program that shares no code with Chartgate.")
    rig = story.rig
    folder = rig.folder / "ledger-export"
    said = rig.must("ledger", "export", str(folder)).splitlines()
    story.say(said[0])
    verifier = Path(__file__).parents[3] / VERIFIER
    if not verifier.exists():
        story.say(f"{VERIFIER} is in the source repository; run it on {folder}")
        return
    key, witness = folder / "public_key.txt", rig.folder / "ledger-witness.txt"
    command = [sys.executable, "-I", str(verifier), str(folder), "--key", str(key)]
    done = subprocess.run(
        [*command, "--witness", str(witness)], capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines()[-3:]:
        story.say(line)
    if done.returncode:
        raise RigError(f"the independent verifier found something:\n{done.stdout}{done.stderr}")


async def send(story: Story, trigger: str, reference: str) -> None:
    """One HL7 v2 message about a resource of the hospital, until it is acknowledged."""
    rig = story.rig
    command = ["chartgate.demo.sender", "--port", str(rig.mllp_port), "--hospital", rig.hospital]
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, "--trigger", trigger, "--reference", reference,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, errors = await done.communicate()
    if done.returncode or b'"AA"' not in out:
        raise RigError(f"ADT^{trigger} was not acknowledged: {out.decode()}{errors.decode()}")
    story.say(f"ADT^{trigger} about {reference}: acknowledged, AA")


async def approve(story: Story, staff: Staff, proposal: Mapping[str, Any]) -> None:
    """Approves exactly what is shown."""
    await decide(staff, proposal, "approve")
    story.say(f"{staff.name} approves content {proposal['content']['digest'][:12]}")


async def decide(
    staff: Staff, proposal: Mapping[str, Any], verdict: str, reason: str | None = None
) -> None:
    """One decision of a person."""
    await staff.post(
        f"/v1/proposals/{proposal['id']}/review",
        verdict=verdict,
        digest=proposal["content"]["digest"],
        reason=reason,
    )


def other_patient(story: Story) -> str:
    """A patient of the hospital who is not the first one."""
    taken = {story.scenario["booking_patient"], story.scenario["unreachable_patient"]}
    found: str = next(p for p in story.scenario["patients"] if p not in taken)
    return found


def client(proposal: Mapping[str, Any]) -> str:
    """The AI client's name."""
    return str(proposal["author"]).removeprefix("client:")


def effects(proposal: Mapping[str, Any]) -> str:
    """What a receipt says was written."""
    return ", ".join(
        f"{e['reference']} {e['version_before'] or 'new'} → {e['version_after'] or 'removed'}"
        for e in proposal["receipt"]["effects"]
    )
