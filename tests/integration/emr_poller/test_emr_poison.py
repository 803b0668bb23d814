"""One quote that nobody can store or send stops no other: a NUL in a text, a content beyond the broker's limit."""

import random
from typing import Any

import pytest
from bookrelay import topics
from emr_support import Poller, Practice
from test_emr_polling import quote

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
WORDS = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz", k=2000))


def procedures(*names: str, **more: Any) -> dict[str, Any]:
    return {"Procedures": [{"ProcedureName": name, "Amount": "10.00", "DiscountAmount": None} | more for name in names]}


CLEANED = {
    11: procedures("be\x00fore"),
    12: procedures("tab\there\x7f"),
    13: {"Patient": {"Id": 3012, "Name": "A\x00nn B\x0bCole"}},
}
PARKED = {
    21: (procedures(*(f"{n}{WORDS}"[:2000] for n in range(600))), "bytes; the limit is"),
    22: ({"Version": 10**20}, "with an unreadable Version"),
    24: (procedures("A", Amount="1E9999999"), "exceeds QuickBooks' limit"),
    25: (procedures("A", Amount="NaN"), "is not a number"),
    26: ({"Patient": {"Id": 1, "Name": "X " * 700}}, "name of quote 26 has 1,399 characters; the limit is 500"),
    30: ({"Patient": {"Id": "9" * 600, "Name": "A B"}}, "cannot become an invoice"),
    27: ({"PriceQuoteDate": "9999-12-31T00:00:00Z"}, "date of quote 27 is unreadable"),
    28: (procedures("A", DiscountAmount="1E400"), "exceeds QuickBooks' limit"),
}


async def test_every_neighbour_is_published_and_every_poison_is_parked_with_its_reason(
    poller: Poller, practice: Practice
) -> None:
    practice.load(*(quote(number, **changes) for number, changes in CLEANED.items()))
    practice.load(*(quote(number, **changes) for number, (changes, _) in PARKED.items()))
    practice.load(*(quote(number) for number in range(100, 110)))
    for _ in range(3):  # again, as after a restart: what is parked stays parked, and is told once
        await poller.step()
        await poller.pool.execute("UPDATE emr_poller.parked SET due_at = now()")
    commands = {int(command.data.source_key): command for command in await poller.messages(topics.COMMANDS)}
    assert set(commands) == set(CLEANED) | set(range(100, 110))
    assert [commands[n].data.content.lines[0].description for n in (11, 12)] == ["before", "tab\there"]
    assert commands[13].data.content.customer.name == "3012.ABC"
    parked = await poller.parked()
    assert set(parked) == set(PARKED)
    for number, (_, reason) in PARKED.items():
        assert reason in parked[number], parked[number]
    told = [event.data for event in await poller.messages(topics.EVENTS)]
    assert sorted(int(data.source_key) for data in told) == sorted(PARKED)
    assert all(data.fix for data in told)
    assert poller.schedule.not_ready_because() is None


async def test_a_defect_of_ours_that_one_quote_shows_parks_that_quote(
    poller: Poller, practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emr_poller import handlers

    decide = handlers.decide

    def broken(listed: Any, detail: Any, **more: Any) -> Any:
        if listed.number == 2:
            raise KeyError("Zzcanary")  # as a mapping that did not think of something
        return decide(listed, detail, **more)

    monkeypatch.setattr(handlers, "decide", broken)
    practice.load(*(quote(number) for number in range(1, 5)))
    await poller.step()
    assert {c.data.source_key for c in await poller.messages(topics.COMMANDS)} == {"1", "3", "4"}
    assert await poller.parked() == {2: "The poller failed to read quote 2 (KeyError)."}
