"""What one read of the sheet means, and what an event means for a row. Pure: state in, a plan out; nothing is done here.

A row is what holds a key. A key is written into the row and read back before anything is published under it; so one row never
becomes two documents, nor two rows one, however they are sorted, copied, moved or cut.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from bookrelay.errors import Code
from bookrelay.messages import (
    AnyMessage,
    BillPosted,
    CommandDeadLettered,
    Difference,
    DocumentDiverged,
    DocumentHeld,
    DocumentRejected,
    DocumentRetracted,
    DocumentSkipped,
    DocumentSuperseded,
    DocumentUnchanged,
    DocumentWaiting,
    EventData,
    InvoicePosted,
    Kind,
    content_hash,
)
from bookrelay.source.documents import Origin, Rejection

from sheet_watcher.domain import (
    BILL_ID,
    FAILED,
    INVOICE_ID,
    KEY,
    PENDING,
    RESULT_COLUMNS,
    STATUS,
    SYNCED,
    CellWrite,
    Directions,
    KnownRow,
    Result,
    SheetRow,
    Snapshot,
    State,
    fold,
    is_key,
)
from sheet_watcher.layout import runs
from sheet_watcher.mapping import Invalid, Valid, cells_of, failure, map_row

NUMBERED = "2:"  # begins a state hash that counts the row's number and total
MAX_ROWS_WRITTEN = 500  # in one request: well under the 2 MB that Google advises; the rest follows a fresh read


@dataclass(frozen=True)
class Rules:
    """What the settings say about rows."""

    origin: Origin
    directions: Directions
    eligible: frozenset[str]
    missing_seconds: float
    retract_limit: int


@dataclass(frozen=True)
class RowChange:
    """A row's state before (None: new) and after."""

    before: KnownRow | None
    after: KnownRow


@dataclass
class Plan:
    """What one read leads to: cells to write, state and messages to commit together, lines to log."""

    writes: list[CellWrite] = field(default_factory=list)
    changes: dict[str, RowChange] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    messages: list[AnyMessage] = field(default_factory=list)
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    rows_written: int = 0
    keys_written: int = 0
    more: bool = False  # the limit was reached: read again at once
    retractions_held: int = 0


def plan(snapshot: Snapshot, state: State, rules: Rules, *, now: datetime, today: date, new_key: Callable[[], str]) -> Plan:
    """Work out everything that one complete read of the sheet leads to."""
    return _Planner(snapshot, state, rules, now, today, new_key).plan()


class _Planner:
    """One read at work. Keys first, then documents, then what is missing, then cells."""

    def __init__(
        self, snapshot: Snapshot, state: State, rules: Rules, now: datetime, today: date, new_key: Callable[[], str]
    ) -> None:
        self._snapshot, self._state, self._rules = snapshot, state, rules
        self._now, self._today, self._new_key = now, today, new_key
        self._plan = Plan()
        self._owners: dict[str, SheetRow] = {}  # key -> the row that holds it by right
        self._rekeyed: dict[int, str] = {}  # position -> the key that is to be written there
        self._copies: set[int] = set()  # positions whose result cells were copied from another row
        self._by_qbo_id = {
            (result.kind, result.qbo_id): result.key for result in state.results.values() if result.qbo_id is not None
        }

    def plan(self) -> Plan:
        self._find_owners()
        self._give_keys()
        for key, row in self._owners.items():
            self._settle(key, row)
        self._settle_missing()
        self._write_cells()
        return self._plan

    # -------------------------------------------------------------------------------------------------------------- keys

    def _find_owners(self) -> None:
        """Decide which row holds each key. A person who copies a row copies its key: the row that we knew keeps it."""
        holders: dict[str, list[SheetRow]] = {}
        for row in self._snapshot.rows:
            if is_key(row.key):
                holders.setdefault(row.key, []).append(row)
        for key, rows in holders.items():
            known = self._state.rows.get(key)
            owner = min(rows, key=lambda row: _unlikeness(row, known)) if known else rows[0]
            self._owners[key] = owner
            for row in rows:
                if row is not owner:
                    self._copies.add(row.position)
                    self._rekeyed[row.position] = self._new_key()
                    self._note("row.copied", row, copied_key=key, key=self._rekeyed[row.position])

    def _give_keys(self) -> None:
        """Give keys back to rows that lost theirs, new ones to eligible rows without."""
        lost = {key: known for key, known in self._state.rows.items() if key not in self._owners and known.in_force is not None}
        for row in self._snapshot.rows:
            if row.position in self._copies or row.is_blank() or row.key in self._state.rows:
                continue
            if key := self._lost_key_of(row, lost):
                del lost[key]
                self._owners.pop(row.key, None)
                self._rekeyed[row.position] = key
                self._note("row.key_restored", row, key=key)
            elif row.key in self._owners:
                continue  # a key that was just written, and is read back now
            elif self._shows_a_known_document(row):
                self._copies.add(row.position)
                self._rekeyed[row.position] = self._new_key()
                self._note("row.copied", row, key=self._rekeyed[row.position])
            elif self._is_eligible(row) and not _shows_any_document(row):
                self._rekeyed[row.position] = self._new_key()

    def _lost_key_of(self, row: SheetRow, lost: Mapping[str, KnownRow]) -> str | None:
        """Return the known key that this row must have held: by the document it shows, else by its content."""
        if not lost:
            return None
        for kind, column in ((Kind.INVOICE, INVOICE_ID), (Kind.BILL, BILL_ID)):
            key = self._by_qbo_id.get((kind, row.text(column)))
            if key in lost:
                return key
        fingerprint = row.fingerprint()
        alike = [key for key, known in lost.items() if known.fingerprint == fingerprint and not self._is_long_gone(known)]
        return min(alike, key=lambda key: abs(lost[key].position - row.position)) if alike else None

    def _is_long_gone(self, known: KnownRow) -> bool:
        """A row that looks like one deleted long ago is a new row: next month's invoice to the same client."""
        return known.missing_since is not None and self._missing_for(known.missing_since) >= self._rules.missing_seconds

    def _missing_for(self, since: datetime) -> float:
        return (self._now - since).total_seconds()

    def _shows_a_known_document(self, row: SheetRow) -> bool:
        pairs = ((Kind.INVOICE, row.text(INVOICE_ID)), (Kind.BILL, row.text(BILL_ID)))
        return any(self._by_qbo_id.get(pair) in self._owners for pair in pairs)

    # --------------------------------------------------------------------------------------------------------- documents

    def _is_eligible(self, row: SheetRow) -> bool:
        return fold(row.text("status")) in self._rules.eligible

    def _settle(self, key: str, row: SheetRow) -> None:
        """Say what a row with its key means: nothing new, a document, or a rejection."""
        known = self._state.rows.get(key)
        if row.is_blank() or (known is None and (_shows_any_document(row) or not self._is_eligible(row))):
            return  # emptied: as good as deleted; or not ours to post
        if known is not None:
            seen = known.model_copy(
                update={
                    "fingerprint": row.fingerprint(), "position": row.position, "missing_since": None,
                    "eligible": self._is_eligible(row),
                }
            )  # fmt: skip
            self._change(known, seen)
            if not seen.eligible:
                return  # paid, or withdrawn for a while: the document is left as it is
        self._settle_eligible(key, row, known)

    def _settle_eligible(self, key: str, row: SheetRow, known: KnownRow | None) -> None:
        first_date = (known.default_date if known else None) or (None if row.text("submitted_date") else self._today)
        last_kind = known.kind if known else None
        try:
            outcome = map_row(row, self._rules.directions, default_date=first_date or self._today, last_kind=last_kind)
        except Exception as error:  # a defect of ours that one row shows must not stop the others
            self._note("row.failed", row, key=key, error=type(error).__name__)
            reason = f"The row cannot be read by the watcher ({type(error).__name__})."
            outcome = Invalid(last_kind or Kind.INVOICE, reason, "Correct the row; if it looks right, tell the developers.")
        state_hash = _state_hash(outcome)
        in_force = known.in_force if known else None
        same = known is not None and known.state_hash in (state_hash, *_earlier_hashes(outcome))
        if same and not self._asked_again(row, known):
            self._keep_hash(key, state_hash)
            return
        version = (known.version if known else 0) + 1
        if isinstance(outcome, Valid):
            if in_force is not None and in_force != outcome.kind:  # the direction was corrected
                self._retract(key, in_force, version, f"The row is {_article(outcome.kind)} now.")
                version += 1
            in_force = outcome.kind
            self._upsert(key, outcome, version)
        else:
            self._reject(key, outcome, version)
        after = KnownRow(
            key=key, version=version, kind=outcome.kind, state_hash=state_hash, in_force=in_force, modified_at=self._now,
            fingerprint=row.fingerprint(), position=row.position, default_date=first_date,
        )  # fmt: skip
        self._change(known, after)

    def _keep_hash(self, key: str, state_hash: str) -> None:
        """Store what the row says in the form of today: from here on a changed number or total is a new version."""
        known = self._state.rows[key]
        after = self._plan.changes[key].after if key in self._plan.changes else known
        self._change(known, after.model_copy(update={"state_hash": state_hash}))

    def _asked_again(self, row: SheetRow, known: KnownRow | None) -> bool:
        """A person who empties the status of a settled row asks for another try."""
        if known is None or row.text(STATUS) or known.shown_status == PENDING:
            return False
        if cells_of(known, self._state.results)[STATUS] != known.shown_status:
            return False
        self._note("row.asked_again", row, key=known.key)
        return True

    def _upsert(self, key: str, outcome: Valid, version: int) -> None:
        command = self._rules.origin.upsert(outcome.content, key=key, version=version, modified_at=self._now, total=outcome.total)
        self._publish(command, key, version)

    def _retract(self, key: str, kind: Kind, version: int, reason: str) -> None:
        command = self._rules.origin.retract(kind, key=key, version=version, modified_at=self._now, reason=reason)
        self._publish(command, key, version)

    def _reject(self, key: str, invalid: Invalid, version: int) -> None:
        rejection = Rejection(invalid.reason, invalid.fix)
        event = self._rules.origin.reject(rejection, kind=invalid.kind, key=key, version=version, at=self._now)
        self._publish(event, key, version, reason=invalid.reason)
        error = failure(rejection.code.value, invalid.reason, invalid.fix)
        self._plan.results.append(Result(key=key, kind=invalid.kind, version=version, status=FAILED, error=error))

    # ------------------------------------------------------------------------------------------------------ deleted rows

    def _settle_missing(self) -> None:
        """Retract what was deleted: only after it was missing in every read for a while, and never too much at once."""
        restored = set(self._rekeyed.values())
        overdue = []
        for key, known in self._state.rows.items():
            owner = self._owners.get(key)
            if (owner is not None and not owner.is_blank()) or key in restored or known.in_force is None:
                continue
            if known.missing_since is None:
                self._change(known, known.model_copy(update={"missing_since": self._now}))
            elif known.eligible and self._missing_for(known.missing_since) >= self._rules.missing_seconds:
                overdue.append(known)  # one that was paid when it was last seen has been archived: its document stays
        if len(overdue) > self._rules.retract_limit:
            self._plan.retractions_held = len(overdue)
            return
        for known in overdue:
            assert known.in_force is not None
            version = known.version + 1
            self._retract(known.key, known.in_force, version, "The row was deleted from the sheet.")
            update = {"version": version, "state_hash": "retracted", "in_force": None, "modified_at": self._now,
                      "kind": known.in_force, "missing_since": None, "shown_status": None}  # fmt: skip
            self._change(known, known.model_copy(update=update))

    # ------------------------------------------------------------------------------------------------------------- cells

    def _write_cells(self) -> None:
        results = dict(self._state.results)
        for result in self._plan.results:
            before = results.get((result.key, result.kind))
            kept = {"qbo_id": before.qbo_id, "url": before.url, "synced_at": before.synced_at} if before else {}
            results[(result.key, result.kind)] = result.model_copy(update=kept)
        owners = {row.position: key for key, row in self._owners.items()}
        for row in self._snapshot.rows:
            wanted = self._wanted_cells(row, owners.get(row.position), results)
            columns = self._snapshot.layout.columns
            different = {columns[name]: text for name, text in wanted.items() if name in columns and row.text(name) != text}
            if different and self._plan.rows_written == MAX_ROWS_WRITTEN:
                self._plan.more = True
                return
            if different:
                self._plan.rows_written += 1
                self._plan.keys_written += row.position in self._rekeyed
                self._plan.writes += runs(row.position, different)

    def _wanted_cells(self, row: SheetRow, key: str | None, results: Mapping[tuple[str, Kind], Result]) -> Mapping[str, str]:
        """Return what this row's cells shall say; nothing for rows that are not ours."""
        if row.position in self._rekeyed:
            given = self._rekeyed[row.position]
            if given in self._state.rows:
                return {KEY: given}  # the rest follows when the key was read back
            blank = dict.fromkeys(RESULT_COLUMNS, "") if row.position in self._copies else {}
            return {**blank, **({STATUS: PENDING} if self._is_eligible(row) else {}), KEY: given}
        change = self._plan.changes.get(key) if key else None
        known = change.after if change else self._state.rows.get(key) if key else None
        if known is None:
            return {}
        wanted = {name: text.strip() for name, text in cells_of(known, results).items()}
        if known.shown_status != wanted[STATUS] and all(row.text(name) == text for name, text in wanted.items()):
            self._change(self._state.rows.get(known.key), known.model_copy(update={"shown_status": wanted[STATUS]}))
        return wanted

    # ------------------------------------------------------------------------------------------------------------ helpers

    def _change(self, before: KnownRow | None, after: KnownRow) -> None:
        if before != after:
            self._plan.changes[after.key] = RowChange(before, after)

    def _publish(self, message: AnyMessage, key: str, version: int, **fields: str) -> None:
        self._plan.messages.append(message)
        self._plan.log.append(("row.published", {"key": key, "version": version, "type": message.type, **fields}))

    def _note(self, event: str, row: SheetRow, **fields: str) -> None:
        self._plan.log.append((event, {"row": row.position, **fields}))


def _unlikeness(row: SheetRow, known: KnownRow) -> tuple[bool, int, int]:
    return row.fingerprint() != known.fingerprint, abs(row.position - known.position), row.position


def _shows_any_document(row: SheetRow) -> bool:
    return bool(row.text(INVOICE_ID) or row.text(BILL_ID))


def _state_hash(outcome: Valid | Invalid) -> str:
    if isinstance(outcome, Valid):
        return f"{NUMBERED}{outcome.kind}:{content_hash(outcome.content)}{_total(outcome)}"
    said = f"{outcome.kind}\x1f{outcome.reason}\x1f{outcome.fix}"
    return f"invalid:{hashlib.sha256(said.encode()).hexdigest()}"


def _earlier_hashes(outcome: Valid | Invalid) -> tuple[str, ...]:
    """Return what an earlier release stored for the same row: it knew neither its number nor its total.

    A row that it published has not changed because we read more of it: its document keeps its number until its next update.
    What is marked as of today is never compared so, or a number that a person fills in later would be passed over.
    """
    if not isinstance(outcome, Valid):
        return ()
    unnumbered = outcome.content.model_copy(update={"number": None})
    return (
        f"{outcome.kind}:{content_hash(unnumbered)}",
        f"{outcome.kind}:{content_hash(outcome.content)}{_total(outcome)}",  # with both, but not marked yet
    )


def _total(outcome: Valid) -> str:
    return "" if outcome.total is None else f":{outcome.total}"


def _article(kind: Kind) -> str:
    return "a bill" if kind == Kind.BILL else "an invoice"


# ----------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True)
class Superseded:
    """The books know a newer version than we do: our state was lost. We count on from there."""

    key: str
    by_version: int


def on_event(event: AnyMessage, *, realm: str, source: str) -> Result | Superseded | None:
    """Return what an event means for one of our rows; None if it is about something else."""
    data = event.data
    if not isinstance(data, EventData) or (data.realm, data.source) != (realm, source):
        return None
    if data.kind not in (Kind.INVOICE, Kind.BILL):
        return None
    common: dict[str, Any] = {
        "key": data.source_key, "kind": data.kind, "version": data.version, "occurrence": data.occurrence
    }  # fmt: skip
    match event:
        case InvoicePosted() | BillPosted():
            return Result(
                **common, status=SYNCED, qbo_id=event.data.qbo_id, url=event.data.url, synced_at=event.time,
                error=_unlike(event.data.differences),
            )  # fmt: skip
        case DocumentUnchanged() if event.data.qbo_id:
            return Result(**common, status=SYNCED, qbo_id=event.data.qbo_id, url=event.data.url, synced_at=event.time)
        case DocumentUnchanged():
            return Result(**common, status="", in_books=False)
        case DocumentRetracted():
            return Result(**common, status="voided" if event.data.how == "voided" else "deleted", in_books=False)
        case DocumentRejected():
            return Result(**common, status=FAILED, error=failure(event.data.code, event.data.reason, event.data.fix))
        case DocumentWaiting():
            return Result(**common, status="waiting", error=failure(event.data.code, event.data.reason, event.data.fix))
        case DocumentSkipped():
            return Result(**common, status="skipped", error=event.data.reason[:2000])
        case DocumentHeld():
            text = failure(Code.CONFLICT.value, event.data.reason, event.data.fix)
            return Result(**common, status="held", error=(text + _told(event.data.differences))[:2000])
        case DocumentDiverged():
            text = "Somebody changed this document in QuickBooks." + _told(event.data.differences)
            return Result(**common, status="diverged", qbo_id=event.data.qbo_id, error=text[:2000])
        case CommandDeadLettered():
            return Result(**common, status=FAILED, error=failure(Code.AUTOMATION_FAILED.value, event.data.reason, ""))
        case DocumentSuperseded():
            return Superseded(data.source_key, event.data.by_version)
    return None


def _unlike(differences: Iterable[Difference]) -> str | None:
    told = _told(differences)
    return f"It is in QuickBooks, but not as this row has it: compare both{told}."[:2000] if told else None


def _told(differences: Iterable[Difference]) -> str:
    told = "; ".join(f"{d.field}: ours {d.ours or 'nothing'}, theirs {d.theirs or 'nothing'}" for d in differences)
    return f" ({told})" if told else ""
