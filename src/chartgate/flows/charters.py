"""Loads the charters, and reloads them while everything runs: all of them, or none.

A broken file leaves the running charters as they are and raises an alarm, once. What weakens a
rule waits for two people where the config asks for them; until then the old charters run on, also
after a new start.
"""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chartgate.config import Config
from chartgate.errors import ConfigError, VersionConflict
from chartgate.flows import changes
from chartgate.flows.charter_files import (
    CEDAR,
    LABELS,
    POLICIES,
    ROSTER,
    Files,
    Folder,
    archive,
    site_of,
    unarchive,
)
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import Charter
from chartgate.model.roster import Roster
from chartgate.policy.charter_shape import near
from chartgate.policy.charters import CharterBook, compile_book, parse_charter
from chartgate.policy.forbids import ForbidFile, parse_forbids
from chartgate.policy.label_rules import LabelRules, own_label_rules, parse_label_rules
from chartgate.policy.roster import parse_roster
from chartgate.policy.weakening import weakenings
from chartgate.store.changes import Adopted, Change, ChangeStore
from chartgate.store.charters import CharterStore

RELOAD = "charter.reload"
AGENT = "process:charters"
REASON_LENGTH_MAX = 1000


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A book, with the files that it was made of."""

    book: CharterBook
    bodies: Mapping[str, bytes]  # charter files by charter name
    files: Files


def load_book(config: Config, *, folder: Path | None = None) -> CharterBook:
    """The charters of the config, or of another folder. Raises ConfigError with every mistake."""
    return load(config, folder=folder).book


def load(config: Config, *, folder: Path | None = None) -> Loaded:
    """As `load_book`, with the files."""
    return _load(config, Folder(path=folder or config.charters_dir))


async def settle(gate: Gate) -> None:
    """At start: where two people are needed, what was adopted last runs until the files may take
    its place. Raises ConfigError, Unavailable."""
    last = await ChangeStore(gate.database).adopted("charters")
    if last is None or last.digest == gate.charters.digest:
        return
    if not await changes.two_people_needed(gate):
        return
    gate.running.charters = (await asyncio.to_thread(adopted_book, gate, last)).book
    await watch(gate)


async def watch(gate: Gate) -> bool:
    """One look: True if other charters run now than before.

    The first look also keeps the revisions that started. Raises Unavailable.
    """
    folder = Folder(path=gate.config.charters_dir, read_paths=set(gate.running.model_paths))
    stamps = await asyncio.to_thread(folder.stamps)
    if stamps == gate.running.stamps and not await _may_run_now(gate):
        return False
    try:
        loaded = await asyncio.to_thread(_load, gate.config, folder)
    except ConfigError as error:
        await _alarm(gate, str(error))
        changed = False
    else:
        try:
            changed = await _replace(gate, loaded)
        except VersionConflict:
            return False  # another process was first; the next look sees what it adopted
        gate.running.breakage = ""
    # A file that changed while it was read has other stamps now, and is looked at again.
    gate.running.stamps = stamps if not (folder.read_paths - set(gate.running.model_paths)) else ()
    gate.running.model_paths = frozenset(folder.read_paths)
    return changed


async def pending_change(gate: Gate, loaded: Loaded, last: Adopted | None) -> Change | None:
    """The change that these charters wait for, or waited for; None: they weaken nothing that
    would need one."""
    if last is None or not await changes.two_people_needed(gate):
        return None
    before = gate.charters
    if before.digest != last.digest:
        before = (await asyncio.to_thread(adopted_book, gate, last)).book
    sentences = weakenings(before, loaded.book)
    if not sentences:
        return None
    return await changes.ask(
        gate,
        "charters",
        before=changes.before_of(last),
        after=loaded.book.digest,
        sentences=sentences,
    )


async def _may_run_now(gate: Gate) -> bool:
    """Whether what was waited for was approved since."""
    if not gate.running.awaiting:
        return False
    change = await ChangeStore(gate.database).find(gate.running.awaiting)
    return change is not None and (
        change.status == "adopted" or not changes.is_waiting(gate, change)
    )


async def _replace(gate: Gate, loaded: Loaded) -> bool:
    """Keeps what is new, then lets it run. Nothing changes if it cannot be kept, or may not run
    yet. Raises VersionConflict."""
    before, after = gate.charters, loaded.book
    store = ChangeStore(gate.database)
    last = await store.adopted("charters")
    is_adopted = last is not None and last.digest == after.digest
    change = None if is_adopted else await pending_change(gate, loaded, last)
    if change is not None and not changes.is_approved(gate, change):
        gate.running.awaiting = change.digest if changes.is_waiting(gate, change) else ""
        return False
    events, new = await _reload_events(gate, before, after)
    if events or not is_adopted:
        async with gate.database.change_found() as (transaction, found):
            found.extend(events or [_event(gate, reason="these charters run")])
            if change is not None:
                found.append(await changes.adopted(gate, transaction, change))
            if not is_adopted:
                await store.adopt(
                    transaction,
                    "charters",
                    last,
                    digest=after.digest,
                    body=archive(loaded.files),
                    at=gate.clock(),
                )
            await CharterStore(gate.database).insert(
                transaction, new, loaded.bodies, loaded_at=gate.clock()
            )
    gate.running.charters = after
    gate.running.awaiting = ""
    return before.digest != after.digest


async def _reload_events(
    gate: Gate, before: CharterBook, after: CharterBook
) -> tuple[list[AuditEvent], list[Charter]]:
    """What the audit has to say of it, and the charters that are not known yet."""
    charters = list(after.charters.values())
    known = await CharterStore(gate.database).known(charters)
    new = [c for c in charters if (c.name, c.digest) not in known or not _runs(before, c)]
    gone = sorted(set(before.charters) - set(after.charters))
    events = [_loaded_event(gate, c) for c in new] + [_gone_event(gate, name) for name in gone]
    if before.digest != after.digest and not events:
        events = [_event(gate, reason="the site's policies changed")]
    return events, new


def adopted_book(gate: Gate, last: Adopted) -> Loaded:
    """What was adopted last, compiled anew. Raises ConfigError."""
    try:
        return compile_files(gate.config, unarchive(last.body))
    except ConfigError as error:
        raise ConfigError(
            f"the charters that were adopted last do not fit chartgate.toml any more: {error}\n"
            "put the settings back, or let two people approve the charters as they are now: "
            "`chartgate change ask`, then `chartgate change list`"
        ) from None


def _runs(book: CharterBook, charter: Charter) -> bool:
    running = book.charters.get(charter.name)
    return running is not None and (running.digest, running.model_digest) == (
        charter.digest,
        charter.model_digest,
    )


async def _alarm(gate: Gate, sentence: str) -> None:
    """Records a breakage that was not recorded before."""
    digest = hashlib.sha256(sentence.encode()).hexdigest()
    if digest == gate.running.breakage:
        return
    reason = sentence if len(sentence) <= REASON_LENGTH_MAX else sentence[:REASON_LENGTH_MAX] + "…"
    await gate.audit.record(_event(gate, outcome=Outcome.FAILED, reason=reason))
    gate.running.breakage = digest


def _loaded_event(gate: Gate, charter: Charter) -> AuditEvent:
    return AuditEvent(
        recorded=gate.clock(),
        action=RELOAD,
        agent=AGENT,
        entities=(f"Charter/{charter.name}",),
        charter=charter.name,
        charter_digest=charter.digest,
        details=(("revision", str(charter.revision)), ("model", charter.model_digest)),
    )


def _gone_event(gate: Gate, name: str) -> AuditEvent:
    return AuditEvent(
        recorded=gate.clock(),
        action=RELOAD,
        agent=AGENT,
        entities=(f"Charter/{name}",),
        charter=name,
        reason="its file is gone",
    )


def _event(gate: Gate, *, outcome: Outcome = Outcome.SUCCESS, reason: str) -> AuditEvent:
    return AuditEvent(
        recorded=gate.clock(), action=RELOAD, agent=AGENT, outcome=outcome, reason=reason
    )


def _load(config: Config, folder: Folder) -> Loaded:
    """Reads and compiles everything. Raises ConfigError with the mistakes of every file."""
    mistakes: list[str] = []
    charters = _read_all(folder, folder.charter_paths(), "", mistakes)
    policies = _read_all(folder, _policy_paths(folder, mistakes), f"{POLICIES}/", mistakes)
    read = Files(charters=charters, models={}, policies=policies)
    return _compile(config, read, read_model=folder.read_model, models=folder.models, also=mistakes)


def compile_files(config: Config, files: Files) -> Loaded:
    """As `load`, of files that were read before. Raises ConfigError."""
    return _compile(config, files, read_model=files.read_model, models=files.models, also=[])


def _policy_paths(folder: Folder, mistakes: list[str]) -> list[Path]:
    try:
        return folder.policy_paths()
    except ConfigError as error:
        mistakes.append(str(error))
        return []


def _read_all(
    folder: Folder, paths: list[Path], prefix: str, mistakes: list[str]
) -> dict[str, bytes]:
    bodies = {}
    for path in paths:
        name = path.relative_to(folder.policies).as_posix() if prefix else path.name
        try:
            bodies[name] = folder.read(path)
        except OSError as error:
            mistakes.append(f"{prefix}{name} cannot be read: {error.strerror}")
        except ConfigError as error:
            mistakes.append(f"{prefix}{error}")
    return bodies


def _compile(
    config: Config,
    files: Files,
    *,
    read_model: Callable[[str], bytes],
    models: Mapping[str, bytes],
    also: list[str],
) -> Loaded:
    """Raises ConfigError with every mistake, and those that were found before."""
    mistakes, charters, bodies = list(also), [], {}
    for name, body in files.charters.items():
        try:
            charter = parse_charter(body, file=name, read_model=read_model)
        except ConfigError as error:
            mistakes.append(str(error))
        else:
            mistakes.extend(_unknown_names(config, charter, name))
            charters.append(charter)
            bodies[charter.name] = body
    sites = {*config.sites, *(site for charter in charters for site in charter.sites)}
    forbids, labels = _policies(files, sites, mistakes)
    roster = _roster(files, mistakes)
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    book = compile_book(
        charters,
        forbids=forbids,
        production=config.production,
        mfa_required=config.mfa_required,
        labels=labels,
        roster=roster,
    )
    kept = Files(charters=files.charters, models=dict(models), policies=files.policies)
    return Loaded(book=book, bodies=bodies, files=kept)


def _policies(
    files: Files, sites: set[str], mistakes: list[str]
) -> tuple[list[ForbidFile], LabelRules]:
    """Forbids and rules for labels; what is wrong with them is added to the mistakes."""
    forbids, labels = [], own_label_rules()
    for path, body in files.policies.items():
        name = f"{POLICIES}/{path}"
        try:
            if path == LABELS:
                labels = parse_label_rules(body, file=name)
            elif path.endswith(CEDAR):
                text = body.decode("utf-8")
                forbids.append(ForbidFile(text=text, site=site_of(path, sites), name=name))
        except UnicodeDecodeError:
            mistakes.append(f"{name} is not UTF-8 text")
        except ConfigError as error:
            mistakes.append(str(error))
    try:
        parse_forbids(forbids)
    except ConfigError as error:
        mistakes.append(str(error))
    return forbids, labels


def _roster(files: Files, mistakes: list[str]) -> Roster | None:
    """The on-call roster, if there is one; what is wrong with it is added to the mistakes."""
    body = files.policies.get(ROSTER)
    if body is None:
        return None
    try:
        return parse_roster(body, file=f"{POLICIES}/{ROSTER}")
    except ConfigError as error:
        mistakes.append(str(error))
        return None


def _unknown_names(config: Config, charter: Charter, file: str) -> Iterator[str]:
    """What the charter names and chartgate.toml does not."""
    for site, connection in charter.sites.items():
        yield from _unknown(file, "sites", "connection", connection, config.connections)
        try:
            config.site(site)
        except ConfigError as error:
            yield f"{file}: sites: {error}"
    for name, action in charter.proposes.items():
        for site, connection in action.through.items():
            where = f"proposes.{name}.through"
            yield from _unknown(file, where, "connection", connection, config.connections)
            known = config.connections.get(connection)
            if known is not None and known.site != site:
                yield f"{file}: {where}: {connection} is not a connection of the site {site}"
    for client in charter.clients:
        yield from _unknown(file, "clients", "client", client, config.clients)


def _unknown(file: str, key: str, kind: str, name: str, known: Collection[str]) -> Iterator[str]:
    if name not in known:
        yield f"{file}: {key}: chartgate.toml has no {kind} {name}{near(name, known)}"
