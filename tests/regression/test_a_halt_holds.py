"""A lasting refusal of the company: 53 token renewals a minute, halted and resumed in turn, 30 documents rejected."""

import asyncio

import pytest
from bookrelay.errors import HaltError
from qbo_writer.quickbooks.oauth_client import TokenPair
from qbo_writer.writer import Writer
from writer_support import Desk, QboSandbox, bill, desk, invoice, running

pytestmark = [pytest.mark.postgres]
MINUTES = 10 * 60


async def pass_the_time(d: Desk, seconds: float) -> None:
    """Move the clock that halts live on, a second at a time; between, whatever was begun comes to its end."""
    poster = d.writer.posters[d.realm]
    began = now = poster.halts.clock()
    poster.halts.clock = lambda: now
    while now < began + seconds:
        now += 1.0
        poster.wake()
        await asyncio.sleep(0.002)  # the loop's turn
        async with asyncio.timeout(60):
            while poster.sender.flying():  # noqa: ASYNC110
                await asyncio.sleep(0.002)


REFUSALS = [
    {"fault": "fault", "code": "120", "status": 401, "format": "json"},  # Q1
    {"fault": "fault", "code": "3100", "status": 403},  # Q2
    {"fault": "fault", "code": "3100", "status": 400},
    {"fault": "fault", "code": "5020", "status": 400},  # Q9
    {"fault": "fault", "code": "6190", "status": 200},
    {"fault": "fault", "code": "3201", "status": 503},
    {"fault": "unauthorized"},  # also with a fresh token
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: "-".join(str(v) for v in r.values()))
async def test_ten_minutes_with_500_documents_due_cost_fifteen_calls_and_two_token_requests(
    database_url: str, sandbox: QboSandbox, refusal: dict[str, object]
) -> None:
    async with desk(database_url, sandbox, run=False, pace_requests_per_second=10) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        async with running(d.writer):
            await d.until_ended()
            sandbox.fault(**refusal, match={"realm": d.realm})
            before = len(sandbox.requests(d.realm))
            refreshes = sandbox.control("GET", "counters")["token_refreshes"]
            await d.tell(*(invoice(d.realm, f"Q-{number}") for number in range(1, 501)))

            async def halted() -> bool:
                return bool(await d.pool.fetchval("SELECT halted_code IS NOT NULL FROM qbo_writer.realms"))

            await d.until(halted)
            await pass_the_time(d, MINUTES)
            calls = len(sandbox.requests(d.realm)) - before
            renewed = sandbox.control("GET", "counters")["token_refreshes"] - refreshes
            assert (calls <= 15, renewed <= 2) == (True, True), (calls, renewed)
            told = [e["type"] for e in await d.events() if ".realm." in e["type"]]
            assert told == ["bookrelay.realm.halted.v1"]
            states = await d.states()
            assert sum(state == "due" for state in states.values()) == 500, "nothing is rejected for what is not its fault"
            sandbox.control("DELETE", "faults")
            await pass_the_time(d, 301)
            assert set((await d.until_ended(120)).values()) == {"posted"}
            told = [e["type"] for e in await d.events() if ".realm." in e["type"]]
            assert told == ["bookrelay.realm.halted.v1", "bookrelay.realm.resumed.v1"]
        numbers = [b["DocNumber"] for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert len(numbers) == len(set(numbers)) == 501


async def test_a_company_that_serves_the_trial_alone_is_tried_more_and_more_seldom(
    database_url: str, sandbox: QboSandbox
) -> None:
    """Only items of batches were refused: each trial, a single, ended the halt, and the next batch began one, every 5 s."""
    async with desk(database_url, sandbox, run=False, batch_threshold=5) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        async with running(d.writer):
            await d.until_ended()
            sandbox.fault(fault="item_fault", code="6190", match={"realm": d.realm})
            await d.tell(*(invoice(d.realm, f"Q-{number}") for number in range(1, 200)))
            await d.until(lambda: halted(d))
            await pass_the_time(d, MINUTES)
            told = [e["type"].split(".")[2] for e in await d.events() if ".realm." in e["type"]]
            assert 3 <= told.count("halted") <= 5
            assert sum(state == "due" for state in (await d.states()).values()) >= 100


@pytest.mark.parametrize("code", ["5020", "6190", "120", "3201"])
async def test_a_halting_code_on_batch_items_rejects_nobody(database_url: str, sandbox: QboSandbox, code: str) -> None:
    """Q3."""
    async with desk(database_url, sandbox, batch_threshold=5) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        sandbox.fault(fault="item_fault", code=code, count=30, match={"realm": d.realm})
        await d.tell(*(invoice(d.realm, f"Q-{number}") for number in range(1, 61)))

        async def halted() -> bool:
            return any(e["type"] == "bookrelay.realm.halted.v1" for e in await d.events())

        await d.until(halted)
        assert not [e for e in await d.events() if e["type"] in ("bookrelay.document.rejected.v1", "bookrelay.document.held.v1")]
        sandbox.control("DELETE", "faults")
        assert set((await d.until_ended(120)).values()) == {"posted"}
        told = [e["type"] for e in await d.events() if ".realm." in e["type"]]
        assert told == ["bookrelay.realm.halted.v1", "bookrelay.realm.resumed.v1"]


@pytest.mark.parametrize(
    ("match", "code", "words"),
    [
        ({"path": "companyinfo"}, "2010", "Property Name"),  # Q10
        ({"path": "query", "entity": "Customer"}, "4000", "QueryParserError"),
    ],
)
async def test_a_read_that_is_refused_for_good_ends_held_with_quickbooks_words(
    database_url: str, sandbox: QboSandbox, match: dict[str, str], code: str, words: str
) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        rule = {"path": match["path"]}
        sandbox.fault(fault="fault", code=code, match={"realm": d.realm, **rule})
        await d.tell(invoice(d.realm, "Q-1"))

        async def soon() -> bool:
            await d.hurry()
            return "held" in (await d.states()).values()

        async with running(d.writer):
            await d.until(soon)
        reason = await d.pool.fetchval("SELECT reason FROM qbo_writer.commands WHERE state = 'held'")
        assert words in reason
        assert len(sandbox.requests(d.realm)) <= 20


async def halted(d: Desk) -> bool:
    """Whether the company is halted."""
    return bool(await d.pool.fetchval("SELECT halted_code IS NOT NULL FROM qbo_writer.realms"))


async def test_a_new_connection_is_taken_by_the_next_trial(database_url: str, sandbox: QboSandbox) -> None:
    """The running writer kept the refused token, or one lane only, until that token would have expired."""
    async with desk(database_url, sandbox, run=False) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        async with running(d.writer):
            await d.until_ended()
            sandbox.fault(fault="unauthorized", match={"realm": d.realm})
            await d.tell(*(invoice(d.realm, f"Q-{number}") for number in range(1, 20)))
            await d.until(lambda: halted(d))
            sandbox.control("DELETE", "faults")
            sandbox.control("POST", "tokens", {"realm": d.realm, "revoke": True})  # what the writer holds is worth nothing now
            fresh = sandbox.control("POST", "tokens", {"realm": d.realm, "new": True})
            pair = TokenPair(fresh["access_token"], 3600, fresh["refresh_token"], 100 * 86400)
            await Writer(d.settings, d.pool).tokens.connect(d.realm, pair)  # `qbo-writer auth login` is a process of its own
            await pass_the_time(d, 301)
            assert set((await d.until_ended(60)).values()) == {"posted"}
            assert not d.writer.tokens.unproven(d.realm), "all lanes are used again"


async def test_a_halt_that_meets_a_lost_lease_keeps_nothing_back(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        poster = d.writer.posters[d.realm]
        await d.writer.leases.step()
        await poster.step()
        await d.pool.execute(
            "UPDATE qbo_writer.leases SET fencing_token = fencing_token + 1, expires_at = now() - interval '1 s'"
        )
        await poster.halts.halt(poster.tenure, HaltError("cut off"))  # its commit finds that the lease is gone
        assert not await halted(d)
        await d.tell(invoice(d.realm, "Q-1"))
        async with running(d.writer):
            assert set((await d.until_ended(60)).values()) == {"posted"}


async def test_a_read_that_never_answers_ends_held_while_others_are_served(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-0"), bill(d.realm, "B-0", vendor="Supplies Ltd"))
        await d.until_ended()
        sandbox.fault(fault="server_error", match={"realm": d.realm, "path": "query"})
        # Only what names refuse is asked for: a vendor has this one.
        await d.tell(invoice(d.realm, "Q-poison", customer="Supplies Ltd"))
        told = 0

        async def ended() -> bool:
            nonlocal told
            told += 1
            await d.tell(invoice(d.realm, f"Q-{told}"))
            await d.hurry()
            return (await d.states()).get(("Q-poison", 1)) == "held"

        await d.until(ended, 60)
        states = await d.until_ended()
        assert {state for (key, _), state in states.items() if key != "Q-poison"} == {"posted"}


async def test_an_outage_of_the_reads_holds_nobody(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        sandbox.fault(fault="server_error", match={"realm": d.realm}, count=40)
        await d.tell(invoice(d.realm, "Q-1"))

        async def over() -> bool:
            d.writer.posters[d.realm].sender.health.paused_until = 0.0
            await d.hurry()
            assert "held" not in (await d.states()).values()
            return (await d.states()).get(("Q-1", 1)) == "posted"

        await d.until(over, 60)
