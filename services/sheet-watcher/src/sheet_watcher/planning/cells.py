"""The content of the watcher's own cells, and which of them to write. No other cell is ever written."""

from collections.abc import Mapping
from datetime import UTC, datetime

from bookrelay.messages import Kind

from sheet_watcher.domain import BILL_ID, INVOICE_ID, KEY, PENDING, RESULT_COLUMNS, STATUS, KnownRow, Result, SheetRow
from sheet_watcher.layout import runs
from sheet_watcher.planning.keys import Keys
from sheet_watcher.planning.plan import Plan
from sheet_watcher.planning.poll import Poll

MAX_ROWS_WRITTEN = 500  # in one request: well under the 2 MB that Google recommends; the others follow after another read

Results = Mapping[tuple[str, Kind], Result]  # by key and kind


def plan_writes(poll: Poll, plan: Plan, keys: Keys) -> None:
    """Plan the writing of all cells that differ from their intended content, after keys, documents and deletions."""
    results = _results_after(poll, plan)
    owners = {row.position: key for key, row in keys.owners.items()}
    columns = poll.snapshot.layout.columns
    for row in poll.snapshot.rows:
        if row.position in keys.to_write:
            wanted = _with_its_key(poll, keys, row)
        else:
            wanted = _with_its_results(poll, plan, row, owners.get(row.position), results)
        different = {columns[name]: text for name, text in wanted.items() if name in columns and row.text(name) != text}
        if different and plan.rows_written == MAX_ROWS_WRITTEN:
            plan.more = True
            return
        if different:
            plan.rows_written += 1
            plan.keys_written += row.position in keys.to_write
            plan.writes += runs(row.position, different)


def cells_of(row: KnownRow, results: Results) -> dict[str, str]:
    """Return the intended content of the watcher's cells in this row: the latest result, or "pending" if there is none."""
    current = results.get((row.key, row.kind))
    invoice, bill = results.get((row.key, Kind.INVOICE)), results.get((row.key, Kind.BILL))
    settled = current if current and current.version >= row.version else None
    status = settled.status if settled else PENDING
    error = (settled.error or "") if settled else ""
    is_bill = row.kind == Kind.BILL
    return {
        INVOICE_ID: (invoice.qbo_id or "") if invoice else "",
        "qb_invoice_url": (invoice.url or "") if invoice else "",
        STATUS: status,
        "qb_synced_at": written_time(current.synced_at) if current else "",
        "qb_error": error,
        BILL_ID: (bill.qbo_id or "") if bill else "",
        "qb_bill_url": (bill.url or "") if bill else "",
        "qb_bill_status": status if is_bill else bill.status if bill else "",
        "qb_bill_error": error if is_bill else (bill.error or "") if bill else "",
    }


def written_time(moment: datetime | None) -> str:
    """Return a time as shown in the sheet: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def _results_after(poll: Poll, plan: Plan) -> Results:
    """Return the results as of the plan's commit: a rejection keeps the previous id, URL and time."""
    results = dict(poll.state.results)
    for result in plan.results:
        before = results.get((result.key, result.kind))
        kept = {"qbo_id": before.qbo_id, "url": before.url, "synced_at": before.synced_at} if before else {}
        results[(result.key, result.kind)] = result.model_copy(update=kept)
    return results


def _with_its_key(poll: Poll, keys: Keys, row: SheetRow) -> Mapping[str, str]:
    """Return the cells of a row that gets a key; in a copied row the copied results are cleared."""
    key = keys.to_write[row.position]
    if key in poll.state.rows:
        return {KEY: key}  # the other cells follow once the key has been read back
    blank = dict.fromkeys(RESULT_COLUMNS, "") if row.position in keys.copies else {}
    return {**blank, **({STATUS: PENDING} if poll.rules.is_eligible(row) else {}), KEY: key}


def _with_its_results(poll: Poll, plan: Plan, row: SheetRow, key: str | None, results: Results) -> Mapping[str, str]:
    """Return the cells of a row that has `key`, none for rows that are not ours; record what the sheet already shows."""
    known = plan.row_after(key, poll.state.rows) if key else None
    if known is None:
        return {}
    wanted = {name: text.strip() for name, text in cells_of(known, results).items()}
    if known.shown_status != wanted[STATUS] and all(row.text(name) == text for name, text in wanted.items()):
        plan.change(poll.state.rows.get(known.key), known.model_copy(update={"shown_status": wanted[STATUS]}))
    return wanted
