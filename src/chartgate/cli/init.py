"""`chartgate init`: a folder with chartgate.toml, keys and sample charters to start from."""

import argparse
import os
import shutil
from base64 import b64encode
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from joserfc.jwk import ECKey, KeySet, RSAKey

from chartgate.cli.session import add_json_flag, show
from chartgate.errors import ConfigError
from chartgate.store.witness import create_signing_key

SAMPLES = ("charters", "models")
SAMPLE_CLIENTS = ("slot-picker", "scribe", "auth-clerk")


def add_parser(commands: Any) -> None:
    """init"""
    parser = commands.add_parser(
        "init",
        help="write chartgate.toml, keys and sample charters into a folder",
        description="Writes a commented chartgate.toml, an Ed25519 key for the ledger, an RSA key "
        "to authenticate to the EHR (register the .jwks.json beside it there), key pairs for the "
        "three sample clients, and their charters. Overwrites nothing.",
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    add_json_flag(parser)
    parser.set_defaults(run=run_init)


def run_init(arguments: argparse.Namespace) -> int:
    """Writes what is not there yet."""
    folder: Path = arguments.folder
    if (folder / "chartgate.toml").exists():
        raise ConfigError(f"{folder / 'chartgate.toml'} is there already; nothing was changed")
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
    """The paths written, relative to the folder."""
    samples = resources.files("chartgate.cli") / "samples"
    keys = folder / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    keys.chmod(0o700)
    with resources.as_file(samples) as source:
        shutil.copyfile(source / "chartgate.toml", folder / "chartgate.toml")
        for name in SAMPLES:
            shutil.copytree(source / name, folder / name, dirs_exist_ok=True)
    create_signing_key(keys / "ledger.pem")
    _key_pair(keys, "north-ehr", RSAKey.generate_key(3072, auto_kid=True), "RS384")
    for client in SAMPLE_CLIENTS:
        _key_pair(keys, client, ECKey.generate_key("P-384", auto_kid=True), "ES384")
        _private(keys / f"{client}.whsec", f"whsec_{b64encode(os.urandom(32)).decode()}\n")
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


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
