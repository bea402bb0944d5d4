"""`chartgate vault create | status | rotate | scrub`: what everything stored is sealed by."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, with_store
from chartgate.config import load_config
from chartgate.flows import vault
from chartgate.gate import Gate
from chartgate.store.vault_keys import create_master_key


def add_parser(commands: Any) -> None:
    """vault create, status, rotate, scrub"""
    parser = commands.add_parser(
        "vault",
        help="the keys that everything stored is sealed by",
        description="What is stored about a patient is sealed under a key of that patient, and "
        "these under the master key in [vault] master_key_file. Without that file nothing can be "
        "read: back it up, but never together with the database.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser(
        "create",
        help="make a master key for a new store",
        description="As `chartgate init` does. Refused where there is one.",
    )
    add_json_flag(create)
    create.set_defaults(run=run_create)
    status = verbs.add_parser(
        "status",
        help="whether everything can be read; exit code 1 if not",
        description="Whether the master key is that of this store, how many keys there are, and "
        "when everything was last looked at.",
    )
    add_json_flag(status)
    status.set_defaults(run=run_status)
    rotate = verbs.add_parser(
        "rotate",
        help="replace the master key",
        description="Makes a new master key and wraps every data key by it; nothing has to be "
        "stopped, and nothing sealed is rewritten. The old key is put beside the file. Destroy "
        "it, and its copies, once no backup from before is needed: those backups, and all that "
        "was erased since, can then be read by nobody. Can be run again where it was interrupted.",
    )
    add_json_flag(rotate)
    rotate.set_defaults(run=run_rotate)
    scrub = verbs.add_parser(
        "scrub",
        help="open everything stored and compare it with its digest; exit code 1 if damaged",
        description="As the worker does every [vault] scrub_every_h hours. Audited.",
    )
    add_json_flag(scrub)
    scrub.set_defaults(run=run_scrub)


def run_create(arguments: argparse.Namespace) -> int:
    """Makes a master key."""
    config = load_config(arguments.config)
    path = config.path(config.vault.master_key_file)
    create_master_key(path)
    show(arguments.json, {"master_key_file": str(path)}, f"wrote {path}; back it up now")
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    """Prints how it stands."""

    async def act(gate: Gate) -> vault.Standing:
        return await vault.standing(gate)

    found = with_store(load_config(arguments.config), act)
    facts = asdict(found)
    show(arguments.json, facts, *(f"{name}: {value}" for name, value in facts.items()))
    return 0 if found.holds else 1


def run_rotate(arguments: argparse.Namespace) -> int:
    """Replaces the master key."""

    async def act(gate: Gate) -> tuple[int, Path]:
        return await vault.rotate(gate, vault.secret_file(gate), agent=operator().agent)

    count, retired = with_store(load_config(arguments.config), act)
    show(
        arguments.json,
        {"keys": count, "retired": str(retired)},
        f"{count} data keys are under a new master key; back it up now",
        f"the old one lies in {retired}: destroy it once no backup from before is needed",
    )
    return 0


def run_scrub(arguments: argparse.Namespace) -> int:
    """Looks at everything."""

    async def act(gate: Gate) -> vault.Scrub:
        return await vault.scrub(gate, agent=operator().agent)

    found = with_store(load_config(arguments.config), act)
    lines = [
        f"{name}: {counts['sound']} sound ({counts['plain']} of them plain), {counts['gone']} "
        f"gone, {counts['damaged']} damaged"
        for name, counts in found.tables.items()
    ] or ["nothing is stored yet"]
    show(arguments.json, asdict(found), *lines)
    return 1 if found.damaged else 0
