"""The change feed alone was refused: with a halting code the company halted and resumed in turn; for one kind nothing was seen.

Whoever is refused is named and asked for again; what is answered is read, and posting goes on.
"""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bookrelay.errors import HaltError
from qbo_writer.domain import AccessToken, BooksEntity, Deleted, LookupFailed
from qbo_writer.halving import READS_MOST
from qbo_writer.protocol import feed_refusals, sweeping
from qbo_writer.quickbooks import faults
from qbo_writer.quickbooks.mapping import DOCUMENTS, LISTS
from qbo_writer.quickbooks.transport import ReadRefused
from qbo_writer.reporting import gathering
from qbo_writer.reporting.problem import Problem
from test_posting_operators import ours
from test_sweeping import copied
from test_unpaying import paid, policy
from writer_support import Desk, QboSandbox, bill, desk, invoice

ENTITIES = (*DOCUMENTS, *LISTS)
pytestmark = pytest.mark.postgres
WORDS = "Feature Not Supported Error"


def refusal(code: str) -> HaltError | LookupFailed:
    """What the client raises."""
    body = f'{{"Fault": {{"Error": [{{"Message": "{WORDS}", "Detail": "", "code": "{code}"}}], "type": "ValidationFault"}}}}'
    answer = faults.classify(400, {}, body, None)
    error = ReadRefused(answer)
    if not answer.halt:
        return error
    halt = HaltError(answer.reason, answer.fix, answer.code)
    halt.__cause__ = error
    return halt


def refuse(d: Desk, code: str, refused: set[str]) -> list[Sequence[str]]:
    """The feed is refused where one of these is asked for; return what is asked for, one entry for each call."""
    books, asked = d.writer.posters[d.realm].parts.books, list[Sequence[str]]()
    changes = books.changes

    async def some(realm: str, entities: Sequence[str], since: datetime, token: AccessToken) -> list[BooksEntity | Deleted]:
        asked.append(entities)
        if refused & set(entities):
            raise refusal(code)
        return await changes(realm, entities, since, token)

    books.changes = some  # type: ignore[method-assign]
    return asked


async def read(d: Desk) -> None:
    """Read the feed once more."""
    feeder, runs = d.writer.posters[d.realm].feeder, "SELECT feed_position FROM qbo_writer.realms"
    before = await d.pool.fetchval(runs)
    feeder._next = 0
    d.writer.wake([d.realm])

    async def done() -> bool:
        return not feeder.busy and bool(await d.pool.fetchval(runs) != before)

    await d.until(done)


async def kept(d: Desk) -> dict[str, feed_refusals.Refusal]:
    return feed_refusals.of(await d.pool.fetchval("SELECT feed_refusals FROM qbo_writer.realms"))


async def it_is_time(d: Desk) -> None:
    """What is refused is due again."""
    due = {e: {**one, "again_at": datetime.now(UTC).isoformat()} for e, one in feed_refusals.plain(await kept(d)).items()}
    await d.pool.execute("UPDATE qbo_writer.realms SET feed_refusals = $1", due)


async def problems(d: Desk) -> list[dict[str, Any]]:
    return [problem.plain() for problem in await gathering.problems(d.pool, d.settings)]


def halts(events: list[dict[str, Any]]) -> list[str]:
    return [e["type"] for e in events if ".realm." in e["type"]]


@pytest.mark.parametrize("code", ["5030", "2010", "610", "5020"])
async def test_one_kind_is_refused_and_the_others_are_read(database_url: str, sandbox: QboSandbox, code: str) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        refused = {"Bill"}
        asked = refuse(d, code, refused)
        qbo_id = await d.pool.fetchval("SELECT qbo_id FROM qbo_writer.documents WHERE source_key = 'Q-1'")
        sandbox.person(d.realm, "edit", "Invoice", qbo_id, TxnDate="2026-10-01")
        await read(d)
        assert await d.pool.fetchval("SELECT diverged FROM qbo_writer.documents WHERE source_key = 'Q-1'")
        assert len(asked) <= 10, "halves"
        (problem,) = await problems(d)
        assert problem["what"] == "feed_stuck"
        assert "is refused for Bill: Feature Not Supported Error (HTTP 400" in problem["reason"]
        assert problem["fix"]
        asked.clear()
        await read(d)
        await read(d)
        assert [set(call) for call in asked] == [set(ENTITIES) - refused] * 2, "it is not asked for again so soon"
        asked.clear()
        await it_is_time(d)
        await read(d)
        assert [set(call) for call in asked] == [set(ENTITIES) - refused, refused], "by itself"
        one = (await kept(d))["Bill"]
        assert one.times == 2
        assert one.again_at - datetime.now(UTC) > timedelta(seconds=100), "pauses grow"
        await d.tell(invoice(d.realm, "Q-2"))
        assert (await d.until_ended())["Q-2", 1] == "posted"
        assert halts(await d.events()) == []
        made = sandbox.control("POST", "entities", {"realm": d.realm, "entities": {"Bill": [
            {"VendorRef": {"value": sandbox.books(d.realm, "Vendor")[0]["Id"]}, "Line": [
                {"Amount": 5, "DetailType": "AccountBasedExpenseLineDetail",
                 "AccountBasedExpenseLineDetail": {"AccountRef": {"value": "20"}}}]}
        ]}})["created"]["Bill"]  # fmt: skip
        refused.clear()
        await it_is_time(d)
        await read(d)
        assert await kept(d) == {}
        assert await problems(d) == []
        told = await d.pool.fetch("SELECT value FROM qbo_writer.outbox WHERE topic = 'books.changes.v1'")
        assert made[0] in {json.loads(row["value"])["data"]["entity_id"] for row in told}


@pytest.mark.parametrize("code", ["5020", "6190"])
async def test_a_halting_code_on_the_feed_alone_halts_nobody(database_url: str, sandbox: QboSandbox, code: str) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        asked = refuse(d, code, set(ENTITIES))
        await read(d)
        assert len(asked) <= READS_MOST
        assert set(await kept(d)) == set(ENTITIES)
        asked.clear()
        for number in range(5):
            await d.tell(invoice(d.realm, f"N-{number}"))
            await read(d)
        assert asked == [], "not before its pause is over"
        await it_is_time(d)
        await read(d)
        assert len(asked) == 1, "where everything is refused, one is asked"
        assert set((await d.until_ended()).values()) == {"posted"}
        assert halts(await d.events()) == []
        (problem,) = await problems(d)
        assert problem["what"] == "feed_stuck"
        assert WORDS in problem["reason"]
        assert not await d.pool.fetchval("SELECT halted_code FROM qbo_writer.realms")


async def test_the_same_code_on_a_harmless_read_halts_the_company(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        sandbox.fault(fault="fault", code="5020", status=400, match={"realm": d.realm})
        d.writer.posters[d.realm].feeder._next = 0
        d.writer.wake([d.realm])

        async def halted() -> bool:
            return bool(await d.pool.fetchval("SELECT halted_code IS NOT NULL FROM qbo_writer.realms"))

        await d.until(halted)
        assert halts(await d.events()) == ["bookrelay.realm.halted.v1"]
        assert await kept(d) == {}


@pytest.mark.parametrize("code", ["5020", "4000"])
async def test_a_kind_that_the_sweep_is_refused_for_stops_neither_company_nor_sweep(
    database_url: str, sandbox: QboSandbox, code: str
) -> None:
    """It made the whole sweep fail, told in the log only; what else was wrong in the books was never noticed."""
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"), bill(d.realm, "B-1"))
        await d.until_ended()
        poster = d.writer.posters[d.realm]
        created = poster.parts.books.created

        async def refused(realm: str, entity: str, *arguments: Any) -> Any:
            if entity == "Bill":
                raise refusal(code)
            return await created(realm, entity, *arguments)

        poster.parts.books.created = refused  # type: ignore[method-assign]
        for entity in ("Bill", "Invoice"):
            (document,) = sandbox.books(d.realm, entity)
            sandbox.person(d.realm, "delete", entity, document["Id"])
        assert await sweep(d) == [("missing", "Invoice")]
        assert halts(await d.events()) == []
        (problem,) = await sweep_refused(d)
        assert problem.reason.startswith(f"The daily comparison of company {d.realm} is refused for Bill: ")
        assert problem.fix
        assert await sweep(d) == []
        (again,) = await sweep_refused(d)
        assert (again.details["times"], again.since) == (2, problem.since)
        poster.parts.books.created = created  # type: ignore[method-assign]
        assert await sweep(d) == [("missing", "Bill")]
        assert await sweep_refused(d) == []


async def sweep_refused(d: Desk) -> list[Problem]:
    return [p for p in await gathering.problems(d.pool, d.settings) if p.what == "sweep_refused"]


async def sweep(d: Desk) -> list[tuple[str, str]]:
    """Compare once."""
    poster = d.writer.posters[d.realm]
    assert poster.tenure is not None
    token = await poster.parts.tokens.current(d.realm, poster.tenure.fencing_token)
    await d.pool.execute("UPDATE qbo_writer.documents SET updated_at = updated_at - interval '1 hour'")
    return [(one.what, one.entity) for one in await poster.sweeper.sweep(poster.tenure, token)]


def refuse_reads(d: Desk, code: str, entity: str) -> set[str]:
    """Reading one kind by its Id is refused as long as what is returned is not emptied."""
    books, refused = d.writer.posters[d.realm].parts.books, {entity}
    read = books.read

    async def some(realm: str, entity: str, qbo_id: str, token: AccessToken) -> BooksEntity | None:
        if entity in refused:
            raise refusal(code)
        return await read(realm, entity, qbo_id, token)

    books.read = some  # type: ignore[method-assign]
    return refused


@pytest.mark.parametrize("code", ["5020", "4000"])
async def test_what_was_found_before_cannot_be_read_and_the_rest_is_compared(
    database_url: str, sandbox: QboSandbox, code: str
) -> None:
    """It ended each sweep with a log line: nothing else was compared any more."""
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"), bill(d.realm, "B-1"))
        await d.until_ended()
        d.writer.posters[d.realm].feeder._next = math.inf
        copy = copied(d, await d.pool.fetchval("SELECT qbo_id FROM qbo_writer.documents WHERE source_key = 'Q-1'"))
        assert await sweep(d) == [("double", "Invoice")]
        sandbox.person(d.realm, "edit", "Invoice", copy, PrivateNote="")
        sandbox.person(d.realm, "delete", "Bill", sandbox.books(d.realm, "Bill")[0]["Id"])
        refused = refuse_reads(d, code, "Invoice")
        assert await sweep(d) == [("missing", "Bill")]
        (problem,) = await sweep_refused(d)
        assert problem.reason.startswith(f"The daily comparison of company {d.realm} is refused for Invoice: {WORDS}")
        assert halts(await d.events()) == []
        assert {one.what for one in await d.writer.ledger.sweeps.discrepancies(d.realm)} == {"double", "missing"}
        refused.clear()
        assert await sweep(d) == []
        assert await sweep_refused(d) == []
        assert {one.what for one in await d.writer.ledger.sweeps.discrepancies(d.realm)} == {"missing"}


async def test_the_bill_of_a_payment_that_is_gone_cannot_be_read(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(database_url, sandbox, **policy(tmp_path)) as d:
        await paid(d)
        d.writer.posters[d.realm].feeder._next = math.inf
        for entity in ("BillPayment", "Bill"):
            sandbox.person(d.realm, "delete", entity, ours(sandbox, d.realm, entity)[0]["Id"])
        monkeypatch.setattr(sweeping, "PARTS", datetime.now(UTC).toordinal())  # of the older ones none is due today
        await d.pool.execute("UPDATE qbo_writer.documents SET created_at = now() - interval '90 days' WHERE kind = 'bill'")
        refused = refuse_reads(d, "4000", "Bill")
        assert await sweep(d) == [("missing", "BillPayment")]
        (problem,) = await sweep_refused(d)
        assert "is refused for Bill: " in problem.reason
        refused.clear()
        await sweep(d)
        assert await sweep_refused(d) == []


async def test_a_comparison_that_never_gets_an_answer_is_told(database_url: str, sandbox: QboSandbox) -> None:
    """It was a log line every 15 minutes, and `status` was clean."""
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        poster = d.writer.posters[d.realm]

        async def no_answer(*_: Any) -> Any:
            raise LookupFailed("the connection was reset")

        created, poster.parts.books.created = poster.parts.books.created, no_answer  # type: ignore[method-assign]

        async def compared() -> list[str]:
            assert poster.tenure is not None
            token = await poster.parts.tokens.current(d.realm, poster.tenure.fencing_token)
            await poster.sweeper.run(poster.tenure, token)
            return [p.reason for p in await gathering.problems(d.pool, d.settings) if p.what == "sweep_late"]

        await d.pool.execute(
            "UPDATE qbo_writer.realms SET swept_at = now() - make_interval(secs => $1)", d.settings.sweep_seconds
        )
        assert await compared() == [], "it has only begun to fail"
        await d.pool.execute("UPDATE qbo_writer.realms SET swept_at = swept_at - interval '3 hours'")
        (reason,) = await compared()
        assert reason.startswith(f"The daily comparison of company {d.realm} is late: it was last done ")
        poster.parts.books.created = created  # type: ignore[method-assign]
        assert await compared() == []
