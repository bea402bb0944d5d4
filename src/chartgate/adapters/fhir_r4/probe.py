"""The probe: tries each line of a dialect on the live system, and believes only what it reads.

It writes resources of its own, marked as probes and about nobody (or about the test patient that
`probe_file` names), and removes them at the end, whatever happened; what cannot be deleted is left
as cancelled, by the status that its dialect names.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson

from chartgate.adapters.fhir_r4 import probe_alone, probe_together
from chartgate.adapters.fhir_r4.dialect import PROBED
from chartgate.adapters.fhir_r4.preconditions import NOT_TRIED
from chartgate.adapters.fhir_r4.probe_alone import Say
from chartgate.adapters.fhir_r4.probe_bench import Bench
from chartgate.adapters.fhir_r4.reader import ReadRefused
from chartgate.errors import ChartgateError, OutcomeUnknown
from chartgate.model.verdict import Verdict

SKEW_MAX_S = 30.0
NEEDS_IF_MATCH = frozenset({412, 428})
TRIALS: tuple[Callable[[Bench, Say], Awaitable[None]], ...] = (
    probe_alone.try_lag,
    probe_alone.try_marker,
    probe_alone.try_race,
    probe_alone.try_conditional_reads,
    probe_alone.try_put,
    probe_alone.try_patch,
    probe_alone.try_patch_test,
    probe_alone.try_history,
    probe_alone.try_cancel,
    probe_together.try_transaction,
    probe_together.try_create_in_transaction,
    probe_together.try_patch_in_transaction,
    probe_together.try_batch,
    probe_alone.try_delete,
    probe_together.try_delete_in_transaction,
)


class Trial:
    """One run of the probe."""

    def __init__(self, bench: Bench, report: Callable[[Verdict], None]) -> None:
        self._bench = bench
        self._report = report
        self._verdicts: dict[str, Verdict] = {}
        self._failures: list[str] = []

    async def run(self) -> tuple[Verdict, ...]:
        """All verdicts, in the order of the dialect's lines."""
        try:
            if await self._tried_create():
                for trial in TRIALS:
                    await self._tried(trial)
            self._look_back()
        finally:
            await self._clean_up()
        untried = "; ".join(self._failures) or "nothing can be created here"
        for line in PROBED:
            if line not in self._verdicts:
                self._say(line, holds=False, detail=f"{NOT_TRIED}; {untried}")
        return tuple(self._beside_its_dialect(self._verdicts[line]) for line in PROBED)

    def _beside_its_dialect(self, verdict: Verdict) -> Verdict:
        """With a word where the dialect has it otherwise: the product changed, or is another."""
        says = self._bench.dialect.says(verdict.line)
        if says is None or says == verdict.holds:
            return verdict
        word = "holds" if says else "does not hold"
        detail = f"{verdict.detail}; its dialect says that it {word}"
        return Verdict(line=verdict.line, holds=verdict.holds, detail=detail)

    async def _tried_create(self) -> bool:
        try:
            return await probe_alone.try_create(self._bench, self._say)
        except OutcomeUnknown as error:
            self._failures.append(f"create: {error.operator_detail}")
            return True  # the next one may be answered

    async def _tried(self, trial: Callable[[Bench, Say], Awaitable[None]]) -> None:
        try:
            await trial(self._bench, self._say)
        except (OutcomeUnknown, ReadRefused) as error:
            # A 5xx to one kind of write, or a search that is refused, says that this does
            # not work here, no more.
            self._failures.append(f"{trial.__name__[4:]}: {error.operator_detail}")

    def _look_back(self) -> None:
        """What was learnt in passing: about ETags, waits and clocks."""
        bench = self._bench
        seen = ", ".join(f"{kind}: {count}" for kind, count in sorted(bench.etags.items()))
        weak = bench.etags["weak"] > 0 and not bench.etags["strong"]
        self._say("etag_weak", holds=weak, detail=f"seen {seen}" if seen else "no ETag was seen")
        throttle = bench.link.throttle
        waits = f"{throttle.refusals_told} of {throttle.refusals} said for how long"
        self._say(
            "wait_told",
            holds=throttle.refusals == throttle.refusals_told,
            detail=f"429s: {waits}" if throttle.refusals else "no 429 was seen",
        )
        if not bench.skews_s:
            self._say("clock_agrees", holds=False, detail="no Date header was seen")
            return
        skew_s = min(bench.skews_s, key=abs)
        self._say(
            "clock_agrees",
            holds=abs(skew_s) <= SKEW_MAX_S,
            detail=f"its clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} ours",
        )

    async def _clean_up(self) -> None:
        bench = self._bench
        if bench.marks_lost:
            await self._find_lost()
        stand_in = bench.dialect.stand_ins.get(bench.sample.kind)
        for reference in bench.made:
            try:
                copy = await bench.seen(reference, at_once=True)
                if copy is None:
                    continue
                with suppress(OutcomeUnknown):
                    answer = await bench.delete(reference, None)
                    if answer.status in NEEDS_IF_MATCH:
                        await bench.delete(reference, copy.version)
                copy = await bench.seen(reference, at_once=True)
                if copy is not None and stand_in is not None:
                    resource = {**orjson.loads(copy.body), stand_in[0]: stand_in[1]}
                    await bench.put_as_is(reference, copy.version, resource)
            except ChartgateError:
                continue  # it is marked as a probe; the next thing may still be removed

    async def _find_lost(self) -> None:
        """Adds what was made while its answer got lost."""
        for mark in self._bench.marks():
            try:
                found = await self._bench.found(mark, at_once=True)
            except ChartgateError:
                continue  # as above
            made = self._bench.made
            made.extend(reference for reference in found if reference not in made)

    def _say(self, line: str, *, holds: bool, detail: str) -> None:
        known = self._verdicts.get(line)
        if known is not None and (holds or not known.holds):
            return  # what failed once does not hold, and what held is told once
        verdict = Verdict(line=line, holds=holds, detail=detail)
        self._verdicts[line] = verdict
        self._report(verdict)
