"""A portal or firewall answers everything after a restart: each document counted a failure of its own, and all were held."""

import pytest
from writer_support import Desk, QboSandbox, desk, invoice, numbered, running

pytestmark = pytest.mark.postgres

PORTALS = [
    {"fault": "html", "status": 200},
    {"fault": "html", "status": 403},
    {"fault": "fault", "code": "4000", "status": 400},
]


async def halts(d: Desk) -> list[str]:
    return [e["type"].split(".")[2] for e in await d.events() if ".realm." in e["type"]]


async def refused(d: Desk) -> bool:
    await d.hurry()
    assert "held" not in (await d.states()).values()
    return bool(await halts(d))


@pytest.mark.parametrize(
    ("portal", "documents", "warm"),
    [*((portal, n, False) for portal in PORTALS for n in (1, 40)), (PORTALS[0], 40, True), (PORTALS[1], 40, True)],
)
async def test_the_company_is_halted_and_no_document_is_held(
    database_url: str, sandbox: QboSandbox, portal: dict[str, object], documents: int, warm: bool
) -> None:
    """Fresh: what the company is was never read. Warm: every document has a new customer, who is looked for first."""
    async with desk(database_url, sandbox, run=False) as d:
        async with running(d.writer):
            if warm:
                await d.tell(invoice(d.realm, "Q-warm"))
                await d.until_ended()
            sandbox.fault(**portal, match={"realm": d.realm})
            calls = len(sandbox.requests(d.realm))
            await d.tell(*(invoice(d.realm, f"Q-{n}", customer=f"New {n}") for n in range(documents)))
            await d.until(lambda: refused(d), 60)
            assert await d.pool.fetchval("SELECT halted_code IS NOT NULL FROM qbo_writer.realms")
            failures = await d.pool.fetchval("SELECT max(failures) FROM qbo_writer.commands")
            poster = d.writer.posters[d.realm]
            for _ in range(12):  # trials, of which none counts against a document
                poster.halts._halt_try_at = 0.0
                await d.hurry()
                poster.wake()
                await d.until(lambda: tried(d))
            assert await d.pool.fetchval("SELECT max(failures) FROM qbo_writer.commands") == failures
            assert len(sandbox.requests(d.realm)) - calls < 300
            sandbox.control("DELETE", "faults")
            poster.halts._halt_try_at = 0.0
            await d.until(lambda: posted(d), 60)
            assert await halts(d) == ["halted", "resumed"]
        ours = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert len(ours) == documents + warm


async def posted(d: Desk) -> bool:
    await d.hurry()
    return set((await d.states()).values()) == {"posted"}


async def tried(d: Desk) -> bool:
    """Whether a trial was made: the time of the next one is set."""
    poster = d.writer.posters[d.realm]
    return poster.halts._halt_try_at > 0.0 and not poster.sender.flying()


async def test_refused_reads_of_some_documents_halt_nobody(database_url: str, sandbox: QboSandbox) -> None:
    """Documents whose numbers a firewall lets nobody ask for are held; a harmless read is served, and the others go on."""
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-warm"))
        await d.until_ended()
        sandbox.fault(fault="html", status=403, match={"realm": d.realm, "operation": "query"})
        await d.tell(*(numbered(invoice(d.realm, f"Q-{n}"), f"N-{n}") for n in range(12)), invoice(d.realm, "Q-known"))

        async def ended() -> bool:
            await d.hurry()
            return "due" not in (await d.states()).values()

        await d.until(ended, 60)
        states = await d.states()
        assert states.pop(("Q-known", 1)) == "posted"
        assert states.pop(("Q-warm", 1)) == "posted"
        assert set(states.values()) == {"held"}
        assert not await halts(d)
