"""A batch that was filled up in the same round gave one source number twice: each question knew its own promises only."""

from pathlib import Path

import pytest
from test_names_that_look_alike import make
from writer_support import QboSandbox, desk, invoice, numbered, running

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("policy", ["reject", "derive"])
async def test_a_number_is_given_once_in_a_round(database_url: str, sandbox: QboSandbox, tmp_path: Path, policy: str) -> None:
    file, company = tmp_path / "policy.toml", sandbox.company()
    file.write_text(f'unusable_number = "{policy}"\n')
    more = {"batch_threshold": 3, "pace_batch_items": 10, "pace_batches_per_minute": 60_000, "pace_in_flight": 5}
    async with desk(database_url, sandbox, company=company, run=False, company_policy_file=file, **more) as d:
        sandbox.control("POST", "preferences", {"realm": d.realm, "warnings": {"WarnDuplicateInvoiceNumber": False}})
        await make(d, company, "Customer", DisplayName="There")
        await d.tell(
            numbered(invoice(d.realm, "Q-1", customer="There"), "V-77"),
            *(invoice(d.realm, f"N-{at}", customer="New") for at in range(13)),
            *(numbered(invoice(d.realm, f"Q-{at}", customer="There"), "V-77") for at in range(2, 6)),
        )
        # The first, then those that wait for their customer, then what the batch is filled up with.
        for seconds, which in ((90, "Q-1"), (60, "N-%"), (30, "Q-[2-5]")):
            await d.pool.execute(
                "UPDATE qbo_writer.commands c SET due_at = now() - make_interval(secs => $1) FROM qbo_writer.documents d "
                "WHERE d.id = c.document_id AND d.source_key SIMILAR TO $2",
                seconds, which,
            )  # fmt: skip
        async with running(d.writer):
            states = await d.until_ended()
        assert [b.get("DocNumber") for b in sandbox.books(d.realm, "Invoice")].count("V-77") == 1
        posted = [states[f"Q-{at}", 1] for at in range(1, 6)].count("posted")
        assert posted == (1 if policy == "reject" else 5)
