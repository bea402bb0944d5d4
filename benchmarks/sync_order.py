"""Shows by strace that a WAL sync comes between taking something and answering for it.

For each sampled HL7 v2 acknowledgement and each sampled read, three system calls must stand in this
order in one trace of the listener, the gateway and PostgreSQL:

1. the listener (gateway) sends PostgreSQL the row that holds the message's control id (the read's
   interaction id);
2. an fdatasync or fsync by PostgreSQL returns 0;
3. the listener (gateway) sends the ACK (the HTTP response) that names the same id.

`python -m benchmarks.sync_order [--samples N]`; exit code 1 if one is out of order.
"""

import argparse
import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from chartgate.demo.client import Gateway, load_key
from chartgate.demo.rig import Rig

SYSCALLS = "fdatasync,fsync,sendto,sendmsg,write,writev"
SYNCED = re.compile(r"(?:fdatasync|fsync)\(.*\)\s+= 0|(?:fdatasync|fsync) resumed>\)\s+= 0")
SENT = re.compile(r"(?:sendto|sendmsg|writev?)\(\d+(?:<[^>]*>)?, (.*)")
ANSWER = re.compile(r'^(?:\{msg_name=.*?iov_base=|\[\{iov_base=)?"(?:\\v|HTTP/1)')


@dataclass(frozen=True)
class Found:
    """Where in the trace one sample's three calls stand; None: not there."""

    key: str
    stored: int | None
    synced: int | None
    answered: int | None

    @property
    def in_order(self) -> bool:
        """Stored, then synced, then answered."""
        return None not in (self.stored, self.synced, self.answered)


def analyse(lines: Sequence[str], keys: Iterable[str]) -> list[Found]:
    """Looks up each key's calls. A sync counts only between the storing and the answer."""
    syncs = [number for number, line in enumerate(lines) if SYNCED.search(line)]
    sends = [(n, m[1]) for n, line in enumerate(lines) if (m := SENT.search(line))]
    found = []
    for key in keys:
        mine = [(number, content) for number, content in sends if key in content]
        stored = next((n for n, content in mine if not ANSWER.match(content)), None)
        answered = next((n for n, content in mine if ANSWER.match(content)), None)
        synced = None
        if stored is not None and answered is not None:
            synced = next((n for n in syncs if stored < n < answered), None)
        found.append(Found(key, stored, synced, answered))
    return found


def main() -> None:
    """Runs the rig, traces it, prints n and what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=50, help="of each kind")
    samples = parser.parse_args().samples
    strace = shutil.which("strace")
    if not strace:
        sys.exit("strace is not installed (Debian: apt-get install strace)")
    with tempfile.TemporaryDirectory(prefix="chartgate-proof-") as folder:
        rig = Rig(Path(folder) / "rig")
        try:
            sys.exit(report(*trace(rig, strace, samples)))
        finally:
            rig.discard()


def trace(rig: Rig, strace: str, samples: int) -> tuple[list[Found], list[Found]]:
    """Acknowledgements and reads, each with the lines of its calls."""
    rig.initialise()
    rig.start_hospital()
    rig.start_chartgate()
    rig.prepare()
    parent = psutil.Process(rig.processes["chartgate"].pid)
    pids = [str(child.pid) for child in parent.children(recursive=True)]
    out = rig.folder / "trace"
    attach = [part for pid in pids for part in ("-p", pid)]
    command = [strace, "-f", "-s", "100000", "-e", f"trace={SYSCALLS}", "-o", str(out), *attach]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    for _ in pids:
        tracer.stderr.readline()  # "Process N attached"
    try:
        controls = send_messages(rig.mllp_port, samples)
        interactions = asyncio.run(read(rig, samples))
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
    lines = out.read_text(encoding="utf-8", errors="replace").splitlines()
    return analyse(lines, controls), analyse(lines, interactions)


def send_messages(port: int, count: int) -> list[str]:
    """Sends ADT^A08 one at a time and waits for each ACK; the control ids."""

    async def run() -> list[str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ids = []
        for number in range(count):
            control = f"PROOF{number:06d}"
            segments = (
                f"MSH|^~\\&|ADT|NORTH|CHARTGATE|NORTH|20260101120000||ADT^A08^ADT_A01|{control}|P|2.5",
                "EVN|A08|20260101120000",
                f"PID|1||PROOF{number:04d}^^^NORTH^MR||SAMPLE^PERSON||19800101|F",
                "PV1|1|O",
            )
            writer.write(b"\x0b" + "\r".join(segments).encode() + b"\r\x1c\r")
            ack = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 30)
            if f"MSA|AA|{control}".encode() in ack:
                ids.append(control)
        writer.close()
        return ids

    return asyncio.run(run())


async def read(rig: Rig, count: int) -> list[str]:
    """Reads a patient by slot-picker, each time in a new interaction; the interactions' ids."""
    patient = (await rig.control("scenario"))["booking_patient"]
    ids = []
    async with aiohttp.ClientSession() as http:
        key = load_key(rig.folder / "keys" / "slot-picker.pem")
        gateway = Gateway(
            url=rig.gateway,
            site="north-clinic",
            client_id="slot-picker",
            key=key,
            http=http,
            scope="system/Patient.r",
        )
        for _ in range(count):
            gateway.begin()
            await gateway.read(patient)
            assert gateway.interaction
            ids.append(gateway.interaction)
    return ids


def report(acks: list[Found], reads: list[Found]) -> int:
    """Prints counts; the exit code."""
    bad = 0
    for name, found in (("acknowledgements", acks), ("reads", reads)):
        right = sum(f.in_order for f in found)
        bad += len(found) - right
        print(f"{name}: n={len(found)}, sync before answer: {right}, not: {len(found) - right}")
        for wrong in [f for f in found if not f.in_order][:5]:
            print(f"  {wrong}")
    if not acks or not reads:
        print("nothing was sampled")
        return 1
    print(f"measured {time.strftime('%Y-%m-%d')} with strace on the running processes")
    return 1 if bad else 0


if __name__ == "__main__":
    main()
