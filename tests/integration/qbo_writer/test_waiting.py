"""What a document needs in QuickBooks or in the policy is not there: it waits, says so once, and goes on when it is."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from bookrelay.messages import InvoiceLine
from qbo_writer.ledger import operating
from qbo_writer.policy import Policy
from writer_support import Desk, QboSandbox, desk, invoice

pytestmark = pytest.mark.postgres


def surgery(d: Desk, key: str, version: int = 1, item: str = "Surgery") -> Any:
    asked = invoice(d.realm, key, version)
    line = InvoiceLine(item=item, description="Treatment", amount=asked.data.content.lines[0].amount)
    content = asked.data.content.model_copy(update={"lines": (line,)})
    return asked.model_copy(update={"data": asked.data.model_copy(update={"content": content})})


def strict(d: Desk) -> None:
    """Items that are neither mapped nor there are not replaced by the default."""
    d.writer.references._policy = Policy.model_validate({"unmapped": "reject"})


async def waiting(d: Desk, key: str = "Q-1") -> None:
    async def waits() -> bool:
        return (await d.states()).get((key, 1)) == "waiting"

    await d.until(waits)


async def make_item(d: Desk, company: dict[str, Any], name: str) -> None:
    """A person makes a product in QuickBooks."""
    income = next(a["Id"] for a in d.sandbox.books(d.realm, "Account") if a["AccountType"] == "Income")
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.post(
            f"{d.sandbox.url}/v3/company/{d.realm}/item",
            json={"Name": name, "Type": "Service", "IncomeAccountRef": {"value": income}},
            headers={"Authorization": f"Bearer {company['access_token']}", "Accept": "application/json"},
        )
    assert answer.status_code == 200, answer.text


async def test_it_goes_on_when_the_item_is_there(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        strict(d)
        await d.tell(surgery(d, "Q-1"), invoice(d.realm, "Q-2"))
        await waiting(d)
        assert (await d.until_ended())["Q-2", 1] == "posted"  # nobody waits behind it
        (event,) = [e for e in await d.events() if e["type"] == "bookrelay.document.waiting.v1"]
        assert event["data"]["code"] == "QB006"
        assert "no product or service 'Surgery' in QuickBooks" in event["data"]["reason"]
        assert "Create it in QuickBooks" in event["data"]["fix"]
        await make_item(d, company, "Surgery")
        poster = d.writer.posters[d.realm]
        poster.feeder._next = 0

        async def posted() -> bool:
            poster.wake()
            return (await d.states())["Q-1", 1] == "posted"

        await d.until(posted)
        assert await d.event_types("Q-1") == ["document.waiting", "invoice.posted"]
        assert not await d.pool.fetchval("SELECT count(*) FROM qbo_writer.commands WHERE waiting_since IS NOT NULL")


async def test_waiting_is_told_once_and_is_bounded(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        strict(d)
        await d.tell(surgery(d, "Q-1"))
        await waiting(d)
        poster = d.writer.posters[d.realm]

        async def looks_again() -> None:
            before = await d.pool.fetchval(
                "UPDATE qbo_writer.commands SET due_at = now() WHERE state = 'waiting' RETURNING due_at"
            )

            async def looked() -> bool:
                poster.pace.kept_at = 0  # it looks every few seconds
                poster.wake()
                return bool(
                    await d.pool.fetchval(
                        "SELECT EXISTS (SELECT 1 FROM qbo_writer.commands WHERE state = 'waiting' AND due_at > $1)",
                        before,
                    )
                )

            await d.until(looked)

        await looks_again()
        assert await d.event_types("Q-1") == ["document.waiting"]
        row = await d.pool.fetchrow("SELECT due_at - now() AS pause, waiting_since IS NOT NULL AS waits FROM qbo_writer.commands")
        assert timedelta(minutes=25) < row["pause"] < timedelta(minutes=31)
        assert row["waits"]
        await d.pool.execute("UPDATE qbo_writer.commands SET waiting_since = now() - interval '31 days'")
        await d.pool.execute("UPDATE qbo_writer.commands SET due_at = now() WHERE state = 'waiting'")
        poster.pace.kept_at = 0

        async def rejected() -> bool:
            poster.pace.kept_at = 0
            poster.wake()
            return (await d.states())["Q-1", 1] == "rejected"

        await d.until(rejected)
        told = (await d.events())[-1]["data"]
        assert told["reason"].endswith("It waited 30 days.")
        assert "rejected release" in told["fix"]


async def test_a_newer_version_ends_it(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        strict(d)
        await d.tell(surgery(d, "Q-1"))
        await waiting(d)
        await d.tell(invoice(d.realm, "Q-1", 2))
        assert await d.until_ended() == {("Q-1", 1): "superseded", ("Q-1", 2): "posted"}


async def test_a_person_has_it_decided_now(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        strict(d)
        await d.tell(surgery(d, "Q-1"))
        await waiting(d)
        (row,) = await operating.held(d.pool, d.realm, "waiting")
        d.writer.references._policy = Policy.model_validate({"unmapped": "default"})
        await operating.release(d.pool, row["document"])
        d.writer.wake([d.realm])
        assert (await d.until_ended())["Q-1", 1] == "posted"
