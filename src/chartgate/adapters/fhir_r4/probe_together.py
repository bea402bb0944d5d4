"""Trials of several changes in one request: transactions and batches."""

from uuid import uuid4

import orjson

from chartgate.adapters.fhir_r4.link import Answer
from chartgate.adapters.fhir_r4.probe_alone import Say
from chartgate.adapters.fhir_r4.probe_bench import Bench


async def try_transaction(bench: Bench, say: Say) -> None:
    """Two updates that are good; then one that is good beside one that is stale."""
    left, right = await bench.make(), await bench.make()
    good = await bench.bundle(
        "transaction",
        bench.put_entry(left, left.version, "tx-good"),
        bench.put_entry(right, right.version, "tx-good"),
    )
    lefts, rights = await bench.seen(left.reference), await bench.seen(right.reference)
    said = (bench.text_of(lefts), bench.text_of(rights))
    if good.status != 200 or said != ("tx-good",) * 2 or lefts is None:
        detail = f"two good updates: HTTP {good.status}"
        say("transaction_atomic", holds=False, detail=detail)
        say("if_match_in_transaction", holds=False, detail=detail)
        return
    stale = await bench.bundle(
        "transaction",
        bench.put_entry(lefts, lefts.version, "tx-stale"),
        bench.put_entry(right, right.version, "tx-stale"),
    )
    lefts, rights = await bench.seen(left.reference), await bench.seen(right.reference)
    minded = bench.text_of(rights) == "tx-good" and _refused(stale, 1)
    whole = bench.text_of(lefts) == "tx-good"
    say("if_match_in_transaction", holds=minded, detail=f"HTTP {stale.status}")
    say(
        "transaction_atomic",
        holds=minded and whole and stale.status >= 400,
        detail=f"HTTP {stale.status}; the good entry was held back too: {whole}",
    )


async def try_create_in_transaction(bench: Bench, say: Say) -> None:
    """A create whose mark is there already, beside an update."""
    mark = bench.mark()
    bench.note_made(await bench.create(mark))
    entry = {
        "fullUrl": uuid4().urn,
        "resource": bench.resource("tx-create", mark),
        "request": {
            "method": "POST",
            "url": bench.sample.kind,
            "ifNoneExist": bench.criteria(mark),
        },
    }
    other = await bench.make()
    answer = await bench.bundle(
        "transaction", entry, bench.put_entry(other, other.version, "tx-beside")
    )
    matching = await bench.found(mark)
    bench.made.extend(reference for reference in matching if reference not in bench.made)
    say(
        "if_none_exist_in_transaction",
        holds=answer.status == 200 and len(matching) == 1,
        detail=f"HTTP {answer.status}; matches: {len(matching)}",
    )


async def try_patch_in_transaction(bench: Bench, say: Say) -> None:
    """A guarded patch beside an update; then the same patch, stale."""
    left, right = await bench.make(), await bench.make()
    good = await bench.bundle(
        "transaction",
        bench.patch_entry(left, left.version, "txp-good"),
        bench.put_entry(right, right.version, "txp"),
    )
    after = bench.text_of(await bench.seen(left.reference))
    worked = good.status == 200 and after == "txp-good"
    beside = await bench.seen(right.reference)
    stale = await bench.bundle(
        "transaction",
        bench.patch_entry(left, left.version, "txp-stale"),
        bench.put_entry(right, beside.version if beside else "", "txp-beside"),
    )
    refused = bench.text_of(await bench.seen(left.reference)) == "txp-good"
    say(
        "patch_in_transaction",
        holds=worked and refused and _refused(stale, 0),
        detail=f"good: HTTP {good.status}; stale: HTTP {stale.status}, refused: {refused}",
    )


async def try_delete_in_transaction(bench: Bench, say: Say) -> None:
    """A stale delete beside an update; then a good one."""
    left, right = await bench.make(), await bench.make()
    await bench.put(left, left.version, "txd")
    stale = await bench.bundle(
        "transaction",
        bench.delete_entry(left, left.version),
        bench.put_entry(right, right.version, "txd"),
    )
    kept = await bench.seen(left.reference)
    beside = await bench.seen(right.reference)
    good = await bench.bundle(
        "transaction",
        bench.delete_entry(left, kept.version if kept else ""),
        bench.put_entry(right, beside.version if beside else "", "txd-good"),
    )
    gone = await bench.seen(left.reference) is None
    say(
        "delete_in_transaction",
        holds=kept is not None and _refused(stale, 0) and good.status == 200 and gone,
        detail=f"stale: HTTP {stale.status}; good: HTTP {good.status}",
    )


async def try_batch(bench: Bench, say: Say) -> None:
    """A good update and a stale one in one batch: each is answered by itself."""
    left, right = await bench.make(), await bench.make()
    await bench.put(right, right.version, "batch-before")
    answer = await bench.bundle(
        "batch",
        bench.put_entry(left, left.version, "batch"),
        bench.put_entry(right, right.version, "batch"),
    )
    good = bench.text_of(await bench.seen(left.reference)) == "batch"
    refused = bench.text_of(await bench.seen(right.reference)) == "batch-before"
    say(
        "if_match_in_batch",
        holds=answer.status == 200 and good and refused,
        detail=f"HTTP {answer.status}; good applied: {good}; stale refused: {refused}",
    )


def _refused(answer: Answer, position: int) -> bool:
    """Whether an entry was refused, with all of it or by itself."""
    if answer.status >= 400:
        return True
    try:
        status = str(orjson.loads(answer.body)["entry"][position]["response"]["status"])
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return False
    return not status.startswith("2")
