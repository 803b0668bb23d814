"""A refusal for an item forgot the customer, too, and the list of names passed for whole without it: a restart made a twin."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from qbo_writer.policy import Policy
from qbo_writer.writer import Writer
from test_names_that_look_alike import customers_of, make
from writer_support import QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("asked_for", ["Acme Corp", "Smith:Roof job"])
async def test_who_was_doubted_is_found_after_a_restart(
    database_url: str, sandbox: QboSandbox, asked_for: str, *, create: bool
) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company, run=False) as d:
        if asked_for == "Acme Corp":
            id_ = await make(d, company, "Customer", DisplayName="Acme  Corp")
        else:
            parent = await make(d, company, "Customer", DisplayName="Smith")
            id_ = await make(d, company, "Customer", DisplayName="Roof job", ParentRef={"value": parent}, Job=True)
        async with running(d.writer):
            await d.tell(invoice(d.realm, "Q-1", customer=asked_for))
            assert (await d.until_ended())["Q-1", 1] == "posted"
            await d.writer.references.forget(d.realm, {("Customer", id_), ("Item", "1")})
        # Long ago: nobody has changed a name since.
        later = {
            entity: {"since": (datetime.now(UTC) + timedelta(days=1)).isoformat(), "start": 1}
            for entity in ("Customer", "Vendor", "Employee")
        }
        await d.pool.execute("UPDATE qbo_writer.realms SET names_read = $1", later)
        before = len(sandbox.books(d.realm, "Customer"))
        d.writer = Writer(d.settings, d.pool)
        d.writer.references._policy = Policy(create_customers=create)
        poster = d.writer.posters[d.realm]
        poster.feeder._next = poster.sweeper._next = poster.policy_check.next_at = math.inf
        async with running(d.writer):
            await d.tell(invoice(d.realm, "Q-2", customer=asked_for))
            assert (await d.until_ended())["Q-2", 1] == "posted"
        assert customers_of(d) == [id_, id_]
        assert len(sandbox.books(d.realm, "Customer")) == before
