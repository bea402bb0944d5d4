"""Distinct questions that policy was asked, and how often. No patient stands in any of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chartgate.store.database import Database
from chartgate.store.queries import load_queries

QUERIES = load_queries("policy_questions.sql")

QUESTIONS_MAX = 20_000  # of one tenant; a hospital asks a few hundred different ones


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One question, as canonical JSON."""

    question: bytes
    count: int
    last_asked_at: datetime


class PolicyQuestionStore:
    """Questions of one tenant."""

    def __init__(self, database: Database, *, questions_max: int = QUESTIONS_MAX) -> None:
        self._database = database
        self._questions_max = questions_max

    async def count(self, counts: Mapping[bytes, int], *, at: datetime, since: datetime) -> None:
        """Adds so many of each question; those not asked since are forgotten."""
        questions = list(counts)
        digests = [hashlib.sha256(question).digest() for question in questions]
        async with self._database.bookkeeping() as transaction:
            tenant = self._database.tenant
            await transaction.execute(QUERIES["delete_old_questions"], tenant, since)
            await transaction.execute(
                QUERIES["count_questions"],
                tenant,
                digests,
                questions,
                [counts[question] for question in questions],
                at,
                self._questions_max,
            )

    async def listed(self) -> Sequence[Recorded]:
        """The most frequent first."""
        rows = await self._database.fetch(QUERIES["select_questions"], self._questions_max)
        return [Recorded(**row) for row in rows]
