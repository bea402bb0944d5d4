"""`chartgate init`: a folder with chartgate.toml, keys and sample charters to start from."""

import argparse
import os
from base64 import b64encode
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from joserfc.jwk import ECKey, KeySet, RSAKey

from chartgate.cli.session import add_json_flag, show
from chartgate.config import CONFIG_DEFAULT
from chartgate.errors import ConfigError
from chartgate.store.vault_keys import create_master_key
from chartgate.store.witness import create_signing_key

SAMPLES = ("charters", "models")
EHR = "north-ehr"
SAMPLE_CLIENTS = ("slot-picker", "scribe", "auth-clerk")
SIGNERS = (EHR, *SAMPLE_CLIENTS)


def add_parser(commands: Any) -> None:
    """init"""
    parser = commands.add_parser(
        "init",
        help="write chartgate.toml, keys and sample charters into a folder",
        description="Writes a commented chartgate.toml, an Ed25519 key for the ledger, the master "
        "key of the vault (back it up, apart from the database), an RSA key "
        "to authenticate to the EHR (register the .jwks.json beside it there), key pairs for the "
        "three sample clients, and their charters. Overwrites nothing.",
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path(), help="default: here")
    add_json_flag(parser)
    parser.set_defaults(run=run_init)


def run_init(arguments: argparse.Namespace) -> int:
    """Writes everything, or nothing where one of the files is there already."""
    folder: Path = arguments.folder
    try:
        written = write_folder(folder)
    except OSError as error:
        raise ConfigError(f"cannot write into {folder}: {error.strerror}") from error
    lines = [f"wrote {path}" for path in written]
    show(
        arguments.json,
        {"folder": str(folder), "written": written},
        *lines,
        "next: set the url of your EHR in chartgate.toml, register keys/north-ehr.jwks.json there,",
        "then `chartgate charter check`, `chartgate up`, and `chartgate probe north-ehr`",
    )
    return 0


def write_folder(folder: Path) -> list[str]:
    """The paths written, relative to the folder. Raises ConfigError, OSError."""
    samples = _samples()
    keys = folder / "keys"
    secret = [f"{name}{end}" for name in SIGNERS for end in (".pem", ".jwks.json")]
    secret += ["ledger.pem", "vault.key", *(f"{client}.whsec" for client in SAMPLE_CLIENTS)]
    written = sorted([*samples, *(f"keys/{name}" for name in secret)])
    for path in written:
        if os.path.lexists(folder / path):
            raise ConfigError(f"{folder / path} is there already; nothing was changed")
    keys.mkdir(parents=True, exist_ok=True)
    keys.chmod(0o700)
    for path, content in samples.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    create_signing_key(keys / "ledger.pem")
    create_master_key(keys / "vault.key")
    _key_pair(keys, EHR, RSAKey.generate_key(3072, auto_kid=True), "RS384")
    for client in SAMPLE_CLIENTS:
        _key_pair(keys, client, ECKey.generate_key("P-384", auto_kid=True), "ES384")
        _private(keys / f"{client}.whsec", f"whsec_{b64encode(os.urandom(32)).decode()}\n")
    return written


def _samples() -> dict[str, bytes]:
    """The sample files by path."""
    with resources.as_file(resources.files("chartgate.cli") / "samples") as source:
        files = [source / CONFIG_DEFAULT, *(f for n in SAMPLES for f in (source / n).iterdir())]
        return {str(f.relative_to(source)): f.read_bytes() for f in files if f.is_file()}


def _key_pair(keys: Path, name: str, key: RSAKey | ECKey, algorithm: str) -> None:
    """NAME.pem for whoever signs, NAME.jwks.json for whoever checks."""
    public = KeySet([key]).as_dict(private=False)
    for entry in public["keys"]:
        entry["alg"] = algorithm
        entry["use"] = "sig"
    _private(keys / f"{name}.pem", key.as_pem(private=True).decode())
    (keys / f"{name}.jwks.json").write_bytes(orjson.dumps(public, option=orjson.OPT_INDENT_2))


def _private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
