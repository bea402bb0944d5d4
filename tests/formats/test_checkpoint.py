"""Checkpoints against the published examples, and files of them that a crash cut short."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chartgate.errors import Invalid
from chartgate.formats.checkpoint import (
    TORN,
    Checkpoint,
    Signer,
    VerificationKey,
    is_endorsed,
    join_to,
    open_checkpoint,
    parse_key,
    read_notes,
    signer_of,
)

ORIGIN = "hospital.example/ledger"
SIGNER = signer_of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), origin=ORIGIN)
OTHER = signer_of(Ed25519PrivateKey.from_private_bytes(bytes(32)), origin=ORIGIN)

# Of Go's golang.org/x/mod/sumdb/note: key, text and signature of another implementation.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def note_of(size: int, signer: Signer = SIGNER) -> str:
    return signer.sign(size, bytes([size % 256]) * 32)


def test_note_when_signed_has_the_form_of_the_specification() -> None:
    lines = note_of(7).split("\n")
    assert lines[:4] == [ORIGIN, "7", base64.b64encode(bytes([7]) * 32).decode(), ""]
    assert lines[4].startswith(f"— {ORIGIN} ")
    assert base64.b64decode(lines[4].split(" ")[2])[:4] == SIGNER.key.id
    assert lines[5:] == [""]


def test_note_when_opened_with_its_key_is_the_checkpoint() -> None:
    checkpoint = open_checkpoint(note_of(7), SIGNER.key)
    assert checkpoint == Checkpoint(origin=ORIGIN, size=7, root=bytes([7]) * 32)


def test_key_of_another_implementation_is_read_with_the_same_id() -> None:
    key = parse_key(GO_KEY)
    assert key.name == "PeterNeumann"
    assert str(key) == GO_KEY


def test_key_when_written_and_read_is_the_same() -> None:
    assert parse_key(f"{SIGNER.key}\n") == SIGNER.key


@pytest.mark.parametrize(
    "text", ["", "a+b", "a+00000000+AAAA", GO_KEY.replace("c74f20a3", "c74f20a4"), GO_KEY + "="]
)
def test_key_when_it_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="verification key"):
        parse_key(text)


def test_note_of_another_key_is_refused() -> None:
    with pytest.raises(Invalid, match="another key"):
        open_checkpoint(note_of(7, OTHER), SIGNER.key)


def test_note_of_another_log_is_refused() -> None:
    name = "other.example/ledger"
    other = VerificationKey(name=name, public_key=SIGNER.key.public_key)
    with pytest.raises(Invalid, match="no checkpoint of this ledger"):
        open_checkpoint(note_of(7), other)


def test_note_with_a_signature_of_an_unknown_key_besides_is_opened() -> None:
    """Clients must ignore signatures of keys that they do not know."""
    cosigned = note_of(7) + "— witness.example/w1 AAAA\n"
    assert open_checkpoint(cosigned, SIGNER.key).size == 7


@given(st.data())
def test_note_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    note = note_of(1234)
    place = data.draw(st.integers(0, len(note) - 2))
    character = data.draw(st.characters().filter(lambda c: c != note[place]))
    with pytest.raises(Invalid):
        open_checkpoint(note[:place] + character + note[place + 1 :], SIGNER.key)


@pytest.mark.parametrize(
    "bent",
    [
        note_of(7) + "\n",  # a second empty line: what is signed would end elsewhere
        note_of(7).replace("\n", " ", 1),
        note_of(7).replace("\n", "\r\n"),
        note_of(7).replace("\n\n", "\n"),
        note_of(7).replace("\n", "\n\n", 1),
        note_of(7).replace("\n7\n", "\n 7\n"),
        note_of(7).replace("\n7\n", "\n07\n"),
        note_of(7).replace(ORIGIN + " ", ORIGIN + "  "),
        "",
    ],
)
def test_note_of_another_form_is_refused_though_its_signature_holds(bent: str) -> None:
    with pytest.raises(Invalid):
        open_checkpoint(bent, SIGNER.key)


def test_word_for_a_new_key_holds_for_these_two_and_as_it_was_given() -> None:
    word = SIGNER.endorse(OTHER.key)
    third = signer_of(Ed25519PrivateKey.from_private_bytes(b"3" * 32), origin=ORIGIN)
    assert is_endorsed(SIGNER.key, OTHER.key, word)
    assert not is_endorsed(OTHER.key, SIGNER.key, word)
    assert not is_endorsed(SIGNER.key, third.key, word)
    for bent in ("", "no base64", word[:-4], f"{word}\n", f" {word}", word.rstrip("="), "é"):
        assert not is_endorsed(SIGNER.key, OTHER.key, bent), bent


@given(st.text())
def test_note_when_it_is_anything_is_refused_and_never_breaks(text: str) -> None:
    with pytest.raises(Invalid):
        open_checkpoint(text, SIGNER.key)


@pytest.mark.parametrize("origin", ["", "two words", "plus+sign", "line\nbreak"])
def test_origin_that_cannot_name_a_key_is_refused(origin: str) -> None:
    with pytest.raises(Invalid, match="origin"):
        signer_of(Ed25519PrivateKey.generate(), origin=origin)


@given(st.integers(0, 10), st.data())
def test_file_cut_anywhere_and_gone_on_with_holds_every_whole_note(
    count: int, data: st.DataObject
) -> None:
    """A crash or a full disk may cut the last write at any byte."""
    content = b""
    whole = []
    for size in range(1, count + 1):
        note = note_of(size)
        written = join_to(content.decode(errors="replace")[-2:], note).encode()
        cut = data.draw(st.integers(0, len(written)))
        content += written[:cut]
        if note.encode() in written[:cut]:
            whole.append(note)
    lines = content.decode(errors="replace").splitlines(keepends=True)
    assert list(read_notes(lines)) == whole


def test_file_of_other_lines_between_notes_gives_the_notes() -> None:
    content = f"a remark\n\n{note_of(1)}\nanother\n{note_of(2)}"
    notes = list(read_notes(content.splitlines(keepends=True)))
    assert [open_checkpoint(note, SIGNER.key).size for note in notes] == [1, 2]


@pytest.mark.parametrize(
    ("tail", "joined"),
    [
        ("", "NOTE\n"),
        ("\n\n", "NOTE\n"),
        ("x\n", "\nNOTE\n"),
        ("x", f"{TORN}\n\nNOTE\n"),
        ("\nx", f"{TORN}\n\nNOTE\n"),
    ],
)
def test_note_is_joined_to_what_stands_there(tail: str, joined: str) -> None:
    """Only what a crash cut is marked: an empty file and a whole line are not torn."""
    assert join_to(tail, "NOTE") == joined


@pytest.mark.parametrize("rest", ["", "\n", "— a signature still being wri", "\n\nhospital"])
def test_whole_note_is_read_whatever_is_being_written_behind_it(rest: str) -> None:
    content = f"{note_of(1)}{rest}"
    assert list(read_notes(content.splitlines(keepends=True))) == [note_of(1)]


def test_note_that_hands_over_is_one_note_that_both_keys_open() -> None:
    handed = SIGNER.hand_over(OTHER, 7, bytes(32))
    (note,) = read_notes(f"{note_of(6)}\n{handed}\n".splitlines(keepends=True)[6:])
    assert note == handed
    assert open_checkpoint(note, SIGNER.key) == open_checkpoint(note, OTHER.key)
