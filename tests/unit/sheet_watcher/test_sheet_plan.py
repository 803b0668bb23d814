"""What reads of a sheet lead to: keys, versions, copies, deletions, write-back. A small sheet in memory takes the writes."""

import itertools
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bookrelay.errors import TransientError
from bookrelay.messages import (
    AnyMessage,
    BillPosted,
    BillPostedData,
    Difference,
    DocumentHeld,
    DocumentHeldData,
    DocumentRejected,
    DocumentRejectedData,
    DocumentSuperseded,
    DocumentSupersededData,
    InvoicePosted,
    InvoicePostedData,
    Kind,
    Outcome,
    RetractDocument,
    UpsertBill,
    UpsertInvoice,
    content_hash,
)
from bookrelay.source.documents import Origin
from sheet_watcher import handlers
from sheet_watcher.domain import OWN_COLUMNS, Cell, Directions, KnownRow, Layout, Result, SheetRow, Snapshot, State
from sheet_watcher.handlers import on_event
from sheet_watcher.layout import LayoutError, a1, find_layout, runs, snapshot_of, with_shown_numbers
from sheet_watcher.planning.plan import Plan
from sheet_watcher.planning.poll import Rules
from sheet_watcher.planning.results import Superseded

LAYOUT = Layout(1, {}, 1)
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HEADERS = (
    "invoice",
    "submitted_date",
    "To_Client",
    "inv_from",
    "task_descr",
    "STATUS",
    "Inv_Dollars",
    "inv_link",
    "inv_total",
    *OWN_COLUMNS,
)
RULES = Rules(
    origin=Origin("r", "sheet", "sheet-watcher"), directions=Directions(money_in=("ACD",), money_out=("XYZ",)),
    eligible=frozenset(("submitted", "pending")), missing_seconds=60, retract_limit=3,
)  # fmt: skip


class Sheet:
    """A sheet in memory, the state and the clock: `turn` is one read with its writes and its commit."""

    def __init__(self, *rows: Mapping[str, Cell]) -> None:
        self.values: list[list[Cell]] = [list(HEADERS)]
        self.rows: dict[str, KnownRow] = {}
        self.results: dict[tuple[str, Kind], Result] = {}
        self.now, self.today = NOW, date(2026, 5, 4)
        self.said: list[AnyMessage] = []
        self._keys = (f"br-{n:016x}" for n in itertools.count(1))
        for row in rows:
            self.add(**row)

    def add(self, **cells: Cell) -> None:
        base: dict[str, Cell] = {
            "invoice": f"INV-{len(self.values)}", "submitted_date": "2026-04-01", "to_client": "Northwind", "inv_from": "ACD",
            "task_descr": "Python", "status": "submitted", "inv_dollars": 100,
        }  # fmt: skip
        self.values.append([(base | cells).get(name.casefold(), "") for name in HEADERS])

    def cell(self, row: int, name: str) -> Cell:
        return self.values[row - 1][self._column(name)]

    def set(self, row: int, **cells: Cell) -> None:
        for name, value in cells.items():
            self.values[row - 1][self._column(name)] = value

    def _column(self, name: str) -> int:
        return [header.casefold() for header in HEADERS].index(name)

    def turn(self, *, write: bool = True, commit: bool = True) -> Plan:
        state = State(dict(self.rows), dict(self.results))
        made = handlers.plan(
            snapshot_of(self.values, "inv_tbl"), state, RULES, now=self.now, today=self.today, new_key=self._keys.__next__
        )
        for cells in made.writes if write else ():
            line = self.values[cells.row - 1]
            line[cells.column : cells.column + len(cells.values)] = cells.values
        if commit:
            self.rows |= {key: change.after for key, change in made.changes.items()}
            for result in made.results:
                self.record(result)
            self.said += made.messages
        return made

    def settle(self) -> None:
        """Take turns until one leads to nothing."""
        for _ in range(10):
            made = self.turn()
            if not (made.writes or made.changes or made.messages):
                return
        raise AssertionError("the sheet does not come to rest")

    def record(self, result: Result) -> None:
        """As the store does."""
        before = self.results.get((result.key, result.kind))
        if before and (before.version, before.occurrence) > (result.version, result.occurrence):
            return
        if before and result.in_books:
            kept = {name: getattr(result, name) or getattr(before, name) for name in ("qbo_id", "url", "synced_at")}
            result = result.model_copy(update=kept)
        self.results[(result.key, result.kind)] = result

    def hear(self, event: AnyMessage) -> None:
        end = on_event(event, realm="r", source="sheet")
        assert isinstance(end, Result)
        self.record(end)

    def post_all(self) -> None:
        """Answer every upsert that was not answered yet, as the writer would."""
        self.settle()
        for message in self.said:
            if isinstance(message, UpsertInvoice | UpsertBill):
                self.hear(posted(message.data.source_key, message.data.kind, message.data.version))
        self.settle()

    def commands(self) -> list[tuple[str, str, int]]:
        return [(type(m).__name__, m.data.source_key, m.data.version) for m in self.said]

    def keys(self) -> list[str]:
        return [str(self.cell(number, "qb_row_key")) for number in range(2, len(self.values) + 1)]


def posted(key: str, kind: Kind, version: int, **more: Any) -> AnyMessage:
    common: dict[str, Any] = {
        "realm": "r", "source": "sheet", "source_key": key, "version": version, "outcome": Outcome.CREATED,
        "qbo_id": f"id-{key[-3:]}",
        "sync_token": "0", "url": f"https://qbo/{key}", "total": Decimal("1.00"),
    } | more  # fmt: skip
    if kind == Kind.BILL:
        return BillPosted.of(BillPostedData(**common), sender="qbo-writer", time=NOW)
    return InvoicePosted.of(InvoicePostedData(**common), sender="qbo-writer", time=NOW)


def test_new_row_gets_its_key_first_and_its_command_only_when_the_key_was_read_back() -> None:
    sheet = Sheet({})
    first = sheet.turn()
    assert first.messages == []
    assert sheet.cell(2, "qb_row_key") == "br-0000000000000001"
    assert sheet.cell(2, "qb_sync_status") == "pending"
    sheet.settle()
    assert sheet.commands() == [("UpsertInvoice", "br-0000000000000001", 1)]


def test_key_that_was_never_written_publishes_nothing() -> None:
    sheet = Sheet({})
    for _ in range(3):
        assert sheet.turn(write=False).messages == []
    assert sheet.rows == {}


def test_result_is_written_into_the_row_and_nothing_is_written_twice() -> None:
    sheet = Sheet({}, {"inv_from": "XYZ"})
    sheet.post_all()
    key, bill_key = sheet.keys()
    assert (sheet.cell(2, "qb_invoice_id"), sheet.cell(2, "qb_invoice_url")) == ("id-001", f"https://qbo/{key}")
    assert (sheet.cell(2, "qb_sync_status"), sheet.cell(2, "qb_synced_at")) == ("synced", "2026-05-04T12:00:00Z")
    assert (sheet.cell(3, "qb_bill_id"), sheet.cell(3, "qb_bill_url")) == ("id-002", f"https://qbo/{bill_key}")
    assert (sheet.cell(3, "qb_bill_status"), sheet.cell(3, "qb_sync_status")) == ("synced", "synced")
    assert sheet.cell(3, "qb_invoice_id") == ""
    assert sheet.turn().writes == []


def test_changed_row_counts_up_and_says_pending_until_its_own_version_is_settled() -> None:
    sheet = Sheet({})
    sheet.post_all()
    sheet.set(2, inv_dollars=250)
    sheet.settle()
    (key,) = sheet.keys()
    assert sheet.commands()[-1] == ("UpsertInvoice", key, 2)
    assert sheet.cell(2, "qb_sync_status") == "pending"
    sheet.hear(posted(key, Kind.INVOICE, 1))  # told again, late
    sheet.settle()
    assert sheet.cell(2, "qb_sync_status") == "pending"
    sheet.hear(posted(key, Kind.INVOICE, 2, qbo_id="new"))
    sheet.hear(posted(key, Kind.INVOICE, 1))
    sheet.settle()
    assert (sheet.cell(2, "qb_sync_status"), sheet.cell(2, "qb_invoice_id")) == ("synced", "new")


def test_changed_column_that_is_not_mapped_makes_no_version() -> None:
    sheet = Sheet({})
    sheet.post_all()
    sheet.set(2, inv_link="https://example.com/renamed")
    sheet.settle()
    assert len(sheet.said) == 1


def test_changed_invoice_number_is_a_new_version() -> None:
    sheet = Sheet({})
    sheet.post_all()
    sheet.set(2, invoice="INV-renamed")
    sheet.settle()
    assert [command.data.version for command in sheet.said] == [1, 2]
    assert sheet.said[-1].data.content.number == "INV-renamed"


@pytest.mark.parametrize("total", ["", 130])
def test_the_upgrade_publishes_nothing_and_later_changes_are_seen(total: Cell) -> None:
    """An earlier release stored neither number nor total: its rows are not changed because more of them is read."""
    sheet = Sheet({"inv_total": total}, {"inv_from": "XYZ", "invoice": ""})
    sheet.post_all()
    said = list(sheet.said)
    for message in said:
        assert isinstance(message, UpsertInvoice | UpsertBill)
        content = message.data.content
        old = f"{message.data.kind}:{content_hash(content.model_copy(update={'number': None}))}"
        key = message.data.source_key
        sheet.rows[key] = sheet.rows[key].model_copy(update={"state_hash": old})
    sheet.settle()
    assert sheet.said == said
    sheet.set(2, invoice="INV-77")
    sheet.set(3, invoice="V-1")  # a number where there was none
    sheet.settle()
    key, bill_key = sheet.keys()
    assert sheet.commands()[2:] == [("UpsertInvoice", key, 2), ("UpsertBill", bill_key, 2)]


@pytest.mark.parametrize("status", ["paid", "unsubmitted", "", "anything"])
def test_row_that_is_not_eligible_is_left_alone(status: str) -> None:
    sheet = Sheet({"status": status})
    assert sheet.turn().writes == []
    assert sheet.said == []


def test_row_that_was_paid_keeps_its_document_also_when_it_is_deleted_later() -> None:
    sheet = Sheet({}, {})
    sheet.post_all()
    sheet.set(2, status="Paid", inv_dollars=999)
    sheet.settle()
    del sheet.values[1]
    for _ in range(4):
        sheet.now += timedelta(seconds=61)
        sheet.turn()
    assert len(sheet.said) == 2


def test_deleted_row_is_retracted_only_after_it_was_missing_for_a_while() -> None:
    sheet = Sheet({}, {})
    sheet.post_all()
    key = sheet.keys()[0]
    line = sheet.values.pop(1)
    sheet.turn()
    sheet.now += timedelta(seconds=59)
    sheet.turn()
    assert len(sheet.said) == 2
    sheet.now += timedelta(seconds=2)
    sheet.settle()
    assert sheet.commands()[-1] == ("RetractDocument", key, 2)
    sheet.values.append(line)  # pasted back
    sheet.settle()
    assert sheet.commands()[-1] == ("UpsertInvoice", key, 3)


def test_row_that_was_cut_and_pasted_in_time_is_the_same_document() -> None:
    sheet = Sheet({}, {})
    sheet.post_all()
    line = sheet.values.pop(1)
    sheet.turn()
    sheet.now += timedelta(seconds=30)
    sheet.values.append(line)
    sheet.settle()
    sheet.now += timedelta(seconds=600)
    sheet.settle()
    assert len(sheet.said) == 2


def test_row_that_came_back_in_between_starts_its_wait_anew() -> None:
    sheet = Sheet({}, {})
    sheet.post_all()
    line = sheet.values.pop(1)
    sheet.turn()
    sheet.values.insert(1, line)
    sheet.now += timedelta(seconds=50)
    sheet.turn()
    sheet.values.pop(1)
    for seconds in (10, 50):
        sheet.now += timedelta(seconds=seconds)
        sheet.turn()
    assert len(sheet.said) == 2
    sheet.now += timedelta(seconds=20)
    sheet.turn()
    assert len(sheet.said) == 3


def test_emptied_row_is_as_good_as_deleted() -> None:
    sheet = Sheet({}, {})
    sheet.post_all()
    key = sheet.keys()[0]
    sheet.set(2, invoice="", submitted_date="", to_client="", inv_from="", task_descr="", status="", inv_dollars="")
    sheet.settle()
    sheet.now += timedelta(seconds=61)
    sheet.settle()
    assert sheet.commands()[-1] == ("RetractDocument", key, 2)


def test_too_many_deleted_rows_at_once_retract_nothing() -> None:
    sheet = Sheet(*({} for _ in range(6)))
    sheet.post_all()
    del sheet.values[1:5]
    sheet.turn()
    sheet.now += timedelta(seconds=120)
    made = sheet.turn()
    assert made.retractions_held == 4
    assert not any(isinstance(m, RetractDocument) for m in sheet.said)


def test_corrected_direction_retracts_the_invoice_and_makes_a_bill() -> None:
    sheet = Sheet({})
    sheet.post_all()
    (key,) = sheet.keys()
    sheet.set(2, inv_from="XYZ")
    sheet.settle()
    assert sheet.commands()[1:] == [("RetractDocument", key, 2), ("UpsertBill", key, 3)]
    assert sheet.said[1].data.kind == Kind.INVOICE
    sheet.hear(posted(key, Kind.BILL, 3))
    sheet.record(Result(key=key, kind=Kind.INVOICE, version=2, status="voided", in_books=False))
    sheet.settle()
    assert (sheet.cell(2, "qb_invoice_id"), sheet.cell(2, "qb_bill_id"), sheet.cell(2, "qb_sync_status")) == (
        "",
        "id-001",
        "synced",
    )


# ------------------------------------------------------------------------------------------------------------ wrong rows


def test_a_rejected_row_is_logged_as_rejected_and_not_as_published() -> None:
    sheet = Sheet({"inv_dollars": ""}, {"invoice": "INV-2"})
    logged: list[str] = []
    for _ in range(3):
        logged += [event for event, _ in sheet.turn().log]
    assert sorted(logged) == ["row.published", "row.rejected"]


def test_wrong_row_says_why_and_goes_on_when_it_is_corrected() -> None:
    sheet = Sheet({"inv_dollars": ""})
    sheet.settle()
    (key,) = sheet.keys()
    assert sheet.cell(2, "qb_sync_status") == "failed"
    assert "QB004: inv_dollars is empty. Enter the amount" in str(sheet.cell(2, "qb_error"))
    assert isinstance(sheet.said[0], DocumentRejected)
    sheet.turn()
    assert len(sheet.said) == 1  # told once
    sheet.set(2, inv_dollars="$12.00")
    sheet.settle()
    assert sheet.commands()[1:] == [("UpsertInvoice", key, 2)]
    assert (sheet.cell(2, "qb_sync_status"), sheet.cell(2, "qb_error")) == ("pending", "")


def test_posted_row_that_becomes_wrong_keeps_its_document_and_comes_back_with_its_old_content() -> None:
    sheet = Sheet({})
    sheet.post_all()
    (key,) = sheet.keys()
    sheet.set(2, inv_dollars="oops")
    sheet.settle()
    assert (sheet.cell(2, "qb_sync_status"), sheet.cell(2, "qb_invoice_id")) == ("failed", "id-001")
    sheet.set(2, inv_dollars=100)
    sheet.settle()
    assert sheet.commands()[-1] == ("UpsertInvoice", key, 3)
    assert sheet.cell(2, "qb_sync_status") == "pending"


def test_emptied_status_of_a_settled_row_asks_for_another_try() -> None:
    sheet = Sheet({})
    sheet.settle()
    (key,) = sheet.keys()
    rejected = DocumentRejectedData(
        realm="r",
        source="sheet",
        source_key=key,
        kind=Kind.INVOICE,
        version=1,
        code="QB006",
        reason="No such item.",
        fix="Add it.",
    )
    sheet.hear(DocumentRejected.of(rejected, sender="qbo-writer", time=NOW))
    sheet.settle()
    assert sheet.cell(2, "qb_error") == "QB006: No such item. Add it."
    sheet.set(2, qb_sync_status="")
    sheet.settle()
    assert sheet.commands()[1:] == [("UpsertInvoice", key, 2)]
    assert sheet.cell(2, "qb_sync_status") == "pending"


def test_status_that_was_never_shown_is_no_request_for_another_try() -> None:
    sheet = Sheet({})
    sheet.settle()
    (key,) = sheet.keys()
    sheet.hear(posted(key, Kind.INVOICE, 1))
    sheet.set(2, qb_sync_status="")
    sheet.settle()
    assert len(sheet.said) == 1
    assert sheet.cell(2, "qb_sync_status") == "synced"


def test_scribbled_result_cells_are_put_right() -> None:
    sheet = Sheet({})
    sheet.post_all()
    sheet.set(2, qb_invoice_id="", qb_error="what is this", qb_invoice_url="mine")
    sheet.settle()
    assert (sheet.cell(2, "qb_invoice_id"), sheet.cell(2, "qb_error")) == ("id-001", "")
    assert len(sheet.said) == 1


def test_empty_submitted_date_stays_the_day_of_the_first_sight() -> None:
    sheet = Sheet({"submitted_date": ""})
    sheet.settle()
    sheet.today += timedelta(days=3)
    sheet.settle()
    assert len(sheet.said) == 1
    assert sheet.said[0].data.content.txn_date == date(2026, 5, 4)


# ---------------------------------------------------------------------------------------------------- keys, copies, moves


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_copied_row_becomes_a_document_of_its_own(offset: int) -> None:
    sheet = Sheet({}, {}, {})
    sheet.post_all()
    before = sheet.keys()
    sheet.values.insert(offset, list(sheet.values[2]))
    sheet.settle()
    assert len(set(sheet.keys())) == 4
    assert set(before) < set(sheet.keys())
    assert len(sheet.said) == 4
    (fresh,) = set(sheet.keys()) - set(before)
    position = sheet.keys().index(fresh) + 2
    assert (sheet.cell(position, "qb_invoice_id"), sheet.cell(position, "qb_sync_status")) == ("", "pending")


def test_exact_copy_far_below_leaves_the_key_where_it_was() -> None:
    sheet = Sheet({}, {}, {})
    sheet.post_all()
    before = sheet.keys()
    sheet.values.append(list(sheet.values[3]))
    sheet.settle()
    assert sheet.keys()[:3] == before
    assert sheet.keys()[3] not in before


def test_copy_that_was_edited_at_once_does_not_take_the_original_s_document() -> None:
    sheet = Sheet({}, {})
    sheet.post_all()
    key = sheet.keys()[0]
    copy = list(sheet.values[1])
    sheet.values.insert(1, copy)  # above the original, at its old place
    sheet.set(2, inv_dollars=777, to_client="Somebody else")
    sheet.settle()
    assert sheet.cell(3, "qb_row_key") == key
    assert [m.data.source_key == key for m in sheet.said] == [True, False, False]
    assert sheet.said[-1].data.content.total == Decimal("777.00")


def test_copy_of_a_row_without_its_key_is_no_foreign_document() -> None:
    sheet = Sheet({}, {})
    sheet.post_all()
    sheet.values.append(list(sheet.values[1]))
    sheet.set(4, qb_row_key="", invoice="INV-next")
    sheet.settle()
    assert len(set(sheet.keys())) == 3
    assert len(sheet.said) == 3
    assert sheet.cell(4, "qb_invoice_id") == ""


def test_row_whose_key_was_wiped_out_gets_it_back_and_makes_no_second_document() -> None:
    sheet = Sheet({}, {}, {})
    sheet.post_all()
    before = sheet.keys()
    for number in (2, 3, 4):
        sheet.set(number, **dict.fromkeys(OWN_COLUMNS, ""))
    sheet.values[1], sheet.values[3] = sheet.values[3], sheet.values[1]
    sheet.settle()
    assert sheet.keys() == before[::-1]
    assert not any(isinstance(m, RetractDocument) for m in sheet.said)
    assert {m.data.source_key for m in sheet.said} == set(before)


def test_row_that_lost_its_key_and_was_edited_is_known_by_its_document() -> None:
    sheet = Sheet({}, {})
    sheet.post_all()
    before = sheet.keys()
    sheet.set(2, qb_row_key="", inv_dollars=321)
    sheet.settle()
    assert sheet.keys() == before
    assert sheet.commands()[-1] == ("UpsertInvoice", before[0], 2)


def test_all_columns_of_ours_deleted_and_appended_anew_make_no_second_document() -> None:
    sheet = Sheet({}, {"inv_from": "XYZ"}, {"inv_dollars": ""})
    sheet.post_all()
    before = sheet.keys()
    for number in (2, 3, 4):
        sheet.set(number, **dict.fromkeys(OWN_COLUMNS, ""))
    sheet.settle()
    assert sheet.keys()[:2] == before[:2]
    upserts = {(type(m).__name__, m.data.source_key) for m in sheet.said if not isinstance(m, DocumentRejected)}
    assert upserts == {("UpsertInvoice", before[0]), ("UpsertBill", before[1])}  # told again, under the same keys
    assert sheet.cell(2, "qb_invoice_id") == "id-001"


def test_key_that_fell_on_another_row_in_a_race_is_put_right() -> None:
    """Somebody sorts between our read and our write: a new key lands on a row that had one."""
    sheet = Sheet({}, {})
    sheet.post_all()
    before = sheet.keys()
    sheet.add()
    sheet.set(2, qb_row_key="br-00000000000000aa", qb_sync_status="pending")
    sheet.settle()
    sheet.now += timedelta(seconds=300)
    sheet.settle()
    assert sheet.keys()[:2] == before
    assert [type(m).__name__ for m in sheet.said] == ["UpsertInvoice"] * 3


def test_row_like_one_that_was_archived_long_ago_is_a_new_document() -> None:
    sheet = Sheet({"invoice": "monthly"}, {})
    sheet.post_all()
    sheet.set(2, status="paid")
    sheet.settle()
    del sheet.values[1]
    sheet.turn()
    sheet.now += timedelta(days=30)
    sheet.add(invoice="monthly")
    sheet.settle()
    assert len({m.data.source_key for m in sheet.said}) == 3


def test_sorted_sheet_changes_nothing() -> None:
    sheet = Sheet(*({"inv_dollars": n} for n in range(1, 30)))
    sheet.post_all()
    said = len(sheet.said)
    sheet.values[1:] = sheet.values[:0:-1]
    assert sheet.turn().writes == []
    sheet.settle()
    assert len(sheet.said) == said


def test_row_with_an_invoice_that_we_do_not_know_is_left_alone() -> None:
    sheet = Sheet(
        {"qb_invoice_id": "4711"}, {"qb_bill_id": "12", "inv_from": "XYZ"},
        {"qb_invoice_id": "4712", "qb_row_key": "br-00000000000000ff"},
    )  # fmt: skip
    assert sheet.turn().writes == []
    assert sheet.said == []


def test_key_typed_by_a_person_is_replaced() -> None:
    sheet = Sheet({"qb_row_key": "my key"})
    sheet.settle()
    assert sheet.keys() == ["br-0000000000000001"]
    assert len(sheet.said) == 1


def test_many_rows_are_written_in_bounded_requests() -> None:
    sheet = Sheet(*({"inv_dollars": n} for n in range(1, 1201)))
    first = sheet.turn()
    assert (first.rows_written, first.more) == (500, True)
    sheet.post_all()
    assert len(set(sheet.keys())) == 1200
    assert len(sheet.said) == 1200


# ----------------------------------------------------------------------------------------------------------------- layout


def test_headers_are_found_wherever_they_stand_in_any_case() -> None:
    values: list[list[Cell]] = [["Our invoices"], [], ["x", "INV_FROM", " Status ", None, "Inv Dollars", "end_client"]]
    layout = find_layout(values, "inv_tbl")
    assert layout.header_row == 3
    assert dict(layout.columns) == {"inv_from": 1, "status": 2, "inv_dollars": 4, "end_client": 5}
    assert layout.missing_own() == OWN_COLUMNS


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (["status", "to_client"], "lacks the columns inv_dollars, inv_from"),
        (["status", "inv_dollars", "inv_from"], "to_client or end_client"),
        ([], "lacks the columns status, inv_dollars, inv_from"),
        (["status", "inv_dollars", "inv_from", "to_client", "Status"], "two columns named status"),
    ],
)
def test_worksheet_that_cannot_be_read_is_refused_by_the_names_of_its_columns(headers: list[Cell], words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        find_layout([headers], "inv_tbl")


def test_rows_that_move_between_the_two_reads_of_a_date_are_read_again() -> None:
    def read(*numbers: Cell) -> Snapshot:
        cells = ({"invoice": number, "qb_row_key": f"br-{place:016x}"} for place, number in enumerate(numbers))
        return Snapshot(LAYOUT, tuple(SheetRow(position, named) for position, named in enumerate(cells, 2)))

    first = read(46214, "INV-1")
    assert [row.text("invoice") for row in with_shown_numbers(first, read("7/11/2026", "INV-1")).rows] == ["7/11/2026", "INV-1"]
    moved = Snapshot(LAYOUT, tuple(SheetRow(7 - row.position, row.cells) for row in first.rows))
    with pytest.raises(TransientError, match="changed while it was being read"):
        with_shown_numbers(first, moved)


def test_a1_ranges() -> None:
    made = runs(12, {0: "a", 1: "b", 25: "c", 26: "d", 30: "e"})
    assert [a1("it's", w) for w in made] == ["'it''s'!A12:B12", "'it''s'!Z12:AA12", "'it''s'!AE12:AE12"]


# ----------------------------------------------------------------------------------------------------------------- events


def test_event_of_another_source_or_company_is_not_ours() -> None:
    event = posted("br-1", Kind.INVOICE, 1)
    assert on_event(event, realm="other", source="sheet") is None
    assert on_event(event, realm="r", source="4d-emr") is None


def test_held_event_shows_the_difference_and_superseded_moves_the_version() -> None:
    common: dict[str, Any] = {"realm": "r", "source": "sheet", "source_key": "k", "kind": Kind.INVOICE, "version": 2}
    held = DocumentHeldData(
        **common, reason="It is paid.", fix="Decide.", differences=(Difference(field="total", ours="1.00", theirs="2.00"),)
    )
    end = on_event(DocumentHeld.of(held, sender="qbo-writer", time=NOW), realm="r", source="sheet")
    assert isinstance(end, Result)
    assert (end.status, end.error) == ("held", "QB005: It is paid. Decide. (total: here 1.00, in QuickBooks 2.00)")
    superseded = DocumentSuperseded.of(DocumentSupersededData(**common, by_version=9), sender="qbo-writer", time=NOW)
    assert on_event(superseded, realm="r", source="sheet") == Superseded("k", 9)
