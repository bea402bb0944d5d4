"""Checks an export of a Chartgate ledger. Needs nothing but Python 3.10 or later.

    verify_ledger.py EXPORT --key PUBLIC_KEY [--witness FILE] [--proof PROOF.json] [--json]

Shares no code with Chartgate: a stranger need trust only the first public key, and a witness file
that somebody else has kept (copied before the export is made, or it is ahead). A key hands over to
the next on a head that both have signed, over an event that bears the first one's word for it.
Exit status: 0 all holds, 1 something was found, 2 what was given cannot be checked.
Sources: RFC 6962 (tree), RFC 8032 (Ed25519), https://c2sp.org/tlog-checkpoint (heads).
"""

import argparse
import base64
import contextlib
import functools
import hashlib
import itertools
import json
import os
import pathlib
import re
import sys

NOTE = re.compile(r"(?m)^(\S+)\n(0|[1-9]\d{0,17})\n([\w+/]{43}=)\n\n((?:— \S+ [\w+/]{91}=\n){1,2})")
ROTATED, PRUNED = "ledger.rotate-key", "retention.prune"  # actions that change what holds
LEAF, NODE = b"\x00", b"\x01"
BAD_SHAPE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, I = -121665 * pow(121666, -1, P) % P, pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]  # (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z


def add_points(left: Point, right: Point) -> Point:
    a = (left[1] - left[0]) * (right[1] - right[0]) % P
    b = (left[1] + left[0]) * (right[1] + right[0]) % P
    c, d = 2 * left[3] * right[3] * D % P, 2 * left[2] * right[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def read_point(octets: bytes) -> Point:
    y, sign = int.from_bytes(octets, "little") % 2**255, octets[31] >> 7
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    for x in ((root := pow(x2, (P + 3) // 8, P)), root * I % P, -root % P, -root * I % P):
        if x * x % P == x2 and x & 1 == sign and y < P:
            return (x, y, 1, x * y % P)
    raise ValueError("the key given is no Ed25519 public key")


def multiply(doublings: list[Point], factor: int) -> Point:
    chosen = (point for i, point in enumerate(doublings) if factor >> i & 1)
    return functools.reduce(add_points, chosen, (0, 1, 1, 0))


class Key:
    """The log's name and public key, from "name+id+key"."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.name, _, rest = self.text.partition("+")
        octets = decode(rest.partition("+")[2])
        self.id = hashlib.sha256(self.name.encode() + b"\n" + octets).digest()[:4]
        if len(octets) != 33 or octets[0] != 1 or not rest.startswith(f"{self.id.hex()}+"):
            raise ValueError("--key must be name+id+key, as in public_key.txt, or a file with it")
        self.octets = octets[1:]
        x, y, z, t = read_point(self.octets)
        base = read_point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
        self.base, self.negative = (  # 2^i times the point, for i to 255
            list(itertools.accumulate([point] * 256, lambda last, _: add_points(last, last)))
            for point in (base, (P - x, y, z, P - t))
        )

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether S * B - k * A is R."""
        s = int.from_bytes(signature[32:], "little")
        digest = hashlib.sha512(signature[:32] + self.octets + message).digest()
        base, key = s % ORDER, int.from_bytes(digest, "little") % ORDER
        x, y, z, _ = add_points(multiply(self.base, base), multiply(self.negative, key))
        x, y = x * pow(z, -1, P) % P, y * pow(z, -1, P) % P
        return s < ORDER and (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


def hash_of(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def root_from_proof(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """Uses up the proof, from its end; raises IndexError where it is too short."""
    if size < 2:
        return leaf
    sibling, half = proof.pop(), 1 << (size - 1).bit_length() - 1
    if index < half:
        return hash_of(NODE, root_from_proof(leaf, index, half, proof), sibling)
    return hash_of(NODE, sibling, root_from_proof(leaf, index - half, size - half, proof))


class Check:
    """What was looked at and what was found."""

    def __init__(self, key: Key) -> None:
        self.first = self.key = key
        self.counts = dict.fromkeys(("events", "pruned", "heads", "witness_heads"), 0)
        self.findings: list[str] = []
        self.notes: list[str] = []
        self.roots: dict[int, bytes] = {}  # of the tree at each size that a head is of
        self.successors: dict[tuple[str, bytes], tuple[int, str]] = {}  # (key, next one's id)
        self.pruned: list[range] = []  # numbers that an event says were let go
        self.size = -1  # no events were given
        self.found = self.findings.append

    def events(self, path: str, heads: str) -> None:
        """Grows the tree over the events; the roots that the heads are of are kept."""
        self.roots = {int(match[2]): b"" for match in NOTE.finditer(heads)}
        self.size, expected, gone = 0, 0, []
        peaks: list[bytes] = []  # roots of the whole subtrees so far, the largest first
        with open(path, "rb") as file:
            for line in file:
                seq, leaf, body = read_event(line)
                if seq != expected:
                    what = "something that is no event" if seq < 0 else f"event {seq}"
                    self.found(f"{what} stands where event {expected} should")
                if not body:
                    gone.append(seq)
                elif ROTATED.encode() in line or PRUNED.encode() in line:
                    with contextlib.suppress(*BAD_SHAPE):
                        says = json.loads(body)["details"]
                        if json.loads(body)["action"] == PRUNED:
                            self.pruned.append(range(int(says["first"]), int(says["end"])))
                        elif json.loads(body)["action"] == ROTATED:
                            old, new, word = says["old"], says["new"], says["endorsement"]
                            if Key(old).signed(f"{old}\n{new}\n".encode(), decode(word)):
                                self.successors[old, Key(new).id] = (seq, new)
                expected = (expected if seq < 0 else seq) + 1
                self.size = size = self.size + 1
                while size % 2 == 0:
                    leaf, size = hash_of(NODE, peaks.pop(), leaf), size // 2
                peaks.append(leaf)
                if self.size in self.roots:
                    root = functools.reduce(lambda a, b: hash_of(NODE, b, a), reversed(peaks))
                    self.roots[self.size] = root
        self.counts |= {"events": self.size, "pruned": len(gone)}
        lost = [seq for seq in gone if not any(seq in numbers for numbers in self.pruned)]
        self.findings += [f"event {seq} is gone, and none says that it was let go" for seq in lost]

    def head(self, match: re.Match[str], where: str) -> int:
        """Checks the signatures of a head; its size, 0 if it is bad."""
        origin, size, root, lines = match.groups()
        message = f"{origin}\n{size}\n{root}\n".encode()
        said = f"the head of {size} events in {where}"
        signers, encoded = zip(*(line.split(" ")[1:] for line in lines.splitlines()), strict=True)
        octets = [decode(text) for text in (root, *encoded)]
        signatures = {each[:4]: each[4:] for each in octets[1:]}
        mine = signatures.pop(self.key.id, b"")
        if {origin, *signers} != {self.key.name}:
            self.found(f"{said} is of the log {origin}, not {self.key.name}")
        elif not all(octets) or len(encoded) != len({*encoded}):
            self.found(f"{said} is not written as it should be")
        elif not mine:
            self.found(f"{said} is signed by another key")
        elif not self.key.signed(message, mine):
            self.found(f"{said} does not bear a true signature")
        elif not all(self.follow(k, int(size), message, s) for k, s in signatures.items()):
            self.found(f"{said} is signed by a further key that was not endorsed under it")
        else:
            return int(size)
        return 0

    def follow(self, known: bytes, size: int, message: bytes, signature: bytes) -> bool:
        """Goes on with the next key, if the one so far gave its word for it under this head."""
        seq, text = self.successors.get((self.key.text, known), (size, ""))
        holds = seq < size and Key(text).signed(message, signature)
        self.key = Key(text) if holds else self.key
        return holds

    def heads(self, text: str, where: str, count: str) -> int:
        """Checks all heads of a file; the size of the newest. Only the witness may hold more
        than heads: what a write that was interrupted has left."""
        newest = agreed = strayed = 0
        self.key = self.first
        for match in NOTE.finditer(text):
            self.counts[count] += 1
            size = self.head(match, where)
            if size and size <= newest:
                self.found(f"{where} goes back from {newest} events to {size}")
            newest = max(newest, size)
            if size > self.size >= 0:
                said = (
                    f"{where} knows a head of {size} events, but the export ends after {self.size}"
                )
                self.found(f"{said}: its tail was cut, or the ledger restored from an older copy")
            elif self.roots.get(size) == decode(match[3]):
                agreed = size
            elif size and self.roots and not strayed:
                strayed = size
                those = f"the first {size} events are not those whose head is in {where}"
                self.found(f"{those}; the first {agreed} are")
        loose = len(re.sub(f"{NOTE.pattern}\n?", "", text))
        if where == "the export" and (loose or not text.endswith("\n\n")):
            self.found("heads.txt of the export is not as an export writes it")
        elif loose:
            self.notes.append(f"{loose} characters in {where} are of no whole head")
        if not self.counts[count]:
            self.found(f"{where} holds no signed head")
        return newest

    def proof(self, text: str) -> None:
        """Checks the proof of one event."""
        with contextlib.suppress(*BAD_SHAPE):
            proof = json.loads(text)
            seq, size, leaf = (
                proof["seq"],
                proof["tree_size"],
                hash_of(LEAF, proof["body"].encode()),
            )
            path = [bytes.fromhex(octets) for octets in proof["inclusion_proof"]]
            match = NOTE.fullmatch(proof["checkpoint"])
            if match and 0 <= seq < size and proof["leaf_hash"] == leaf.hex():
                root = root_from_proof(leaf, seq, size, path)
                signed = not path and self.head(match, "the proof") == size
                if signed and root == decode(match[3]) == self.roots.get(size, root):
                    return
        self.found("the proof does not lead from its event to a signed head of this ledger")


def read_event(line: bytes) -> tuple[int, bytes, bytes]:
    """(seq, leaf, body); body empty: let go; seq -1: not to the byte as an export writes it."""
    with contextlib.suppress(*BAD_SHAPE):
        record = json.loads(line)
        written = json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"
        if type(record["seq"]) is int and len(record) == 2 and written.encode() == line:
            seq = max(record["seq"], -1)
            if "hash" in record and re.fullmatch("[0-9a-f]{64}", record["hash"]):
                return seq, bytes.fromhex(record["hash"]), b""
            text = record.get("body")
            body = bytes.fromhex(record["body_hex"]) if text is None else text.encode()
            return seq, hash_of(LEAF, body), body or b"?"
    return -1, hash_of(LEAF, line), line


def decode(text: str) -> bytes:
    """The octets of base64 that is written in the one right way, else none."""
    octets = b""
    with contextlib.suppress(ValueError):
        octets = base64.b64decode(text, validate=True)
    return octets if base64.b64encode(octets).decode() == text else b""


def read_text(path: str) -> str:
    return pathlib.Path(path).read_bytes().decode(errors="replace")


def check(options: argparse.Namespace) -> Check:
    """Runs every check that was asked for. Raises ValueError, OSError."""
    if not options.export and not options.proof:
        raise ValueError("give the folder of an export, or --proof")
    result = Check(Key(read_text(options.key) if os.path.exists(options.key) else options.key))
    folder, witness = options.export, read_text(options.witness) if options.witness else ""
    if folder:
        heads = read_text(f"{folder}/heads.txt")
        result.events(f"{folder}/events.ndjson", heads + witness)
        newest = result.heads(heads, "the export", "heads")
        if read_text(f"{folder}/public_key.txt") != f"{result.first.text}\n":
            result.found("the export names another key than the one given")
        if newest < result.size:
            result.found(f"events from number {newest} on are under no signed head")
    if options.witness:
        result.heads(witness, "the witness", "witness_heads")
    else:
        result.notes.append("no witness was given: a cut tail or a rollback cannot be seen")
    if options.proof:
        result.proof(read_text(options.proof))
    return result


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Checks an export of a Chartgate ledger.")
    parser.add_argument("export", nargs="?", help="folder that `chartgate ledger export` wrote")
    parser.add_argument("--key", required=True, help="public key, as text or file")
    parser.add_argument("--witness", help="file of heads that was kept elsewhere")
    parser.add_argument("--proof", help="file that `chartgate ledger prove` wrote")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args(arguments)
    try:
        result = check(options)
    except (OSError, ValueError) as error:
        print(json.dumps({"ok": None, "error": str(error)}) if options.json else error)
        return 2
    ok, count = not result.findings, len(result.findings)
    found = {"finding_count": count, "findings": result.findings[:100], "notes": result.notes}
    counted = "{events} events, {heads} heads, {witness_heads} heads of the witness"
    lines = [counted.format(**result.counts), *(f"note: {note}" for note in result.notes)]
    lines += [f"FOUND: {finding}" for finding in result.findings[:100]]
    lines += ["everything holds" if ok else f"{count} findings"]
    print(json.dumps({"ok": ok, **result.counts, **found}) if options.json else "\n".join(lines))
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
