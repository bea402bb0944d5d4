"""`python -m chartgate.demo`: what `chartgate demo` becomes."""

import argparse
import asyncio
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

from chartgate.demo.realdata import walk_real_data
from chartgate.demo.rig import PASSWORD, PEOPLE, Rig, RigError, StaffRefused, running_in_ci
from chartgate.demo.story import tell
from chartgate.errors import ChartgateError, ConfigError
from chartgate.store.embedded_place import remove_place

MARK = ".chartgate-demo"  # only a folder that holds this file is deleted
STOPS = (
    RigError,
    StaffRefused,
    ChartgateError,
    aiohttp.ClientError,
    OSError,  # and TimeoutError
    subprocess.SubprocessError,
)


def main() -> int:
    """Sets everything up, tells the story, and stays up unless CI is set."""
    parser = argparse.ArgumentParser(prog="chartgate demo")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--bundles", type=Path)
    parser.add_argument("--messages", type=Path)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    try:
        rig = Rig(fresh_folder(arguments.folder))
    except (ChartgateError, OSError) as error:
        print(f"chartgate demo: {error}", file=sys.stderr)
        return 2
    try:
        start(rig, arguments.bundles, arguments.messages)
        print(f"Everything runs, after {time.monotonic() - started:.0f} s.\n", flush=True)
        if arguments.bundles or arguments.messages:
            asyncio.run(walk_real_data(rig, arguments.messages))
        else:
            asyncio.run(tell(rig))
        print(f"\nDone after {time.monotonic() - started:.0f} s.", flush=True)
        if not running_in_ci():
            stay(rig)
    except STOPS as error:
        said = str(error) or type(error).__name__
        print(f"\nThe demo stopped: {said}\nLogs: {rig.folder}/*.log", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping.")
    finally:
        rig.stop()
    return 0


def fresh_folder(folder: Path) -> Path:
    """The demo starts from nothing each time. What an earlier one stored is deleted, and nothing
    else ever: a folder of `chartgate init` looks the same and holds a site's own database."""
    folder = folder.resolve()
    if folder.exists():
        if not (folder / MARK).exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} holds something else; name another folder")
        remove_place(folder / "var")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    return folder


def start(rig: Rig, bundles: Path | None, messages: Path | None) -> None:
    """Hospital, Chartgate, what an operator prepares, AI clients."""
    print(f"Starting in {rig.folder} …", flush=True)
    rig.initialise()
    if messages:  # samples of others are marked T, D or nothing
        rig.set_feed_option('processing_id = ""')
    rig.start_hospital(*(["--bundles", str(bundles)] if bundles else []))
    print(f"  a sample hospital: FHIR R4 at {rig.hospital}/fhir", flush=True)
    rig.start_chartgate()
    print(f"  Chartgate: {rig.gateway}, HL7 v2 on port {rig.mllp_port}", flush=True)
    rig.prepare()
    print("  probed the EHR; charters are at stage suggest; people may sign in", flush=True)
    for name in rig.client_ports:
        rig.start_client(name)
    print(f"  AI clients: {', '.join(rig.client_ports)}", flush=True)


def stay(rig: Rig) -> None:
    """Until Ctrl-C."""
    names = ", ".join(f"{name} ({role})" for name, role in PEOPLE.items())
    print(f"\nLook around: {rig.gateway}\n  sign in as {names}; password: {PASSWORD}")
    print(f"  chartgate --config {rig.config} status\nCtrl-C stops everything.", flush=True)
    while rig.processes["chartgate"].poll() is None:
        time.sleep(0.5)
    raise RigError("Chartgate ended by itself")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
