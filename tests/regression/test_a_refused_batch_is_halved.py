"""A batch that is refused whole: its items went alone, 31 calls for one poisonous document among thirty."""

import pytest
from writer_support import Desk, QboSandbox, desk, invoice

pytestmark = [pytest.mark.postgres]


async def calls_for(d: Desk, poisonous: set[int], **fault: object) -> tuple[int, dict[tuple[str, int], str]]:
    """Post 30 documents in a backlog, some of them poison for whatever carries them; return the writes, and the states."""
    await d.tell(invoice(d.realm, "Q-known"))
    await d.until_ended()
    d.sandbox.control("DELETE", "requests")
    rule = fault or {"fault": "fault", "code": "2010", "status": 400}
    d.sandbox.fault(**rule, match={"realm": d.realm, "body": "666."})
    await d.tell(*(invoice(d.realm, f"Q-{n}", amount="666.00" if n in poisonous else "10.00") for n in range(30)))
    states = await d.until_ended()
    writes = [r for r in d.sandbox.requests(d.realm) if r["operation"] in ("batch", "create")]
    return len(writes), {key: state for key, state in states.items() if key[0] != "Q-known"}


async def test_one_poison_among_thirty_costs_eleven_calls(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, batch_threshold=10, pace_in_flight=6) as d:
        calls, states = await calls_for(d, {17})
        assert states.pop(("Q-17", 1)) == "held"
        assert set(states.values()) == {"posted"}
        assert calls <= 11, calls
        posted = [b for b in sandbox.books(d.realm, "Invoice") if b["TotalAmt"] == 10]
        assert len(posted) == len({b["DocNumber"] for b in posted}) == 29
        counted = await d.pool.fetch("SELECT failures FROM qbo_writer.commands WHERE kind = 'invoice'")
        assert max(row["failures"] for row in counted) <= 5, "five halvings of thirty"


async def test_thirty_poisons_end_within_sixty_one_calls(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, batch_threshold=10, pace_in_flight=6) as d:
        calls, states = await calls_for(d, set(range(30)))
        assert set(states.values()) == {"held"}
        assert calls <= 61, calls


async def test_a_batch_without_an_answer_is_not_halved(database_url: str, sandbox: QboSandbox) -> None:
    """After silence a batch leaves again whole, or its items are looked for: halves would be other requests."""
    async with desk(database_url, sandbox, batch_threshold=10, pace_in_flight=6) as d:
        _, states = await calls_for(d, {17}, fault="commit_then_reset", count=1)
        assert set(states.values()) == {"posted"}
        posted = [b for b in sandbox.books(d.realm, "Invoice") if b["TotalAmt"] in (10, 666)]
        assert len(posted) == 30
