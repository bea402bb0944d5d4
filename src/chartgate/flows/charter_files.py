"""The files that charters are made of: read from a folder, or from what was adopted last.

Charters stand in one folder. Beside it stand their models, and `policies/` with the tenant's
forbids (`*.cedar`), those of one site (`sites/SITE/*.cedar`), rules for labels, the on-call roster
and cases to test.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from chartgate.errors import ConfigError
from chartgate.formats.canonical import canonical_bytes
from chartgate.policy.charter_shape import near

SUFFIXES = (".yaml", ".yml")
CEDAR = ".cedar"
POLICIES = "policies"
SITES = "sites"  # below policies
LABELS = "labels.yaml"
ROSTER = "roster.yaml"
TESTS = "tests.yaml"
FILE_BYTES_MAX = 256 * 1024
CHARTERS_MAX = 200
POLICIES_MAX = 500

Stamps = tuple[tuple[str, int, int, int], ...]  # path, mtime_ns, ctime_ns, size


@dataclass(frozen=True, kw_only=True)
class Files:
    """Bytes by name, as far as they could be read."""

    charters: Mapping[str, bytes]  # by file name
    models: Mapping[str, bytes]  # by the path that a charter gives
    policies: Mapping[str, bytes]  # by path below policies/, e.g. "sites/north/hours.cedar"

    def read_model(self, name: str) -> bytes:
        """Raises ConfigError."""
        try:
            return self.models[name]
        except KeyError:
            raise ConfigError("the file is not there") from None


@dataclass
class Folder:
    """Reads the files around the charters, and no others; remembers which."""

    path: Path
    read_paths: set[Path] = field(default_factory=set)
    models: dict[str, bytes] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """Charters may name files below this folder only."""
        return self.path.resolve().parent

    @property
    def policies(self) -> Path:
        """Where the tenant and its sites keep their own rules."""
        return self.root / POLICIES

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

    def policy_paths(self) -> list[Path]:
        """Forbids and rules for labels. Raises ConfigError for a file that nobody would read: a
        rule that is silently not there protects nobody."""
        paths = sorted(p for p in self.policies.rglob("*") if p.is_file() and not _hidden(p))
        if len(paths) > POLICIES_MAX:
            raise ConfigError(f"{self.policies} holds over {POLICIES_MAX} files")
        return [p for p in paths if self._is_policy(p)]

    def _is_policy(self, path: Path) -> bool:
        parts = path.relative_to(self.policies).parts
        match parts:
            case (name,) if name.endswith(CEDAR) or name in (LABELS, ROSTER):
                return True
            case ("sites", _, name) if name.endswith(CEDAR):
                return True
            case (name,) if name == TESTS or name.lower().startswith("readme"):
                return False
        said = f"{POLICIES}/{'/'.join(parts)}"
        raise ConfigError(
            f"{said} is nothing that is read there: forbids of all sites are *{CEDAR}, those of "
            f"one are {SITES}/SITE/*{CEDAR}, and {LABELS}, {ROSTER} and {TESTS} are the only others"
        )

    def read_model(self, name: str) -> bytes:
        """A file that a charter names: beside the charters' folder, or in it."""
        places = [self.root / name, self.path.resolve() / name]
        self.read_paths.update(places)
        place = next((p for p in places if p.is_file()), places[0])
        if not place.resolve().is_relative_to(self.root):
            raise ConfigError("the path leads out of the folder of the charters")
        self.models[name] = self.read(place)
        return self.models[name]

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
        policies = [p for p in self.policies.rglob("*") if not _hidden(p)]
        return tuple(_stamp(p) for p in sorted({*listed, *policies, *self.read_paths}))


def archive(files: Files) -> bytes:
    """All of them as one body that is always the same."""
    return canonical_bytes(
        {
            kind: {name: base64.b64encode(body).decode() for name, body in bodies.items()}
            for kind, bodies in _kinds(files)
        }
    )


def unarchive(body: bytes) -> Files:
    """The files of `archive`."""
    kinds: dict[str, dict[str, str]] = orjson.loads(body)
    decoded: dict[str, Any] = {
        kind: {name: base64.b64decode(text) for name, text in texts.items()}
        for kind, texts in kinds.items()
    }
    return Files(**decoded)


def site_of(path: str, sites: set[str]) -> str:
    """The site whose forbids a file below policies/ holds; "": those of all. Raises ConfigError."""
    parts = path.split("/")
    if len(parts) == 1:
        return ""
    if parts[1] not in sites:
        raise ConfigError(
            f"{POLICIES}/{path}: no charter has the site {parts[1]}{near(parts[1], sites)}"
        )
    return parts[1]


def _kinds(files: Files) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    yield "charters", files.charters
    yield "models", files.models
    yield "policies", files.policies


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.endswith("~")


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
