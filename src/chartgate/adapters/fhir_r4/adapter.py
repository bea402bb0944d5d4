"""FHIR R4 as Source, Sink and Probe: the parts of this folder, put together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from chartgate.adapters.egress import AddressRules, open_checked_session
from chartgate.adapters.fhir_r4 import compensate, resolver
from chartgate.adapters.fhir_r4.auth import BackendServices, load_key
from chartgate.adapters.fhir_r4.breaker import Breaker
from chartgate.adapters.fhir_r4.compare import differing_paths, patched, undone_operations
from chartgate.adapters.fhir_r4.dialect import Dialect, Habits, load_dialect
from chartgate.adapters.fhir_r4.link import Link
from chartgate.adapters.fhir_r4.options import FhirOptions, parse_options
from chartgate.adapters.fhir_r4.preconditions import goes_apart, write_rights
from chartgate.adapters.fhir_r4.probe import Trial
from chartgate.adapters.fhir_r4.probe_bench import Bench, Sample, check_sample
from chartgate.adapters.fhir_r4.reader import Reader
from chartgate.adapters.fhir_r4.writer import Writer
from chartgate.clock import Clock
from chartgate.config import ConnectionConfig
from chartgate.errors import ConfigError
from chartgate.model.ports import Criteria, LastLook
from chartgate.model.resource import Copy, NotModified, SearchPage
from chartgate.model.verdict import Verdict, Verdicts, WriteRight
from chartgate.model.write import Change, Receipt, Write


class FhirR4:
    """One FHIR R4 server."""

    def __init__(
        self,
        link: Link,
        options: FhirOptions,
        *,
        dialect: Dialect,
        verdicts: Verdicts,
        clock: Clock,
        sample: Sample | None = None,
    ) -> None:
        by_post = dialect.setting("search_by_post") is True
        self._link = link
        self._habits = Habits(dialect, verdicts)
        self._clock = clock
        self._sample = sample or Sample()
        self._reader = Reader(link, options, search_by_post=by_post)
        self._writer = Writer(link, self._reader, depth_max=options.json_depth_max, clock=clock)

    @property
    def stand_ins(self) -> Mapping[str, tuple[str, str]]:
        """As Cancels.stand_ins."""
        return self._habits.dialect.stand_ins

    @property
    def breaker(self) -> Breaker:
        """The circuit breaker of this connection; its `state` is shown to operators."""
        return self._link.breaker

    async def read(self, reference: str, *, if_none_match: str | None = None) -> Copy | NotModified:
        """As Source.read. Unconditional where 304 was found to say nothing."""
        known = None if self._habits.fails("unmodified_is_true") else if_none_match
        strong = self._habits.strong_etags
        return await self._reader.read(reference, if_none_match=known, strong=strong)

    async def search(self, resource_type: str, criteria: Criteria, *, count_max: int) -> SearchPage:
        """As Source.search. By GET, unless the dialect keeps values out of URLs by POST."""
        return await self._reader.search(resource_type, criteria, count_max=count_max)

    async def history(self, reference: str, *, count_max: int) -> tuple[Copy, ...]:
        """As Source.history."""
        return await self._reader.history(reference, count_max=count_max)

    async def commit(self, write: Write, *, last_look: LastLook | None = None) -> Receipt:
        """As Sink.commit. Off until a probe has shown the preconditions that `write` needs."""
        return await self._writer.commit(write, self._habits, last_look=last_look)

    def goes_apart(self, write: Write) -> bool:
        """As Stepwise.goes_apart."""
        return goes_apart(write, self._habits)

    async def resolve(self, write: Write) -> Receipt | None:
        """As Sink.resolve."""
        return await resolver.resolve(self._reader, write, self._habits, self._clock)

    async def compensation(self, write: Write, receipt: Receipt, before: Sequence[Copy]) -> Write:
        """As Sink.compensation."""
        return compensate.compensation(write, receipt, before, self._habits)

    def differences(
        self, write: Write, receipt: Receipt, after: Sequence[Copy], before: Sequence[Copy] = ()
    ) -> list[str]:
        """As Sink.differences; paths are led by their reference: "Slot/12 status"."""
        standing = {copy.reference: copy for copy in after}
        preimages = {copy.reference: copy for copy in before}
        found: list[str] = []
        for change, effect in zip(write.changes, receipt.effects, strict=True):
            copy = standing.get(effect.reference)
            paths = self._changed_paths(change, copy, preimages.get(effect.reference))
            found.extend(f"{effect.reference} {path}" for path in paths)
        return found

    async def probe(self, report: Callable[[Verdict], None]) -> tuple[Verdict, ...]:
        """As Probe.probe. Writes although writes are off, to resources of its own alone."""
        bench = Bench(self._link, self._reader, dialect=self._habits.dialect, sample=self._sample)
        return await Trial(bench, report).run()

    def write_rights(self) -> tuple[WriteRight, ...]:
        """As Rights.write_rights."""
        return write_rights(self._link.name, self._habits)

    def adopt(self, verdicts: Verdicts) -> None:
        """As Probe.adopt."""
        self._habits = Habits(self._habits.dialect, verdicts)

    def _changed_paths(
        self, change: Change, copy: Copy | None, before: Copy | None
    ) -> Iterator[str]:
        if change.interaction == "delete":
            yield from () if copy is None else ("still there",)
            return
        if copy is None:
            yield "not there"
            return
        actual = orjson.loads(copy.body)
        expected = change.resource
        if expected is None and before is not None:
            expected = patched(orjson.loads(before.body), change.patch)
        if expected is None:
            yield from undone_operations(actual, change.patch)
        else:
            ignored = self._habits.dialect.ignored(change.resource_type)
            yield from differing_paths(expected, actual, ignored)


@asynccontextmanager
async def open_adapter(
    connection: ConnectionConfig,
    *,
    folder: Path,
    clock: Clock,
    verdicts: Verdicts,
    egress: AddressRules,
) -> AsyncIterator[FhirR4]:
    """Opens [connections.NAME]; sends nothing yet. Raises ConfigError."""
    options = parse_options(connection)
    dialect = load_dialect(options.dialect).ignoring(options.changes_on_save.split())
    name = connection.name
    sample = load_sample(options, folder=folder, connection=name)
    key = None
    if options.client_id:
        path = folder / options.key_file
        key = load_key(path, algorithm=options.key_alg, connection=name)
    async with open_checked_session(
        egress,
        allow=filter(None, (options.url, options.token_url)),
        timeout_s=options.timeout_s,
        connect_timeout_s=options.connect_timeout_s,
        ca_file=folder / options.ca_file if options.ca_file else None,
        connections_max=options.concurrency_max + 1,  # one for the token endpoint
    ) as session:
        auth = None
        if key is not None:
            scope = options.scope or str(dialect.setting("scope"))
            auth = BackendServices(session, options, name=name, key=key, scope=scope, clock=clock)
        monotonic = asyncio.get_running_loop().time
        link = Link(session, options, name=name, auth=auth, clock=clock, monotonic=monotonic)
        yield FhirR4(link, options, dialect=dialect, verdicts=verdicts, clock=clock, sample=sample)


def load_sample(options: FhirOptions, *, folder: Path, connection: str) -> Sample:
    """What the probe is to make copies of. Raises ConfigError."""
    if not options.probe_file:
        return Sample()
    where = f"[connections.{connection}] probe_file"
    try:
        resource = orjson.loads((folder / options.probe_file).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(
            f"{where}: {options.probe_file} cannot be read as JSON", operator_detail=str(error)
        ) from None
    if not isinstance(resource, dict):
        raise ConfigError(f"{where}: {options.probe_file} must hold one FHIR resource")
    sample = Sample(resource=resource, pointer=options.probe_text)
    fault = check_sample(sample)
    if fault:
        raise ConfigError(f"{where}: {options.probe_file} cannot be probed with: {fault}")
    return sample
