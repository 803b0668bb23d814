"""The poller against the EMR's stand-in, real Postgres and a real broker."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from aiokafka.errors import KafkaError
from bookrelay import topics
from bookrelay.db import close_pool, open_pool
from bookrelay.errors import TransientError
from bookrelay.kafka import Publisher
from bookrelay.messages import RetractDocument, UpsertInvoice
from emr_poller.settings import Settings
from emr_support import Poller, Practice, poller_of, rows_as_text
from running import ServiceProcess, read_topic, until
from told_emr import emr_told

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

CANARY = "Zzcanary"


def quote(number: int, *, status: int = 4, version: int = 1, modified: datetime | None = None, **changes: Any) -> dict[str, Any]:
    moment = modified or datetime.now(UTC) - timedelta(minutes=1)
    return {
        "PriceQuoteNo": number, "Version": version, "ModifiedDate": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "PriceQuoteDate": "2026-04-22T01:10:00Z", "PriceQuoteStatus": {"Id": status, "Name": "?"},
        "Patient": {"Id": 3012, "Name": f"{CANARY} Q Sample"}, "CreatedBy": {"Id": 7, "Name": "Pat Coordinator"},
        "Procedures": [{"ProcedureName": "Procedure A", "Amount": "1000.0", "DiscountAmount": None}], "Supplies": None,
        "AnesthAmt": None, "FacilityAmt": None, "TotalAmt": 1000,
    } | changes  # fmt: skip


async def test_sixty_quotes_in_all_states_become_what_their_labels_say(poller: Poller, practice: Practice) -> None:
    labels = practice.control("POST", "quotes", {"generate": {"count": 60, "seed": 5}})["labels"]
    await poller.step()
    said = {m.data.source_key: m for m in await poller.messages(topics.COMMANDS)}
    rejected = {m.data.source_key: m.data for m in await poller.messages(topics.EVENTS)}
    for label in labels:
        key = str(label["number"])
        if label["expected"] == "posted":
            assert isinstance(said[key], UpsertInvoice), label
            assert said[key].data.content.total == Decimal(label["amount"]), label
        elif label["expected"] == "absent":
            assert isinstance(said[key], RetractDocument), label
        else:
            assert key not in said, label
            assert rejected[key].reason, label
            assert rejected[key].fix, label
    assert len(said) + len(rejected) == 60
    assert poller.schedule.not_ready_because() is None


async def test_second_poll_of_the_overlap_costs_no_detail_and_no_message(poller: Poller, practice: Practice) -> None:
    practice.load(quote(1), quote(2, status=1))
    await poller.step()
    before = len(practice.details_read())
    await poller.step()
    assert before == 2
    assert len(practice.details_read()) == 2
    assert len(await poller.messages(topics.COMMANDS)) == 2


async def test_changed_quote_is_published_again_with_its_new_version(poller: Poller, practice: Practice) -> None:
    practice.load(quote(1))
    await poller.step()
    practice.edit(1, PriceQuoteStatus={"Id": 0, "Name": "Inactive"})
    await poller.step()
    commands = await poller.messages(topics.COMMANDS)
    assert [(type(c), c.data.version) for c in commands] == [(UpsertInvoice, 1), (RetractDocument, 2)]


async def test_list_with_one_row_for_each_version_lets_the_newest_win(poller: Poller, practice: Practice) -> None:
    practice.control("POST", "settings", {"every_version": True})
    now = datetime.now(UTC)
    practice.load(
        quote(1, version=2, status=0, modified=now - timedelta(minutes=3)),
        quote(1, version=3, modified=now - timedelta(minutes=4)),
    )
    await poller.step()
    commands = await poller.messages(topics.COMMANDS)
    assert [(type(c), c.data.version) for c in commands] == [(UpsertInvoice, 3)]


@pytest.mark.parametrize("wrapped", [False, True])
async def test_list_as_array_and_as_pages_of_items_are_read_whole(poller: Poller, practice: Practice, wrapped: bool) -> None:
    practice.control("POST", "settings", {"wrapped": wrapped})
    practice.load(*(quote(number) for number in range(1, 121)))
    await until_complete(poller)
    assert len(await poller.messages(topics.COMMANDS)) == 120


async def until_complete(poller: Poller) -> None:
    deadline = asyncio.get_running_loop().time() + 90
    while await poller.step() == 0:
        assert asyncio.get_running_loop().time() < deadline


async def test_poison_quote_is_parked_and_told_once_while_the_others_and_the_cursor_go_on(
    poller: Poller, practice: Practice
) -> None:
    now = datetime.now(UTC)
    practice.load(
        quote(1, modified=now - timedelta(minutes=5), Procedures=[{"ProcedureName": "A", "Amount": "twelve"}]),
        quote(2, modified=now - timedelta(minutes=4)),
    )
    for _ in range(4):
        await poller.step()
        await poller.pool.execute("UPDATE emr_poller.parked SET due_at = now()")  # it is really tried again
    assert set(await poller.parked()) == {1}
    assert [c.data.source_key for c in await poller.messages(topics.COMMANDS)] == ["2"]
    events = await poller.messages(topics.EVENTS)
    assert len(events) == 1
    assert "not a number" in events[0].data.reason
    position = await poller.pool.fetchval("SELECT position FROM emr_poller.cursor")
    assert position >= now - timedelta(minutes=4, seconds=1)
    practice.edit(1, Procedures=[{"ProcedureName": "A", "Amount": "12"}])
    await poller.step()
    assert await poller.parked() == {}
    assert [c.data.source_key for c in await poller.messages(topics.COMMANDS) if c.data.source_key == "1"] == ["1"]


async def test_detail_that_always_fails_is_parked_told_after_three_tries_and_published_when_it_comes_back(
    poller: Poller, practice: Practice
) -> None:
    practice.load(quote(1), quote(2))
    practice.fault(path="/quotes$", query={"quoteNumber": "1"}, status=500, times=-1)
    await poller.step()
    assert [c.data.source_key for c in await poller.messages(topics.COMMANDS)] == ["2"]
    assert await poller.messages(topics.EVENTS) == []

    async def told() -> bool:
        await poller.step()
        return len(await poller.messages(topics.EVENTS)) == 1

    await until(told)
    practice.control("DELETE", "faults")

    async def published() -> bool:
        await poller.step()
        return not await poller.parked()

    await until(published)
    assert Counter(c.data.source_key for c in await poller.messages(topics.COMMANDS)) == {"1": 1, "2": 1}


async def test_quote_that_is_listed_but_answers_404_is_parked_with_its_reason(poller: Poller, practice: Practice) -> None:
    practice.load(quote(1), quote(2))
    practice.fault(path="/quotes$", query={"quoteNumber": "1"}, status=404, times=-1)
    await poller.step()
    assert "404" in (await poller.parked())[1]
    assert [e.data.source_key for e in await poller.messages(topics.EVENTS)] == ["1"]


async def test_too_many_requests_waits_as_told_and_keeps_what_was_read(poller: Poller, practice: Practice) -> None:
    practice.load(*(quote(number) for number in range(1, 9)))
    practice.fault(path="/quotes$", query={"quoteNumber": "5"}, status=429, headers={"Retry-After": "17"}, times=1)
    assert await poller.step() == 17
    assert "17 s" in (poller.schedule.not_ready_because() or "")
    assert len(await poller.messages(topics.COMMANDS)) == 7
    assert await poller.parked() == {}
    await poller.step()
    assert Counter(c.data.source_key for c in await poller.messages(topics.COMMANDS)) == {str(n): 1 for n in range(1, 9)}
    assert poller.schedule.not_ready_because() is None


async def test_regenerated_secret_pauses_with_what_to_do_and_goes_on_when_it_fits_again(
    poller: Poller, practice: Practice
) -> None:
    practice.load(quote(1))
    practice.control("POST", "settings", {"credentials": {"client-secret": "regenerated"}})
    assert await poller.step() == poller.settings.emr_paused_seconds
    assert "EMR_CLIENT_SECRET" in (poller.schedule.not_ready_because() or "")
    practice.control("POST", "settings", {"credentials": {"client-secret": practice.headers["client-secret"]}})
    await poller.step()
    assert poller.schedule.not_ready_because() is None
    assert len(await poller.messages(topics.COMMANDS)) == 1


async def test_quote_dated_in_the_far_future_does_not_hide_those_that_follow(poller: Poller, practice: Practice) -> None:
    practice.load(quote(1, modified=datetime(2099, 1, 1, tzinfo=UTC)))
    await poller.step()
    practice.load(quote(2, modified=datetime.now(UTC)))
    await poller.step()
    assert sorted(c.data.source_key for c in await poller.messages(topics.COMMANDS)) == ["1", "2"]


async def test_broker_away_the_outbox_keeps_what_was_read_and_publishes_it_in_order(poller: Poller, practice: Practice) -> None:
    practice.load(quote(1), quote(2, status=2))
    await poller.publisher.stop()
    for fee in (1, 2, 3):
        with pytest.raises(KafkaError, match="not connected"):
            await poller.step()
        practice.edit(1, FacilityAmt=fee, TotalAmt=1000 + fee)
    assert await poller.pool.fetchval("SELECT count(*) FROM emr_poller.outbox WHERE published_at IS NULL") == 4
    assert poller.schedule.not_ready_because() is None  # reading goes on
    await poller.publisher.start()
    await poller.step()
    versions = [command.data.version for command in await poller.messages(topics.COMMANDS)]
    assert versions == [1, 2, 3, 4]
    assert [event.data.source_key for event in await poller.messages(topics.EVENTS)] == ["2"]


@pytest.mark.parametrize("refused", ["quotes", "parked", "cursor"])
async def test_messages_memory_and_cursor_are_committed_together_or_not_at_all(
    poller: Poller, practice: Practice, refused: str
) -> None:
    practice.load(quote(1), quote(2, status=2))
    await poller.pool.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '53100'; END $$;"  # a full disk
        f"CREATE TRIGGER refuse BEFORE INSERT ON emr_poller.{refused} FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(asyncpg.DiskFullError):
        await poller.step()
    for table in ("outbox", "quotes", "parked", "cursor"):
        assert await poller.pool.fetchval(f"SELECT count(*) FROM emr_poller.{table}") == 0, table
    await poller.pool.execute(f"DROP TRIGGER refuse ON emr_poller.{refused}")
    await poller.step()
    assert [command.data.source_key for command in await poller.messages(topics.COMMANDS)] == ["1"]
    assert [event.data.source_key for event in await poller.messages(topics.EVENTS)] == ["2"]


async def test_the_relay_killed_before_it_marks_publishes_the_same_messages_again(poller: Poller, practice: Practice) -> None:
    practice.load(quote(1), quote(2))
    await poller.step()
    await poller.pool.execute("UPDATE emr_poller.outbox SET published_at = NULL")  # as if it had not come to mark them
    await poller.step()
    ids = Counter(command.id for command in await poller.messages(topics.COMMANDS))
    assert sorted(ids.values()) == [2, 2]


async def test_a_long_list_is_committed_in_parts_and_the_cursor_goes_with_each(poller: Poller, practice: Practice) -> None:
    began = datetime.now(UTC) - timedelta(hours=5)
    practice.load(*(quote(number, modified=began + timedelta(minutes=number)) for number in range(1, 251)))
    practice.fault(path="/quotes$", query={"quoteNumber": "230"}, status=429, headers={"Retry-After": "17"}, times=1)
    assert await poller.step() == 17
    assert len(await poller.messages(topics.COMMANDS)) == 249
    assert await poller.pool.fetchval("SELECT position FROM emr_poller.cursor") == began + timedelta(minutes=200)
    transactions = await poller.pool.fetch("SELECT count(*) FROM emr_poller.outbox GROUP BY created_at ORDER BY 1")
    assert [row["count"] for row in transactions] == [49, 100, 100]
    await poller.step()
    assert await poller.pool.fetchval("SELECT position FROM emr_poller.cursor") == began + timedelta(minutes=250)
    assert len(await poller.messages(topics.COMMANDS)) == 250


async def test_no_patient_name_stands_in_logs_topics_or_tables(
    start: Callable[..., ServiceProcess], practice: Practice, environment: dict[str, str]
) -> None:
    practice.control("POST", "quotes", {"generate": {"count": 40, "seed": 9}})
    broken = [{"ProcedureName": f"Redo for {CANARY} Q Sample", "Amount": "x"}]
    practice.load(
        quote(1, Procedures=broken), quote(2, Procedures=[{"ProcedureName": f"For sample, {CANARY}", "Amount": 5}]),
        quote(3, PriceQuoteStatus=None, ProcedureDescription=CANARY, Note=CANARY),
    )  # fmt: skip
    service = start(LOG_LEVEL="DEBUG")
    realm, bootstrap = environment["QBO_REALM_ID"], environment["KAFKA_BOOTSTRAP_SERVERS"]

    async def all_settled() -> bool:
        said = [*await read_topic(bootstrap, topics.COMMANDS, realm), *await read_topic(bootstrap, topics.EVENTS, realm)]
        return len({m.data.source_key for m in said}) == 43

    await until(all_settled)
    assert service.stop() == 0
    said = [*await read_topic(bootstrap, topics.COMMANDS, realm), *await read_topic(bootstrap, topics.EVENTS, realm)]
    assert CANARY in str(practice.control("GET", "books"))
    for place, text in {
        "topics": "".join(m.model_dump_json() for m in said), "logs": service.log.read_text(),
        "tables": await rows_as_text(environment["DATABASE_URL"], "emr_poller"),
    }.items():  # fmt: skip
        assert CANARY.casefold() not in text.casefold(), place
        assert practice.headers["client-secret"] not in text, place
    assert any(m.data.content.lines[0].description == "For ZQS" for m in said if m.data.source_key == "2")


async def test_quotes_whose_list_rows_say_nothing_do_not_set_the_first_cursor_back(environment: dict[str, str]) -> None:
    """They are read before all others, as if changed in 1970: every quote since then would have been carried."""
    begins = datetime.now(UTC) - timedelta(days=1)
    with emr_told() as emr:
        quotes = [quote(number) for number in range(1, 103)]
        emr.listed = json.dumps([q | {"ModifiedDate": None} for q in quotes[:101]] + quotes[101:]).encode()
        emr.details = {str(q["PriceQuoteNo"]): (200, json.dumps(q).encode()) for q in quotes[:100]}
        emr.details |= {str(number): (500, b"") for number in (101, 102)}
        given = environment | {"EMR_BASE_URL": emr.url, "EMR_START_FROM": begins.isoformat()}
        pool = await open_pool(Settings.load(given), application_name="test")
        publisher = Publisher(given["KAFKA_BOOTSTRAP_SERVERS"], "test")
        await publisher.start()
        try:
            async with poller_of(given, pool, publisher) as poller:
                with pytest.raises(TransientError, match="None of 2 quotes"):  # the second transaction moves no cursor
                    await poller.step()
                assert len(await poller.messages(topics.COMMANDS)) == 100
                assert await pool.fetchval("SELECT position FROM emr_poller.cursor") == begins
        finally:
            await publisher.stop()
            await close_pool(pool)


async def test_two_pollers_at_once_lose_nothing_and_repeat_only_the_same_messages(
    poller: Poller, practice: Practice, environment: dict[str, str]
) -> None:
    practice.load(*(quote(number) for number in range(1, 41)), *(quote(number, status=3) for number in range(41, 61)))
    async with poller_of(environment, poller.pool, poller.publisher) as other:
        await asyncio.gather(poller.step(), other.step())
    await poller.step()
    commands, events = await poller.messages(topics.COMMANDS), await poller.messages(topics.EVENTS)
    assert {c.data.source_key for c in commands} == {str(number) for number in range(1, 41)}
    assert {e.data.source_key for e in events} == {str(number) for number in range(41, 61)}
    assert len({m.id for m in [*commands, *events]}) == 60


@pytest.mark.slow
async def test_killed_at_random_moments_publishes_every_quote_and_only_equal_repetitions(
    start: Callable[..., ServiceProcess], practice: Practice, environment: dict[str, str]
) -> None:
    practice.fault(path="/quotes$", delay=0.02, times=-1)
    practice.load(*(quote(number) for number in range(1, 201)))
    realm, bootstrap = environment["QBO_REALM_ID"], environment["KAFKA_BOOTSTRAP_SERVERS"]
    for pause in (0.1, 0.4, 0.8):
        service = start()
        await until(service.port)
        await asyncio.sleep(pause)
        service.kill()
    start()

    async def all_there() -> bool:
        return len({m.data.source_key for m in await read_topic(bootstrap, topics.COMMANDS, realm)}) == 200

    await until(all_there)
    said = await read_topic(bootstrap, topics.COMMANDS, realm)
    assert len({m.id for m in said}) == 200  # a repetition is the same message


async def test_without_the_emr_the_service_is_not_ready_with_the_reason_and_recovers(
    start: Callable[..., ServiceProcess], practice: Practice
) -> None:
    practice.fault(path="/quotes/list", status=503, times=-1)
    service = start()

    async def says_why() -> bool:
        status, body = await service.ready()
        return bool(status == 503 and "503" in str(body["reasons"]))

    await until(says_why)
    practice.control("DELETE", "faults")

    async def is_ready() -> bool:
        return (await service.ready())[0] == 200

    await until(is_ready)


async def test_missing_setting_ends_the_service_with_its_name_in_the_first_line(start: Callable[..., ServiceProcess]) -> None:
    service = start(EMR_CLIENT_ID="", EMR_TIME_ZONE="Mars/Olympus")
    assert service.process.wait(90) == 1
    first = service.log.read_text().splitlines()[0]
    assert "EMR_CLIENT_ID is missing" in first
    assert "EMR_TIME_ZONE is wrong" in first
