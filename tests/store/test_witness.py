"""The witness file and the signing key, on a real disk and when it is in the way."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chartgate.errors import ConfigError, Unavailable
from chartgate.formats.checkpoint import open_checkpoint, signer_of
from chartgate.store.witness import Witness, create_signing_key, load_signer

SIGNER = signer_of(Ed25519PrivateKey.generate(), origin="hospital.example/ledger")


def note_of(size: int) -> str:
    return SIGNER.sign(size, bytes(32))


def sizes(witness: Witness) -> list[int]:
    return [open_checkpoint(note, SIGNER.key).size for note in witness.notes()]


def test_witness_keeps_what_is_appended_in_order(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "deep" / "witness.txt")
    assert witness.newest() is None
    assert not witness.exists()
    for size in (1, 5, 9):
        witness.append(note_of(size))
    assert sizes(witness) == [1, 5, 9]
    assert witness.newest() == note_of(9)


def test_witness_of_many_heads_finds_the_newest_at_its_end(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness.txt")
    witness.path.write_text("\n".join(note_of(size) for size in range(1, 2000)) + "\n")
    assert witness.newest() == note_of(1999)


def test_witness_with_much_rubbish_at_its_end_still_finds_the_newest(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness.txt")
    witness.path.write_text(note_of(3) + "\n" + "rubbish\n" * 20_000)
    assert witness.newest() == note_of(3)


def test_witness_with_a_torn_end_goes_on_after_it(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness.txt")
    witness.append(note_of(1))
    whole = note_of(2).encode()
    for cut in range(len(whole)):
        witness.path.write_bytes(note_of(1).encode() + b"\n" + whole[:cut])
        assert witness.newest() == note_of(1)
        witness.append(note_of(3))
        assert sizes(witness) == [1, 3], cut


def test_witness_is_read_only_as_far_as_asked(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness.txt")
    witness.append(note_of(1))
    length = witness.length()
    witness.append(note_of(2))
    assert list(witness.notes(bytes_max=length)) == [note_of(1)]


def test_witness_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be written"):
        Witness(tmp_path / "file" / "witness.txt").append(note_of(1))


def test_witness_on_a_full_disk_says_so() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")
    with pytest.raises(Unavailable, match="No space left"):
        Witness(Path("/dev/full")).append(note_of(1))


def test_key_when_made_is_its_owners_alone_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ledger.pem"
    create_signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    signer = load_signer(path, origin="hospital.example/ledger")
    assert open_checkpoint(signer.sign(3, bytes(32)), signer.key).size == 3
    assert load_signer(path, origin="hospital.example/ledger").key == signer.key


def test_key_when_one_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger.pem"
    create_signing_key(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="already"):
        create_signing_key(path)
    assert path.read_bytes() == before


def test_key_when_lost_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="restore it from its backup"):
        load_signer(tmp_path / "gone.pem", origin="o")


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_key_when_damaged_is_an_error_that_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="restore it from its backup"):
        load_signer(path, origin="o")


def test_key_when_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.pem"
    pem = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    path.write_bytes(pem)
    with pytest.raises(ConfigError, match="must be an Ed25519 key"):
        load_signer(path, origin="o")


def test_key_that_cannot_be_read_or_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_signer(tmp_path, origin="o")
    (tmp_path / "file").write_bytes(os.urandom(3))
    with pytest.raises(ConfigError, match="cannot be written"):
        create_signing_key(tmp_path / "file" / "ledger.pem")
