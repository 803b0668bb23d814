"""Two active customers whose names fold alike: documents went to whichever was read last, updates moved them."""

from typing import Any

import pytest
from bookrelay.errors import Code
from qbo_writer.domain import Reference
from qbo_writer.quickbooks.entries import best
from test_merged_customers import fed
from test_names_that_look_alike import customers_of, make, why
from writer_support import QboSandbox, desk, invoice

pytestmark = pytest.mark.postgres


async def test_the_exact_text_decides_between_twins(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        texts = ("Acme Corp", "Acme  Corp", "Beta Co", "Beta\u00a0Co")
        ids = [await make(d, company, "Customer", DisplayName=text) for text in texts]
        await d.tell(*(invoice(d.realm, f"Q-{at}", customer=text) for at, text in enumerate(texts)))
        assert set((await d.until_ended()).values()) == {"posted"}
        assert sorted(customers_of(d)) == sorted(ids)

        async def parties() -> dict[str, Any]:
            rows = await d.pool.fetch(
                "SELECT source_key, fields->>'customer' AS id FROM qbo_writer.documents WHERE kind = 'invoice'"
            )
            return {row["source_key"]: row["id"] for row in rows}

        assert await parties() == {f"Q-{at}": id_ for at, id_ in enumerate(ids)}
        # Somebody edits one of each pair: the feed brings it, and nothing moves.
        sandbox.person(d.realm, "edit", "Customer", ids[1], PrimaryPhone={"FreeFormNumber": "555"})
        sandbox.person(d.realm, "edit", "Customer", ids[2], PrimaryPhone={"FreeFormNumber": "555"})
        await fed(d)
        await d.tell(*(invoice(d.realm, f"Q-{at}", 2, amount="140.00", customer=text) for at, text in enumerate(texts)))
        await d.tell(invoice(d.realm, "Q-low", customer="acme corp"))
        states = await d.until_ended()
        assert {states[f"Q-{at}", 2] for at in range(4)} == {"posted"}
        assert await parties() == {"Q-low": ids[0]} | {f"Q-{at}": id_ for at, id_ in enumerate(ids)}


@pytest.mark.parametrize("known", [True, False])
async def test_what_fits_twins_alike_waits_and_names_both(database_url: str, sandbox: QboSandbox, *, known: bool) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        texts = ("Acme  Corp Ltd", "Acme Corp  Ltd")
        first = await make(d, company, "Customer", DisplayName=texts[0])
        if known:
            await d.tell(invoice(d.realm, "Q-0", customer="Acme Corp Ltd"))
            assert set((await d.until_ended()).values()) == {"posted"}
        second = await make(d, company, "Customer", DisplayName=texts[1])
        if known:
            await fed(d)
        await d.tell(invoice(d.realm, "Q-1", customer="Acme Corp Ltd"))
        await d.until_ended()
        state, code, reason = await why(d, "Q-1")
        assert (state, code) == ("waiting", Code.MAPPING_MISSING)
        assert first in reason
        assert second in reason
        assert len(customers_of(d)) == int(known)


@pytest.mark.parametrize(("text", "id_"), [("Gross", "1"), ("GROSS", "1"), ("Gro\u00df", "2"), (" gro\u00df ", "2")])
def test_a_sharp_s_is_another_name(text: str, id_: str) -> None:
    held = [(Reference("Customer", "1", "Gross"), ""), (Reference("Customer", "2", "Gro\u00df"), "")]
    for order in (held, held[::-1]):
        found = best("Customer", text, order)
        assert found is not None
        assert found.qbo_id == id_
