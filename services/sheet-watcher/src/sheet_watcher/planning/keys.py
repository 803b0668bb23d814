"""Which key each row has, gets or gets back. The key identifies the row.

A key is written into the row and read back before anything is published under it, so that one row never becomes two documents,
nor two rows one, however they are sorted, copied or moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bookrelay.messages import Kind

from sheet_watcher.domain import BILL_ID, INVOICE_ID, KnownRow, SheetRow, is_key
from sheet_watcher.planning.plan import Plan
from sheet_watcher.planning.poll import Poll


@dataclass
class Keys:
    """The keys of one read. Positions are row numbers in the sheet, from 1."""

    owners: dict[str, SheetRow] = field(default_factory=dict)  # key -> its row
    to_write: dict[int, str] = field(default_factory=dict)  # position -> the key to write there
    copies: set[int] = field(default_factory=set)  # positions whose result cells were copied from another row


def assign_keys(poll: Poll, plan: Plan) -> Keys:
    """Decide which row owns each key, and which key each row without one gets. Unusual cases are logged."""
    assignment = _Assignment(poll, plan)
    assignment.find_owners()
    assignment.give_keys()
    return assignment.keys


class _Assignment:
    """Assigns the keys of one read: first the keys present in rows, then keys for rows without one."""

    def __init__(self, poll: Poll, plan: Plan) -> None:
        self._poll, self._plan = poll, plan
        self._known = poll.state.rows
        self.keys = Keys()
        self._by_qbo_id = {
            (result.kind, result.qbo_id): result.key for result in poll.state.results.values() if result.qbo_id is not None
        }

    def find_owners(self) -> None:
        """Decide which row owns each key. Copying a row copies its key: the original row keeps it."""
        holders: dict[str, list[SheetRow]] = {}
        for row in self._poll.snapshot.rows:
            if is_key(row.key):
                holders.setdefault(row.key, []).append(row)
        for key, rows in holders.items():
            known = self._known.get(key)
            owner = min(rows, key=lambda row: _unlikeness(row, known)) if known else rows[0]
            self.keys.owners[key] = owner
            for row in rows:
                if row is not owner:
                    self._rekey_copy(row, copied_key=key)

    def give_keys(self) -> None:
        """Restore keys to rows that lost theirs, and assign new keys to eligible rows without one."""
        owners, to_write = self.keys.owners, self.keys.to_write
        lost = {key: known for key, known in self._known.items() if key not in owners and known.in_force is not None}
        for row in self._poll.snapshot.rows:
            if row.position in self.keys.copies or row.is_blank() or row.key in self._known:
                continue
            if key := self._lost_key_of(row, lost):
                del lost[key]
                owners.pop(row.key, None)
                to_write[row.position] = key
                self._plan.note("row.key_restored", row, key=key)
            elif row.key in owners:
                continue  # its key was just written and is now read back
            elif self._shows_a_known_document(row):
                self._rekey_copy(row)
            elif self._poll.rules.is_eligible(row) and not row.shows_a_document():
                to_write[row.position] = self._poll.new_key()

    def _rekey_copy(self, row: SheetRow, **fields: str) -> None:
        """Give a copied row its own key."""
        key = self._poll.new_key()
        self.keys.copies.add(row.position)
        self.keys.to_write[row.position] = key
        self._plan.note("row.copied", row, **fields, key=key)

    def _lost_key_of(self, row: SheetRow, lost: Mapping[str, KnownRow]) -> str | None:
        """Return the known key that this row has lost, found by the document id it shows, else by its content."""
        if not lost:
            return None
        for shown in _documents_shown(row):
            key = self._by_qbo_id.get(shown)
            if key in lost:
                return key
        fingerprint = row.fingerprint()
        # A row that resembles one deleted long ago is a new row, such as next month's invoice to the same client.
        alike = [key for key, known in lost.items() if known.fingerprint == fingerprint and not self._poll.is_long_gone(known)]
        return min(alike, key=lambda key: abs(lost[key].position - row.position)) if alike else None

    def _shows_a_known_document(self, row: SheetRow) -> bool:
        return any(self._by_qbo_id.get(shown) in self.keys.owners for shown in _documents_shown(row))


def _documents_shown(row: SheetRow) -> tuple[tuple[Kind, str], tuple[Kind, str]]:
    """Return the ids in the row's id cells, "" for an empty one."""
    return (Kind.INVOICE, row.text(INVOICE_ID)), (Kind.BILL, row.text(BILL_ID))


def _unlikeness(row: SheetRow, known: KnownRow) -> tuple[bool, int, int]:
    return row.fingerprint() != known.fingerprint, abs(row.position - known.position), row.position
