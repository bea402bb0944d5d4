"""`chartgate ledger verify | prove | export | rotate-key`: evidence, for us and for strangers."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from chartgate.cli.halt import operator
from chartgate.cli.session import add_json_flag, show, whole_number, with_store
from chartgate.config import Config, load_config
from chartgate.flows import ledger, ledger_check, ledger_rotation
from chartgate.formats.checkpoint import VerificationKey
from chartgate.gate import Gate
from chartgate.store.signing_keys import key_chain
from chartgate.store.witness import Witness, load_signer

SEQ_MAX = 2**63 - 1


def add_parser(commands: Any) -> None:
    """ledger verify, prove, export, rotate-key"""
    parser = commands.add_parser(
        "ledger",
        help="verify, prove or export the audit ledger; rotate its key",
        description="The ledger is an RFC 6962 tree over all audit events, with signed heads that "
        "are also written to a witness file outside the database. An export can be checked with "
        "tools/verify_ledger.py, which shares no code with Chartgate.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verify = verbs.add_parser(
        "verify",
        help="recompute everything; exit code 1 if it fails",
        description="Recomputes every event, node and head from the events' bytes, checks the "
        "signatures and the witness file, and names what does not hold.",
    )
    add_json_flag(verify)
    verify.set_defaults(run=run_verify)
    prove = verbs.add_parser(
        "prove",
        help="one event, with the proof that it is in the tree",
        description="Prints one event, its inclusion proof and the signed head that it leads to, "
        "as JSON. Whoever has the public key can check it.",
    )
    prove.add_argument("seq", type=whole_number(0, SEQ_MAX), help="number of the event, from 0")
    prove.set_defaults(run=run_prove)
    export = verbs.add_parser(
        "export",
        help="write events, heads and public key into a folder",
        description="Writes every event under the newest signed head, all heads and the public "
        "key, for tools/verify_ledger.py or anybody's own check.",
    )
    export.add_argument("folder", type=Path, help="a new or empty one")
    add_json_flag(export)
    export.set_defaults(run=run_export)
    rotate = verbs.add_parser(
        "rotate-key",
        help="hand over to a new signing key",
        description="Makes a new signing key. The old one gives its word for it in an audit event "
        "and signs one last head together with it, so that whoever trusts the first key can "
        "follow. Workers take the new key by themselves. If this is broken off, no head is signed "
        "until the same command is given again. Back up the new key and the file of the chain.",
    )
    rotate.add_argument("--dry-run", action="store_true", help="only say what would be done")
    add_json_flag(rotate)
    rotate.set_defaults(run=run_rotate)


def run_verify(arguments: argparse.Namespace) -> int:
    """Prints what was checked and found."""
    config = load_config(arguments.config)

    async def act(gate: Gate) -> Any:
        return await ledger_check.verify(
            gate.database,
            witness=witness_of(config),
            public_key=public_key_of(config),
            earlier_keys=chain_of(config),
        )

    verdict = with_store(config, act)
    facts = asdict(verdict) | {"holds": verdict.holds}
    lines = [f"{key}: {value}" for key, value in facts.items() if key != "findings"]
    lines += [f"FOUND: {finding}" for finding in verdict.findings]
    show(arguments.json, facts, *lines)
    return 0 if verdict.holds else 1


def run_prove(arguments: argparse.Namespace) -> int:
    """Prints the proof as JSON."""

    async def act(gate: Gate) -> Any:
        return await ledger.prove(gate.database, arguments.seq)

    proof = with_store(load_config(arguments.config), act)
    print(orjson.dumps(proof, option=orjson.OPT_INDENT_2).decode())
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    """Writes the export."""
    config = load_config(arguments.config)
    key = chain_of(config)[0]  # what strangers trust; the events lead from it to those after it

    async def act(gate: Gate) -> int:
        return await ledger.export(
            gate.database, arguments.folder, public_key=key, progress=_progress
        )

    count = with_store(config, act)
    show(
        arguments.json,
        {"folder": str(arguments.folder), "events": count, "key": str(key)},
        f"wrote {count} events into {arguments.folder}",
        f"public key: {key}",
        "check it with tools/verify_ledger.py, the key and the witness file",
    )
    return 0


def run_rotate(arguments: argparse.Namespace) -> int:
    """Rotates the key."""
    config = load_config(arguments.config)
    key_file = config.path(config.ledger.signing_key_file)
    if arguments.dry_run:
        old = str(public_key_of(config))
        say = f"{key_file} would get a new key; the old one, {old}, would sign one more head"
        show(arguments.json, {"old": old, "key_file": str(key_file)}, say)
        return 0

    async def act(gate: Gate) -> ledger_rotation.Rotated:
        return await ledger_rotation.rotate(gate, operator(), key_file, witness_of(config))

    done = with_store(config, act)
    show(
        arguments.json,
        {"old": str(done.old), "new": str(done.new), "events": done.size},
        f"the key changed hands on the head of {done.size} events",
        f"old: {done.old}",
        f"new: {done.new}",
        f"back up {key_file} and {key_file}.chain now",
    )
    return 0


def witness_of(config: Config) -> Witness:
    """The witness file that the config names."""
    return Witness(config.path(config.ledger.witness_file))


def public_key_of(config: Config) -> VerificationKey:
    """The public half of the signing key."""
    key_file = config.path(config.ledger.signing_key_file)
    return load_signer(key_file, origin=config.ledger.origin).key


def chain_of(config: Config) -> tuple[VerificationKey, ...]:
    """All public keys of the ledger, the first one first."""
    key_file = config.path(config.ledger.signing_key_file)
    return key_chain(key_file, public_key_of(config))


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {of}", end="\n" if done == of else "", file=sys.stderr, flush=True)
