"""QuickBooks' own words can name the party ("Required parameter for Maria Lindqvist is missing"): they went into the event."""

import pytest
from writer_support import QboSandbox, bill, desk, invoice

pytestmark = pytest.mark.postgres
NAME = "Lindqvist O'Maria Ångström"
DETAIL = "Customer Lindqvist O'Maria Ångström (LINDQVIST) has no Balance for Ångström; Ring the bank"


@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
@pytest.mark.parametrize("code", ["2020", "6000", "2050"])
async def test_no_event_row_or_line_names_the_party(
    database_url: str, sandbox: QboSandbox, capsys: pytest.CaptureFixture[str], code: str, batch: bool
) -> None:
    more = {"batch_threshold": 2} if batch else {}
    async with desk(database_url, sandbox, **more) as d:
        what = {"operation": "batch"} if batch else {"entity": "Invoice"}
        sandbox.fault(fault="fault", code=code, detail=DETAIL, match={"realm": d.realm, "method": "POST", **what})
        if batch:
            sandbox.fault(
                fault="fault", code=code, detail=DETAIL, match={"realm": d.realm, "method": "POST", "entity": "Invoice"}
            )
        await d.tell(*(invoice(d.realm, f"Q-{n}", customer=NAME) for n in range(3)))
        states = await d.until_ended()
        assert set(states.values()) <= {"held", "rejected"}
        kept = await d.pool.fetch("SELECT reason FROM qbo_writer.commands WHERE kind = 'invoice'")
        logged = await d.pool.fetch("SELECT answer::text, outcome FROM qbo_writer.attempts")
        told = [e["data"] for e in await d.events() if e["type"].startswith("bookrelay.document.")]
        assert all("Ring the bank" in row["reason"] for row in kept)  # QuickBooks' words, for who has to mend it
        everything = f"{kept} {logged} {told} {capsys.readouterr()}".casefold()
        assert not [word for word in ("lindqvist", "maria", "ångström", "angstrom") if word in everything]


async def test_a_refused_query_does_not_show_the_name_that_was_asked_for(
    database_url: str, sandbox: QboSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(bill(d.realm, "B-1", vendor=NAME))
        await d.until_ended()
        detail = f"QueryParserError: unexpected token near '{NAME}' in Lindqvist"
        sandbox.fault(fault="fault", code="4000", detail=detail, match={"realm": d.realm, "operation": "query"})
        await d.tell(invoice(d.realm, "Q-1", customer=NAME))  # a vendor has the name: it is asked for by itself

        async def ended() -> bool:
            await d.hurry()
            return (await d.states()).get(("Q-1", 1)) == "held"

        await d.until(ended)
        kept = await d.pool.fetch("SELECT reason FROM qbo_writer.commands WHERE kind = 'invoice'")
        told = [e["data"] for e in await d.events() if e["type"].startswith("bookrelay.document.")]
        everything = f"{kept} {told} {capsys.readouterr()}".casefold()
        assert "unexpected token" in everything
        assert "lindqvist" not in everything
