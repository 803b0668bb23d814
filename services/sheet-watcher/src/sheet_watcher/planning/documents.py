"""Plans the messages of a row that has a key: none, an upsert, a change of kind, or a rejection."""

from datetime import date

from bookrelay.messages import Kind
from bookrelay.source.documents import Rejection

from sheet_watcher.domain import PENDING, STATUS, KnownRow, SheetRow
from sheet_watcher.mapping import InvalidRow, ValidRow, map_row
from sheet_watcher.planning.cells import cells_of
from sheet_watcher.planning.deletions import retract
from sheet_watcher.planning.plan import Plan
from sheet_watcher.planning.poll import Poll
from sheet_watcher.planning.results import rejection_result
from sheet_watcher.planning.state_hashes import earlier_hashes, state_hash


def plan_document(poll: Poll, plan: Plan, key: str, row: SheetRow) -> None:
    """Plan the messages of a row, and record where it was seen."""
    known = poll.state.rows.get(key)
    eligible = poll.rules.is_eligible(row)
    if row.is_blank() or (known is None and (row.shows_a_document() or not eligible)):
        return  # emptied, which counts as deleted; or not ours to post
    if known is not None:
        seen = known.model_copy(
            update={
                "fingerprint": row.fingerprint(), "position": row.position, "missing_since": None, "eligible": eligible,
            }
        )  # fmt: skip
        plan.change(known, seen)
        if not eligible:
            return  # paid, or temporarily not eligible: the document stays unchanged
    _plan_eligible(poll, plan, key, row, known)


def _plan_eligible(poll: Poll, plan: Plan, key: str, row: SheetRow, known: KnownRow | None) -> None:
    default_date = (known.default_date if known else None) or (None if row.text("submitted_date") else poll.today)
    mapped = _map(poll, plan, key, row, default_date or poll.today, known.kind if known else None)
    hashed = state_hash(mapped)
    same = known is not None and known.state_hash in (hashed, *earlier_hashes(mapped))
    if same and not _is_retry_requested(poll, plan, row, known):
        _keep_hash(poll, plan, key, hashed)
        return
    version = (known.version if known else 0) + 1
    in_force = known.in_force if known else None
    if isinstance(mapped, ValidRow):
        if in_force is not None and in_force != mapped.kind:  # the direction was corrected
            retract(poll, plan, in_force, key=key, version=version, reason=f"The row is {_article(mapped.kind)} now.")
            version += 1
        in_force = mapped.kind
        _upsert(poll, plan, key, mapped, version)
    else:
        _reject(poll, plan, key, mapped, version)
    after = KnownRow(
        key=key, version=version, kind=mapped.kind, state_hash=hashed, in_force=in_force, modified_at=poll.now,
        fingerprint=row.fingerprint(), position=row.position, default_date=default_date,
    )  # fmt: skip
    plan.change(known, after)


def _map(poll: Poll, plan: Plan, key: str, row: SheetRow, default_date: date, last_kind: Kind | None) -> ValidRow | InvalidRow:
    try:
        return map_row(row, poll.rules.directions, default_date=default_date, last_kind=last_kind)
    except Exception as error:  # a bug of ours that one row triggers must not stop the others
        plan.note("row.failed", row, key=key, error=type(error).__name__)
        reason = f"The watcher failed to read the row ({type(error).__name__})."
        return InvalidRow(last_kind or Kind.INVOICE, reason, "Correct the row; if it looks right, report it to the developers.")


def _keep_hash(poll: Poll, plan: Plan, key: str, hashed: str) -> None:
    """Store the row's hash in its current form, so that from now on a changed number or total makes a new version."""
    after = plan.row_after(key, poll.state.rows)
    assert after is not None
    plan.change(poll.state.rows[key], after.model_copy(update={"state_hash": hashed}))


def _is_retry_requested(poll: Poll, plan: Plan, row: SheetRow, known: KnownRow | None) -> bool:
    """Whether a person has cleared the status of a settled row to request a retry."""
    if known is None or row.text(STATUS) or known.shown_status == PENDING:
        return False
    if cells_of(known, poll.state.results)[STATUS] != known.shown_status:
        return False
    plan.note("row.retry_requested", row, key=known.key)
    return True


def _upsert(poll: Poll, plan: Plan, key: str, valid: ValidRow, version: int) -> None:
    command = poll.rules.origin.upsert(valid.content, key=key, version=version, modified_at=poll.now, total=valid.total)
    plan.add_message(command, key, version)


def _reject(poll: Poll, plan: Plan, key: str, invalid: InvalidRow, version: int) -> None:
    rejection = Rejection(invalid.reason, invalid.fix)
    event = poll.rules.origin.reject(rejection, kind=invalid.kind, key=key, version=version, at=poll.now)
    plan.add_message(event, key, version, reason=invalid.reason)
    plan.results.append(rejection_result(rejection, key=key, kind=invalid.kind, version=version))


def _article(kind: Kind) -> str:
    return "a bill" if kind == Kind.BILL else "an invoice"
