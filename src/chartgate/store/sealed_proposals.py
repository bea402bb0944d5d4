"""What is stored of a proposal, sealed and opened.

One key seals all of it: rationale, receipt and compensation, every version of its content, and the
intent of every attempt.
"""

from chartgate.errors import Damaged, Erased
from chartgate.model.proposal import Proposal, Status, content_from
from chartgate.model.write import (
    Effect,
    effects_from,
    receipt_bytes,
    receipt_from,
    write_bytes,
    write_from,
)
from chartgate.store.database import Row
from chartgate.store.vault import SAY_ERASED, Key, Vault

PROPOSAL, CONTENT, ATTEMPT = "proposal", "proposal_content", "proposal_attempt"


class SealedProposals:
    """Rows of proposals as records, and back. A row holds `sealed_by` and `wrapped`."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def key(self, row: Row) -> Key:
        """What a proposal is sealed by. Raises Erased."""
        if row["wrapped"] is None:
            raise Erased(SAY_ERASED)
        return self._vault.key(row["sealed_by"], row["wrapped"])

    def known_key(self, id_: str) -> Key | None:
        """What that proposal was sealed by when it was read last, out of memory."""
        return self._vault.of_rows.get(id_)

    def seal(self, key: Key, plain: bytes, *place: str, table: str = PROPOSAL) -> bytes:
        """`place` is the proposal and what of it."""
        return self._vault.seal(key, plain, table, *place)

    def receipt(self, key: Key | None, proposal: Proposal) -> bytes | None:
        """The sealed receipt, if there is one."""
        if proposal.receipt is None:
            return None
        assert key is not None, "a receipt is sealed"
        return self.seal(key, receipt_bytes(proposal.receipt), proposal.id, "receipt")

    def compensation(self, key: Key | None, proposal: Proposal) -> bytes | None:
        """The sealed compensation, if there is one."""
        if proposal.compensation is None:
            return None
        assert key is not None, "a compensation is sealed"
        return self.seal(key, write_bytes(proposal.compensation), proposal.id, "compensation")

    def content(self, id_: str, version: int, body: bytes, row: Row) -> bytes:
        """The bytes of one version; empty, and so not intact, where somebody changed them."""
        try:
            return self._open(row, body, CONTENT, id_, str(version))
        except Damaged:
            return b""

    def intent(self, id_: str, direction: str, row: Row) -> bytes:
        """What an attempt was to send."""
        return self._open(row, row["intent"], ATTEMPT, id_, direction, str(row["fence"]))

    def done(self, id_: str, direction: str, row: Row) -> tuple[Effect, ...]:
        """What the first changes of an attempt did, where they go one after the other."""
        if not row["done"]:
            return ()
        place = (id_, direction, str(row["attempt"]), "done")
        return effects_from(self._open(row, row["done"], ATTEMPT, *place))

    def proposal(self, row: Row) -> Proposal:
        """The proposal of a whole row. Raises Erased, Damaged."""
        id_ = str(row["id"])
        receipt, compensation = row["receipt"], row["compensation"]
        if row["wrapped"] is not None:
            self._vault.of_rows.put(id_, self.key(row))
        return Proposal(
            id=id_,
            charter=row["charter"],
            charter_digest=row["charter_digest"],
            action=row["action"],
            site=row["site"],
            connection=row["connection"],
            author=row["author"],
            interaction=str(row["interaction"]),
            stage=row["stage"],
            status=Status(row["status"]),
            content=content_from(
                self.content(id_, row["content_version"], row["content_body"] or b"", row),
                version=row["content_version"],
                digest=row["content_digest"],
                edited_by=row["edited_by"],
            ),
            confidence=row["confidence"],
            rationale=self._open(row, row["rationale"], PROPOSAL, id_, "rationale").decode(),
            created_at=row["created_at"],
            due_at=row["due_at"],
            decided_by=row["decided_by"],
            decided_at=row["decided_at"],
            decided_digest=row["decided_digest"],
            reason=row["reason"],
            receipt=receipt_from(self._open(row, receipt, PROPOSAL, id_, "receipt"))
            if receipt
            else None,
            compensation=write_from(self._open(row, compensation, PROPOSAL, id_, "compensation"))
            if compensation
            else None,
            attempts=row["attempts"],
            fence=row["fence"],
            patient=row["patient"],
            seed=row["seed"],
            replaces=str(row["replaces"]) if row["replaces"] else None,
        )

    def _open(self, row: Row, body: bytes, *place: str) -> bytes:
        return self._vault.open(body, row["sealed_by"], row["wrapped"], *place)
