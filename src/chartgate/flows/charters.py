"""Loads the charters, and reloads them while everything runs: all of them, or none.

A broken file leaves the running charters as they are and raises an alarm, once.
"""

import asyncio
import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chartgate.config import Config
from chartgate.errors import ConfigError
from chartgate.gate import Gate
from chartgate.model.audit import AuditEvent, Outcome
from chartgate.model.charter import Charter
from chartgate.policy.charter_shape import near
from chartgate.policy.charters import CharterBook, compile_book, parse_charter
from chartgate.policy.label_rules import LabelRules, own_label_rules, parse_label_rules
from chartgate.store.charters import CharterStore

RELOAD = "charter.reload"
AGENT = "process:charters"
SUFFIXES = (".yaml", ".yml")
LABELS_FILE = "labels.yaml"
FILE_BYTES_MAX = 256 * 1024
CHARTERS_MAX = 200
REASON_LENGTH_MAX = 1000

Stamps = tuple[tuple[str, int, int, int], ...]  # path, mtime_ns, ctime_ns, size


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A book, with what tells whether its files changed since."""

    book: CharterBook
    bodies: Mapping[str, bytes]  # charter files by charter name


@dataclass
class Folder:
    """Reads the files around the charters, and no others; remembers which."""

    path: Path
    read_paths: set[Path] = field(default_factory=set)

    @property
    def root(self) -> Path:
        """Charters may name files below this folder only."""
        return self.path.resolve().parent

    def charter_paths(self) -> list[Path]:
        """The charter files, by name. Raises ConfigError."""
        if not self.path.is_dir():
            raise ConfigError(f"there is no folder {self.path}; `chartgate init` writes samples")
        paths = sorted(p for p in self.path.iterdir() if p.suffix in SUFFIXES and p.is_file())
        if not paths:
            raise ConfigError(f"{self.path} holds no charter; `chartgate init` writes samples")
        if len(paths) > CHARTERS_MAX:
            raise ConfigError(f"{self.path} holds over {CHARTERS_MAX} charters")
        return paths

    def forbid_paths(self) -> list[Path]:
        """A site's own Cedar policies, beside the charters."""
        return sorted((self.root / "policies").glob("*.cedar"))

    @property
    def label_path(self) -> Path:
        """A site's own label rules, beside its policies."""
        return self.root / "policies" / LABELS_FILE

    def read_model(self, name: str) -> bytes:
        """A file that a charter names: beside the charters' folder, or in it."""
        places = [self.root / name, self.path.resolve() / name]
        self.read_paths.update(places)
        place = next((p for p in places if p.is_file()), places[0])
        if not place.resolve().is_relative_to(self.root):
            raise ConfigError("the path leads out of the folder of the charters")
        return self.read(place)

    def read(self, path: Path) -> bytes:
        """Raises ConfigError, OSError."""
        with path.open("rb") as file:
            body = file.read(FILE_BYTES_MAX + 1)
        if len(body) > FILE_BYTES_MAX:
            raise ConfigError(f"{path.name} is over {FILE_BYTES_MAX} bytes")
        return body

    def stamps(self) -> Stamps:
        """Changes when a file that matters was written, added or removed."""
        listed = [p for p in _listed(self.path) if p.suffix in SUFFIXES]
        watched = {*listed, *self.forbid_paths(), self.label_path, *self.read_paths}
        return tuple(_stamp(p) for p in sorted(watched))


def load_book(config: Config, *, folder: Path | None = None) -> CharterBook:
    """The charters of the config, or of another folder. Raises ConfigError with every mistake."""
    return _load(config, Folder(path=folder or config.charters_dir)).book


async def watch(gate: Gate) -> bool:
    """One look: True if other charters run now than before.

    The first look also keeps the revisions that started. Raises Unavailable.
    """
    folder = Folder(path=gate.config.charters_dir, read_paths=set(gate.running.model_paths))
    stamps = await asyncio.to_thread(folder.stamps)
    if stamps == gate.running.stamps:
        return False
    try:
        loaded = await asyncio.to_thread(_load, gate.config, folder)
    except ConfigError as error:
        await _alarm(gate, str(error))
        changed = False
    else:
        changed = await _replace(gate, loaded)
        gate.running.breakage = ""
    # A file that changed while it was read has other stamps now, and is looked at again.
    gate.running.stamps = stamps if not (folder.read_paths - set(gate.running.model_paths)) else ()
    gate.running.model_paths = frozenset(folder.read_paths)
    return changed


async def _replace(gate: Gate, loaded: Loaded) -> bool:
    """Keeps what is new, then lets it run. Nothing changes if it cannot be kept."""
    before, after = gate.charters, loaded.book
    charters = list(after.charters.values())
    store = CharterStore(gate.database)
    known = await store.known(charters)
    new = [c for c in charters if (c.name, c.digest) not in known or not _runs(before, c)]
    gone = sorted(set(before.charters) - set(after.charters))
    events = [_loaded_event(gate, c) for c in new] + [_gone_event(gate, name) for name in gone]
    if before.digest != after.digest and not events:
        events = [_event(gate, reason="the site's policies changed")]
    if events:
        await store.keep(new, loaded.bodies, loaded_at=gate.clock(), audit=events)
    gate.running.charters = after
    return before.digest != after.digest


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
    charters: list[Charter] = []
    bodies: dict[str, bytes] = {}
    mistakes: list[str] = []
    for path in folder.charter_paths():
        try:
            body = folder.read(path)
            charter = parse_charter(body, file=path.name, read_model=folder.read_model)
        except OSError as error:
            mistakes.append(f"{path.name} cannot be read: {error.strerror}")
        except ConfigError as error:
            mistakes.append(str(error))
        else:
            mistakes.extend(_unknown_names(config, charter, path.name))
            charters.append(charter)
            bodies[charter.name] = body
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    book = compile_book(
        charters,
        forbids=_forbids(folder),
        production=config.production,
        mfa_required=config.mfa_required,
        labels=_label_rules(folder),
    )
    return Loaded(book=book, bodies=bodies)


def _forbids(folder: Folder) -> list[str]:
    texts = []
    for path in folder.forbid_paths():
        try:
            texts.append(folder.read(path).decode("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"policies/{path.name} cannot be read: {error}") from None
    return texts


def _label_rules(folder: Folder) -> LabelRules:
    """The packaged rules, with the site's over them if it has any."""
    if not folder.label_path.exists():
        return own_label_rules()
    try:
        return parse_label_rules(folder.read(folder.label_path), file=f"policies/{LABELS_FILE}")
    except OSError as error:
        raise ConfigError(f"policies/{LABELS_FILE} cannot be read: {error.strerror}") from None


def _unknown_names(config: Config, charter: Charter, file: str) -> Iterator[str]:
    """What the charter names and chartgate.toml does not."""
    for site, connection in charter.sites.items():
        yield from _unknown(file, "sites", "connection", connection, config.connections)
        try:
            config.site(site)
        except ConfigError as error:
            yield f"{file}: sites: {error}"
    for client in charter.clients:
        yield from _unknown(file, "clients", "client", client, config.clients)


def _unknown(file: str, key: str, kind: str, name: str, known: Collection[str]) -> Iterator[str]:
    if name not in known:
        yield f"{file}: {key}: chartgate.toml has no {kind} {name}{near(name, known)}"


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _stamp(path: Path) -> tuple[str, int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return str(path), 0, 0, -1
    return str(path), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size
