"""The watcher against the Sheets stand-in, real Postgres and a real broker."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bookrelay import topics
from bookrelay.errors import BookrelayError
from bookrelay.kafka import Publisher
from bookrelay.messages import AnyMessage, Difference, RetractDocument, UpsertBill, UpsertInvoice
from bookrelay.source.errors import PausedError, ThrottledError
from running import ServiceProcess, read_topic, until
from sheet_support import Book, Watcher, posted, qbo_id, row
from sheet_watcher.domain import Result
from sheet_watcher.handlers import on_event

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

Start = Callable[..., ServiceProcess]


def assert_each_row_tells_of_itself(book: Book, column: str = "qb_invoice_id") -> None:
    for line in book.rows():
        assert line[column] == qbo_id(line["task_descr"]), line
        assert line["qb_sync_status"] == "synced", line
    keys = [line["qb_row_key"] for line in book.rows()]
    assert len(set(keys)) == len(keys)


async def test_rows_in_both_directions_become_commands_and_their_results_stand_in_their_rows(
    watcher: Watcher, book: Book
) -> None:
    book.begin(
        row("INV-1"), row("INV-2", inv_from="xyz", inv_dollars="$1,250.00"), row("INV-3", status="paid"),
        row("INV-4", status="Pending ", submitted_date=46113),
    )  # fmt: skip
    await watcher.settle()
    commands = {m.data.content.lines[0].description: m for m in await watcher.messages(topics.COMMANDS)}
    assert {k: type(m) for k, m in commands.items()} == {
        "Work INV-1": UpsertInvoice,
        "Work INV-2": UpsertBill,
        "Work INV-4": UpsertInvoice,
    }
    assert str(commands["Work INV-2"].data.content.total) == "1250.00"
    assert commands["Work INV-4"].data.content.txn_date.isoformat() == "2026-04-01"
    assert commands["Work INV-1"].data.source_key == book.row("INV-1")["qb_row_key"]
    await watcher.answer_all()
    await watcher.settle()
    assert book.row("INV-1")["qb_invoice_id"] == "id of Work INV-1"
    assert book.row("INV-1")["qb_synced_at"].endswith("Z")
    assert book.row("INV-2")["qb_bill_id"] == "id of Work INV-2"
    assert book.row("INV-2")["qb_bill_status"] == book.row("INV-2")["qb_sync_status"] == "synced"
    assert book.row("INV-3")["qb_row_key"] == ""


async def test_a_document_that_is_not_as_its_row_has_it_says_so_in_the_row(watcher: Watcher, book: Book) -> None:
    book.begin(row("INV-1"), row("INV-2"))
    await watcher.settle()
    for command in await watcher.messages(topics.COMMANDS):
        differs = command.data.content.lines[0].description == "Work INV-1"
        tax = Difference(field="total", ours="100.50", theirs="107.79")
        event = posted(command)
        data = event.data.model_copy(update={"differences": (tax,) if differs else ()})
        result = on_event(event.model_copy(update={"data": data}), realm=watcher.settings.qbo_realm_id, source="sheet")
        assert isinstance(result, Result)
        await watcher.store.record([result])
    await watcher.settle()
    told = {name: book.row(name) for name in ("INV-1", "INV-2")}
    assert told["INV-1"]["qb_sync_status"] == told["INV-2"]["qb_sync_status"] == "synced"
    assert "differs from this row" in told["INV-1"]["qb_error"]
    assert "total: here 100.50, in QuickBooks 107.79" in told["INV-1"]["qb_error"]
    assert told["INV-2"]["qb_error"] == ""
    assert told["INV-1"]["qb_invoice_id"] == "id of Work INV-1"


async def test_a_number_that_sheets_took_for_a_date_is_the_text_that_its_person_sees(watcher: Watcher, book: Book) -> None:
    """A "7-11" that is typed is a day for Sheets, and its value 46214: no invoice number that anybody knows."""
    book.begin(*(row("", task_descr=f"Work {n}") for n in range(3)))
    book.type(2, invoice="7-11")
    book.type(3, invoice="46214")  # a number that looks like a day's
    book.type(4, invoice="INV-3")
    shown = book.values("FORMATTED_VALUE")[1][0]
    assert "7" in shown and not shown.isdigit(), shown  # noqa: PT018
    await watcher.settle()
    commands = {m.data.content.lines[0].description: m for m in await watcher.messages(topics.COMMANDS)}
    numbers = {name: command.data.content.number for name, command in commands.items()}
    assert numbers == {"Work 0": shown, "Work 1": "46214", "Work 2": "INV-3"}


async def test_missing_columns_are_appended_to_the_right_beyond_the_grid(watcher: Watcher, book: Book) -> None:
    headers = (
        "notes",
        "Inv_Dollars",
        "STATUS",
        "to_client",
        "task_descr",
        "Inv_From",
        "invoice",
        *(f"other {n}" for n in range(36)),
    )
    book.begin(row("INV-1"), headers=headers)
    await watcher.settle()
    names = book.values()[0]
    assert names[: len(headers)] == list(headers)
    assert "qb_row_key" in names
    assert "qb_bill_error" in names
    assert book.row("INV-1")["qb_sync_status"] == "pending"


async def test_sheet_sorted_between_read_and_write_back_tells_each_row_of_itself(watcher: Watcher, book: Book) -> None:
    book.begin(*(row(f"INV-{n:02d}") for n in range(20)))
    await watcher.settle()
    book.sort(0, descending=True)
    await watcher.answer_all()
    await watcher.settle()
    assert_each_row_tells_of_itself(book)
    assert len(await watcher.messages(topics.COMMANDS)) == 20


async def test_rows_inserted_deleted_and_columns_moved_between_read_and_write_back(watcher: Watcher, book: Book) -> None:
    book.begin(*(row(f"INV-{n}") for n in range(6)))
    await watcher.settle()
    book.delete(3)
    book.insert(2)
    book.insert(1, "COLUMNS")
    await watcher.answer_all()
    await watcher.polling.poll()
    told = {line["invoice"]: line["qb_invoice_id"] for line in book.rows() if line["invoice"]}
    assert told == {f"INV-{n}": f"id of Work INV-{n}" for n in (0, 2, 3, 4, 5)}


async def test_write_that_landed_on_moved_rows_is_put_right_by_the_next_read(
    watcher: Watcher, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race that Google leaves open: somebody sorts between our read and our write."""
    book.begin(*(row(f"INV-{n:02d}") for n in range(10)))
    await watcher.settle()
    book.add(row("INV-97"), row("INV-98"))
    await watcher.answer_all()
    book.fault(method="POST", path="values:batchUpdate", delay=5.0, times=1)
    turn = asyncio.create_task(watcher.polling.poll())
    await until(lambda: not book.control("GET", "faults"))  # the read is over, the write waits at the stand-in
    book.sort(0, descending=True)
    assert not turn.done()
    await turn
    for _ in range(2):
        await watcher.settle()
        await watcher.answer_all()
    await watcher.settle()
    await watcher.let_time_pass()
    await watcher.settle()
    assert_each_row_tells_of_itself(book)
    said = await watcher.messages(topics.COMMANDS)
    assert not [m for m in said if isinstance(m, RetractDocument)]
    assert len({m.data.source_key for m in said}) == 12


async def test_copied_row_becomes_a_second_document_and_the_original_keeps_its_own(watcher: Watcher, book: Book) -> None:
    book.begin(row("INV-1"), row("INV-2"))
    await watcher.settle()
    await watcher.answer_all()
    await watcher.settle()
    key = book.row("INV-1")["qb_row_key"]
    book.copy(2)
    book.set(4, task_descr="Work copied")
    await watcher.settle()
    copied = next(line for line in book.rows() if line["task_descr"] == "Work copied")
    assert copied["qb_row_key"] not in ("", key)
    assert (copied["qb_invoice_id"], copied["qb_sync_status"]) == ("", "pending")
    assert next(line for line in book.rows() if line["task_descr"] == "Work INV-1")["qb_row_key"] == key
    assert Counter(m.data.source_key for m in await watcher.messages(topics.COMMANDS)) == Counter(
        {line["qb_row_key"]: 1 for line in book.rows()}
    )


async def test_deleted_row_is_retracted_after_it_was_missing_twice(watcher: Watcher, book: Book) -> None:
    book.begin(row("INV-1"), row("INV-2"))
    await watcher.settle()
    key = book.row("INV-1")["qb_row_key"]
    book.delete(2)
    await watcher.settle()
    assert len(await watcher.messages(topics.COMMANDS)) == 2
    await watcher.let_time_pass()
    await watcher.settle()
    last = [m for m in await watcher.messages(topics.COMMANDS) if m.data.source_key == key][-1]
    assert isinstance(last, RetractDocument)
    assert last.data.version == 2


async def test_broken_rows_say_why_in_row_event_and_go_on_when_corrected(watcher: Watcher, book: Book) -> None:
    book.begin(
        row("INV-1", inv_dollars=""),
        row("INV-2", inv_from="Somebody New"),
        row("INV-3", submitted_date="sometime in May"),
        row("INV-4"),
    )
    await watcher.settle()
    for invoice, word in (("INV-1", "inv_dollars"), ("INV-2", "Somebody New"), ("INV-3", "sometime in May")):
        assert book.row(invoice)["qb_sync_status"] == "failed"
        assert word in book.row(invoice)["qb_error"]
    events = await watcher.messages(topics.EVENTS)
    assert {e.data.source_key for e in events} == {book.row(f"INV-{n}")["qb_row_key"] for n in (1, 2, 3)}
    assert [m.data.content.lines[0].description for m in await watcher.messages(topics.COMMANDS)] == ["Work INV-4"]
    book.set(2, inv_dollars=10)
    await watcher.settle()
    await watcher.answer_all()
    await watcher.settle()
    assert (book.row("INV-1")["qb_sync_status"], book.row("INV-1")["qb_error"]) == ("synced", "")


async def test_error_that_begins_like_a_formula_stays_a_text(watcher: Watcher, book: Book) -> None:
    book.begin(row("INV-1", inv_from="=1+1", task_descr="=HYPERLINK(1)"))
    await watcher.settle()
    assert "=1+1" in book.row("INV-1")["qb_error"]
    book.set(2, inv_from="ACD")
    await watcher.settle()
    (command,) = await watcher.messages(topics.COMMANDS)
    assert command.data.content.lines[0].description == "=HYPERLINK(1)"


async def test_quota_answer_keeps_commands_and_is_waited_for(watcher: Watcher, book: Book) -> None:
    book.begin(row("INV-1"))
    await watcher.settle()
    await watcher.answer_all()
    book.set(2, notes="PO 8")
    book.fault(method="POST", path="values:batchUpdate", status=429, headers={"Retry-After": "7"}, times=1)
    with pytest.raises(ThrottledError) as caught:
        await watcher.polling.poll()
    assert caught.value.seconds == 7
    await watcher.relay.step()
    assert [m.data.version for m in await watcher.messages(topics.COMMANDS)] == [1, 2]
    await watcher.answer_all()
    await watcher.settle()
    assert book.row("INV-1")["qb_sync_status"] == "synced"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            {"status": 403, "body": {"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}},
            "Share the spreadsheet with",
        ),
        ({"status": 404, "body": {"error": {"code": 404, "message": "no", "status": "NOT_FOUND"}}}, "SHEETS_SPREADSHEET_ID"),
        ({"status": 400, "body": {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}}, "SHEETS_WORKSHEET"),
    ],
)
async def test_refusal_that_needs_an_operator_says_what_to_do(
    watcher: Watcher, book: Book, fault: dict[str, Any], words: str
) -> None:
    book.fault(path="values:batchGet", times=1, **fault)
    with pytest.raises(PausedError) as caught:
        await watcher.polling.poll()
    assert words in caught.value.fix


async def test_token_that_ended_early_is_renewed_once(watcher: Watcher, book: Book) -> None:
    book.begin(row("INV-1"))
    await watcher.settle()
    book.fault(
        path="values:batchGet", status=401, body={"error": {"code": 401, "message": "x", "status": "UNAUTHENTICATED"}}, times=1
    )
    await watcher.settle()
    book.fault(
        path="values:batchGet", status=401, body={"error": {"code": 401, "message": "x", "status": "UNAUTHENTICATED"}}, times=2
    )
    with pytest.raises(PausedError):
        await watcher.polling.poll()


async def test_two_watchers_of_one_sheet_publish_no_version_twice(watcher: Watcher, book: Book) -> None:
    book.begin(*(row(f"INV-{n}") for n in range(5)))
    for _ in range(4):
        results = await asyncio.gather(watcher.polling.poll(), watcher.polling.poll(), return_exceptions=True)
        assert all(not isinstance(r, BaseException) or isinstance(r, BookrelayError) for r in results), results
    await watcher.settle()
    said = await watcher.messages(topics.COMMANDS)
    assert Counter((m.data.source_key, m.data.version) for m in said) == Counter(
        {(line["qb_row_key"], 1): 1 for line in book.rows()}
    )


# ------------------------------------------------------------------------------------------------------------ as a process


class Writer:
    """Stands where the writer stands: answers every upsert on the events topic, some of them twice."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._bootstrap, self._realm = environment["KAFKA_BOOTSTRAP_SERVERS"], environment["QBO_REALM_ID"]
        self._publisher = Publisher(self._bootstrap, "test-writer")
        self._answered: set[Any] = set()

    async def __aenter__(self) -> "Writer":
        await self._publisher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._publisher.stop()

    async def commands(self) -> list[AnyMessage]:
        return await read_topic(self._bootstrap, topics.COMMANDS, self._realm)

    async def answer(self) -> None:
        new = [m for m in await self.commands() if m.id not in self._answered and isinstance(m, UpsertInvoice | UpsertBill)]
        await self._publisher.publish(topics.EVENTS, [posted(m) for m in new for _ in range(2)])
        self._answered |= {m.id for m in new}


def all_synced(book: Book) -> bool:
    return all(line.get("qb_sync_status") == "synced" for line in book.rows())


@pytest.mark.slow
async def test_process_carries_rows_and_events_while_the_sheet_is_sorted_copied_and_edited(
    start: Start, book: Book, environment: dict[str, str]
) -> None:
    rng = random.Random(3)
    book.begin(*(row(f"INV-{n:02d}", inv_from=rng.choice(("ACD", "xyz"))) for n in range(30)))
    service = start()
    async with Writer(environment) as writer:
        for step in range(6):
            await writer.answer()
            book.sort(rng.randrange(8), descending=bool(step % 2))
            book.add(row(f"INV-{50 + step}"))
            reads = len(book.requests("values:batchGet"))
            await until(lambda reads=reads: len(book.requests("values:batchGet")) > reads)  # type: ignore[misc]

        async def done() -> bool:
            await writer.answer()
            return all_synced(book)

        await until(done, 120)
        said = await writer.commands()
    assert service.stop() == 0
    assert len(book.rows()) == 36
    for line in book.rows():
        assert line["qb_invoice_id" if line["inv_from"] == "ACD" else "qb_bill_id"] == qbo_id(line["task_descr"])
    contents = Counter(m.data.content.lines[0].description for m in said if not isinstance(m, RetractDocument))
    assert set(contents) == {line["task_descr"] for line in book.rows()}
    assert len({m.data.source_key for m in said}) == 36


@pytest.mark.slow
async def test_sixty_real_looking_rows_end_as_labelled_within_google_s_quotas(
    start: Start, labelled: Book, real_environment: dict[str, str]
) -> None:
    service = start()
    async with Writer(real_environment) as writer:

        def rows() -> list[tuple[dict[str, Any], dict[str, Any]]]:
            books = labelled.control("GET", "books")  # not Google's API: the test must not use up the quota
            return [(line, books["labels"][line["eteam_id"]]) for line in books["rows"]]

        async def done() -> bool:
            await writer.answer()
            asked_for = [line for line, label in rows() if label["expected"] != "ignored"]
            return all(line.get("qb_sync_status") in ("synced", "failed") for line in asked_for)

        await until(done, 150)
        said = {m.data.source_key: m for m in await writer.commands()}
    assert service.stop() == 0
    for line, label in rows():
        if label["expected"] == "posted":
            assert line["qb_sync_status"] == "synced", line
            assert said[line["qb_row_key"]].data.content.total == Decimal(label["amount"]), line
            assert said[line["qb_row_key"]].data.kind == label["document"], line
        elif label["expected"] == "rejected":
            assert line["qb_sync_status"] == "failed", line
            assert line["qb_error"].startswith("QB004: "), line
        else:
            assert not line.get("qb_row_key"), line
    assert not [r for r in labelled.requests("/v4/") if r["status"] == 429]


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_killed_at_random_moments_ends_with_every_row_synced_and_one_document_each(
    start: Start, book: Book, environment: dict[str, str]
) -> None:
    book.begin(*(row(f"INV-{n:02d}") for n in range(40)))
    rng = random.Random(11)
    async with Writer(environment) as writer:
        for _ in range(4):
            service = start()
            await until(service.port, 120)  # the broker waits for the member that was killed
            await asyncio.sleep(rng.uniform(0.1, 1.5))
            service.kill()
            await writer.answer()
            book.sort(rng.randrange(8), descending=bool(rng.randrange(2)))
        service = start()
        await until(service.port, 120)

        async def done() -> bool:
            await writer.answer()
            return all_synced(book)

        await until(done, 120)
        said = await writer.commands()
    assert_each_row_tells_of_itself(book)
    assert {m.data.source_key for m in said} == {line["qb_row_key"] for line in book.rows()}
    assert len({m.id for m in said}) == 40
    assert service.stop() == 0


async def test_missing_columns_make_the_service_not_ready_by_their_names_and_it_recovers(start: Start, book: Book) -> None:
    book.begin(headers=("invoice", "status", "to_client"))
    service = start()

    async def says_why() -> bool:
        status, body = await service.ready()
        return status == 503 and "inv_dollars, inv_from" in str(body["reasons"])

    await until(says_why)


async def test_wrong_files_end_the_service_with_the_setting_s_name(
    start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({"money_in": ["A"], "money_out": ["a"]}))
    for settings, words in (
        ({"QB_DIRECTIONS_FILE": ""}, "QB_DIRECTIONS_FILE is missing"),
        ({"QB_DIRECTIONS_FILE": str(bad)}, "is in both money_in and money_out"),
        ({"GOOGLE_CREDENTIALS_FILE": str(tmp_path / "none.json")}, "GOOGLE_CREDENTIALS_FILE: "),
        ({"GOOGLE_CREDENTIALS_FILE": str(bad)}, "lacks client_email"),
        ({"SHEETS_SPREADSHEET_ID": ""}, "SHEETS_SPREADSHEET_ID is missing"),
    ):
        service = start(**settings)
        assert service.process.wait(90) == 1
        assert words in service.log.read_text().splitlines()[0]


async def test_client_names_and_keys_stand_in_no_log(start: Start, book: Book, environment: dict[str, str]) -> None:
    book.begin(row("INV-1", to_client="Zzcanary Ltd"), row("INV-2", to_client="Zzcanary Ltd", inv_dollars="x"))
    service = start(LOG_LEVEL="DEBUG")
    await until(lambda: [line for line in book.rows() if line.get("qb_sync_status") == "failed"])
    assert service.stop() == 0
    text = service.log.read_text()
    assert "row.published" in text
    assert "row.rejected" in text
    assert "Zzcanary" not in text
    assert "PRIVATE KEY" not in text
