"""Checks an export of a Chartgate ledger. Needs nothing but Python 3.10 or later.

It shares no code with Chartgate, so that a stranger need trust neither Chartgate nor its
database: only the public key, and a witness file that somebody else has kept.

    verify_ledger.py EXPORT --key PUBLIC_KEY [--witness FILE] [--proof PROOF.json] [--json]

Copy the witness file before the export is made, or it will be ahead. Exit status: 0 all
holds, 1 something was found, 2 what was given cannot be checked.

Sources: RFC 6962 section 2.1 (tree), RFC 9162 section 2.1.3.2 (inclusion), RFC 8032 section 5.1
(Ed25519), https://c2sp.org/tlog-checkpoint and https://c2sp.org/signed-note (heads).
"""

import argparse
import base64
import functools
import hashlib
import itertools
import json
import os
import pathlib
import re
import sys

NOTE = re.compile(r"(?m)^(\S+)\n(0|[1-9]\d{0,17})\n([\w+/]{43}=)\n\n— (\S+) ([\w+/]{91}=)\n")
FINDINGS_MAX = 100
LEAF, NODE = b"\x00", b"\x01"
BAD_SHAPE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
Point = tuple[int, int, int, int]  # (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z

# Ed25519, RFC 8032 section 5.1
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ZERO: Point = (0, 1, 1, 0)


def add_points(left: Point, right: Point) -> Point:
    a = (left[1] - left[0]) * (right[1] - right[0]) % P
    b = (left[1] + left[0]) * (right[1] + right[0]) % P
    c, d = 2 * left[3] * right[3] * D % P, 2 * left[2] * right[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def read_point(octets: bytes) -> Point:
    y, sign = int.from_bytes(octets, "little") % 2**255, octets[31] >> 7
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P or y >= P or (x == 0 and sign):
        raise ValueError("the key given is no Ed25519 public key")
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


def doublings(point: Point) -> list[Point]:
    """2^i times the point, for i to 255: made once, used for each head."""
    return list(itertools.accumulate([point] * 256, lambda last, _: add_points(last, last)))


def multiply(table: list[Point], factor: int) -> Point:
    return functools.reduce(add_points, (p for i, p in enumerate(table) if factor >> i & 1), ZERO)


class Key:
    """The log's name and public key, from "name+id+key" or a file with it."""

    def __init__(self, given: str) -> None:
        is_file = len(given) < 4096 and os.path.exists(given)
        self.text = (read_text(given) if is_file else given).strip()
        self.name, _, rest = self.text.partition("+")
        octets = decode(rest.partition("+")[2]) or b""
        self.id = hashlib.sha256(self.name.encode() + b"\n" + octets).digest()[:4]
        if len(octets) != 33 or octets[0] != 1 or not rest.startswith(f"{self.id.hex()}+"):
            raise ValueError("--key must be name+id+key, as in public_key.txt, or a file with it")
        self.octets = octets[1:]
        x, y, z, t = read_point(self.octets)
        self.negative = doublings((P - x, y, z, P - t))
        self.base = doublings(read_point((4 * pow(5, -1, P) % P).to_bytes(32, "little")))

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether S * B - k * A is R."""
        s = int.from_bytes(signature[32:], "little")
        digest = hashlib.sha512(signature[:32] + self.octets + message).digest()
        k = int.from_bytes(digest, "little") % ORDER
        x, y, z, _ = add_points(multiply(self.base, s % ORDER), multiply(self.negative, k))
        x, y = x * pow(z, -1, P) % P, y * pow(z, -1, P) % P
        return s < ORDER and (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


def hash_of(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def root_from_proof(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes | None:
    """None if the proof has not the shape for this index and size."""
    node, last = index, size - 1
    for sibling in proof:
        if last == 0:
            return None
        if node % 2 or node == last:
            leaf = hash_of(NODE, sibling, leaf)
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            leaf = hash_of(NODE, leaf, sibling)
        node, last = node >> 1, last >> 1
    return leaf if last == 0 else None


class Check:
    """What was looked at and what was found."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.counts = {"events": 0, "heads": 0, "witness_heads": 0, "finding_count": 0}
        self.findings: list[str] = []
        self.notes: list[str] = []
        self.wanted: dict[int, list[tuple[bytes, str]]] = {}  # by size: (root, who says so)
        self.size = 0
        self.peaks: list[bytes] = []  # roots of the whole subtrees so far, the largest first

    def append(self, leaf: bytes) -> None:
        self.size = size = self.size + 1
        while size % 2 == 0:
            leaf = hash_of(NODE, self.peaks.pop(), leaf)
            size //= 2
        self.peaks.append(leaf)

    def root(self) -> bytes:
        return functools.reduce(lambda right, left: hash_of(NODE, left, right), self.peaks[::-1])

    def found(self, sentence: str) -> None:
        self.counts["finding_count"] += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(sentence)

    def head(self, match: re.Match[str], where: str) -> int:
        """Checks the signature of a head and remembers what it says; its size, 0 if it is bad."""
        origin, size, root, signer, encoded = match.groups()
        signature, said = decode(encoded), f"the head of {size} events in {where}"
        if origin != self.key.name or signer != self.key.name:
            self.found(f"{said} is of the log {origin}, not {self.key.name}")
        elif signature is None or (octets := decode(root)) is None:
            self.found(f"{said} is not written as it should be")
        elif signature[:4] != self.key.id:
            self.found(f"{said} is signed by another key")
        elif not self.key.signed(f"{origin}\n{size}\n{root}\n".encode(), signature[4:]):
            self.found(f"{said} does not bear a true signature")
        else:
            self.wanted.setdefault(int(size), []).append((octets, where))
            return int(size)
        return 0

    def heads(self, text: str, where: str, count: str) -> int:
        """Checks all heads of a file; the size of the newest. Only the witness may hold more
        than heads: what a write that was interrupted has left."""
        newest = at = loose = 0
        for match in NOTE.finditer(text):
            loose += match.start() - at
            at = match.end() + text.startswith("\n", match.end())
            self.counts[count] += 1
            size = self.head(match, where)
            if size and size <= newest:
                self.found(f"{where} goes back from {newest} events to {size}")
            newest = max(newest, size)
        loose += len(text) - at
        if where == "the export" and (loose or not text.endswith("\n\n")):
            self.found("heads.txt of the export is not as an export writes it")
        elif loose:
            self.notes.append(f"{loose} characters in {where} are of no whole head")
        if not self.counts[count]:
            self.found(f"{where} holds no signed head")
        return newest

    def events(self, path: str) -> None:
        """Grows the tree over the events, comparing with each head on the way."""
        expected, strayed = 0, set()
        agreed = dict.fromkeys(("the export", "the witness", "the proof"), 0)
        with open(path, "rb") as file:
            for line in file:
                seq, body = read_event(line)
                if seq != expected:
                    what = "something that is no event" if seq < 0 else f"event {seq}"
                    self.found(f"{what} stands where event {expected} should")
                expected = (expected if seq < 0 else seq) + 1
                self.append(hash_of(LEAF, body))
                for root, where in self.wanted.get(self.size, ()):
                    if root == self.root():
                        agreed[where] = self.size
                    elif where not in strayed:
                        strayed.add(where)
                        those = f"the first {self.size} events are not those whose head is in"
                        self.found(f"{those} {where}; the first {agreed[where]} are")
        self.counts["events"] = self.size
        for size in sorted(self.wanted):
            for where in {where for _, where in self.wanted[size] if size > self.size}:
                self.found(
                    f"{where} knows a head of {size} events, but the export ends after {self.size}: "
                    "its tail was cut, or the ledger was restored from an older copy"
                )

    def proof(self, text: str) -> None:
        """Checks the proof of one event."""
        try:
            proof = json.loads(text)
            seq, size = proof["seq"], proof["tree_size"]
            leaf = hash_of(LEAF, proof["body"].encode())
            path = [bytes.fromhex(octets) for octets in proof["inclusion_proof"]]
            match = NOTE.fullmatch(proof["checkpoint"])
            if not match or not 0 <= seq < size or proof["leaf_hash"] != leaf.hex():
                raise ValueError
            root = root_from_proof(leaf, seq, size, path)
        except BAD_SHAPE:
            self.found("the proof is not one, or its parts do not fit one another")
            return
        if self.head(match, "the proof") != size or (root, "the proof") not in self.wanted[size]:
            self.found(f"the proof does not lead event {seq} to a signed head")


def read_event(line: bytes) -> tuple[int, bytes]:
    """(seq, body) of one line; seq -1 if it is not to the byte as an export writes it."""
    try:
        record = json.loads(line)
        text = record.get("body")
        body = bytes.fromhex(record["body_hex"]) if text is None else text.encode()
        written = json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"
        if type(record["seq"]) is int and len(record) == 2 and written.encode() == line:
            return max(record["seq"], -1), body
    except BAD_SHAPE:
        pass
    return -1, line


def decode(text: str) -> bytes | None:
    """The octets of base64 that is written in the one right way, else None."""
    try:
        octets = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return octets if base64.b64encode(octets).decode() == text else None


def read_text(path: str) -> str:
    return pathlib.Path(path).read_bytes().decode(errors="replace")


def check(options: argparse.Namespace) -> Check:
    """Runs every check that was asked for. Raises ValueError, OSError."""
    if not options.export and not options.proof:
        raise ValueError("give the folder of an export, or --proof")
    result, folder, newest = Check(Key(options.key)), options.export or "", 0
    if folder:
        newest = result.heads(read_text(f"{folder}/heads.txt"), "the export", "heads")
        if read_text(f"{folder}/public_key.txt") != f"{result.key.text}\n":
            result.found("the export names another key than the one given")
    if options.witness:
        result.heads(read_text(options.witness), "the witness", "witness_heads")
    else:
        result.notes.append("no witness was given: a cut tail or a rollback cannot be seen")
    if options.proof:
        result.proof(read_text(options.proof))
    if folder:
        result.events(f"{folder}/events.ndjson")
        if newest < result.size:
            result.found(f"events from number {newest} on are under no signed head")
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
    ok, counts = not result.findings, result.counts
    if options.json:
        found = {"findings": result.findings, "notes": result.notes}
        print(json.dumps({"ok": ok, **counts, **found}))
        return int(not ok)
    print("{events} events, {heads} heads, {witness_heads} heads of the witness".format(**counts))
    print("".join(f"note: {n}\n" for n in result.notes), end="")
    print("".join(f"FOUND: {f}\n" for f in result.findings), end="")
    print("everything holds" if ok else f"{counts['finding_count']} findings")
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
