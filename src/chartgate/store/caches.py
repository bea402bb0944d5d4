"""What a process keeps in memory, bounded: losing it costs time, never truth.

Nothing here decides anything: a kept answer is used only while the store, or its own limit of
age, says that it still holds.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from chartgate.model.consent import ConsentAnswer, ConsentQuestion
from chartgate.model.disclosure import Piece
from chartgate.model.interaction import Interaction
from chartgate.model.label import Labels
from chartgate.model.principal import Client

KEPT_BYTES_MAX = 64_000_000  # of minimised resources: some 20,000 of the usual size
ENTRY_BYTES = 2_500  # about what key, entry, question and list links take beside the body
TOKENS_MAX = 10_000
INTERACTIONS_MAX = 20_000
MET_MAX = 100_000
ASKED_MAX = 16
ANSWERS_MAX = 20_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """A map that forgets what was used least recently once its sizes add up to `size_max`."""

    def __init__(self, *, size_max: int) -> None:
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._size_max = size_max
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """What was kept, which makes it the most recently used."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, *, size: int = 1) -> None:
        """Keeps `value`, unless it alone is over the limit."""
        self.drop(key)
        if size > self._size_max:
            return
        self._entries[key] = (value, size)
        self.size += size
        while self.size > self._size_max:
            _, (_, freed) = self._entries.popitem(last=False)
            self.size -= freed

    def drop(self, key: K) -> None:
        """Forgets one."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Minimised:
    """A resource as one charter may see it; holds while the record has this digest."""

    digest: bytes  # of the full resource
    version: str
    piece: Piece  # empty where it is hidden
    etag: str
    patients: frozenset[str]  # all whom it names
    labels: Labels
    question: ConsentQuestion  # to ask of each of them, but for who and when
    hidden: str = ""  # why nobody under this charter may see it, as a code for the audit


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownToken:
    """Whose token it is; asked of the store again after `until`."""

    client: Client
    until: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptAnswer:
    """What the consents said to a question; holds at this epoch, from `since` and before
    `until`."""

    question: ConsentQuestion  # that very object
    epoch: int
    since: datetime
    until: datetime
    answer: ConsentAnswer


@dataclass(frozen=True, kw_only=True)
class Caches:
    """All that one process keeps. Keys of `minimised`: connection, reference, charters and
    charter, scopes; of `met`: client, charter, patient, interaction where it is bound to patients."""

    minimised: Bounded[tuple[Hashable, ...], Minimised] = field(
        default_factory=lambda: Bounded(size_max=KEPT_BYTES_MAX)
    )
    tokens: Bounded[bytes, KnownToken] = field(default_factory=lambda: Bounded(size_max=TOKENS_MAX))
    met: Bounded[tuple[str, str, str, str], datetime] = field(
        default_factory=lambda: Bounded(size_max=MET_MAX)
    )
    interactions: Bounded[str, Interaction] = field(
        default_factory=lambda: Bounded(size_max=INTERACTIONS_MAX)
    )

    # By site, client and identity of the question, which the entry keeps from being another's.
    consent_answers: Bounded[tuple[str, str, int], KeptAnswer] = field(
        default_factory=lambda: Bounded(size_max=ANSWERS_MAX)
    )
    # What the forbids on reading ask for, by digest of the charters and verb.
    asked: Bounded[tuple[str, str], frozenset[str]] = field(
        default_factory=lambda: Bounded(size_max=ASKED_MAX)
    )

    def keep_minimised(self, key: tuple[Hashable, ...], entry: Minimised) -> None:
        """Keeps it at its size in bytes."""
        self.minimised.put(key, entry, size=len(entry.piece.body) + ENTRY_BYTES)
