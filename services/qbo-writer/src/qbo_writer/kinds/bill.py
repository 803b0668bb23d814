"""Bills. Where the settings say so, a bill is paid by the writer as soon as it is posted."""

from bookrelay import messages as m

from qbo_writer.domain import BooksEntity, LedgerKind, Operation
from qbo_writer.kinds.bill_payment import payment_of
from qbo_writer.kinds.kind import DocumentKind
from qbo_writer.ledger.changes import FollowUp
from qbo_writer.ledger.records import Attempt, Candidate


def _to_be_paid(attempt: Attempt, seen: BooksEntity) -> bool:
    """A new bill with something left to pay, or one that was changed before its payment arrived."""
    return bool(seen.balance) and (attempt.request.operation is Operation.CREATE or seen.balance == seen.total)


def _payment(attempt: Attempt, seen: BooksEntity) -> tuple[FollowUp, ...]:
    if not _to_be_paid(attempt, seen):
        return ()
    return (payment_of(attempt.document, attempt.command, seen.qbo_id, seen.fields, seen.balance),)


def _withdrawn_for_nothing(candidate: Candidate) -> tuple[FollowUp, ...]:
    """Our payment was withdrawn for a version that came to nothing: the bill stays as it was, and is paid again."""
    document = candidate.document
    if not candidate.withdrawn or not document.live or document.total is None:
        return ()
    return (payment_of(document, candidate.newest, document.qbo_id or "", document.fields or {}, document.total),)


BILL = DocumentKind(
    LedgerKind.BILL, m.BillContent, (m.BillPosted, m.BillPostedData), optional=True, numbered=True, purchase=True,
    unpaid_first=True,
    follow_ups=_payment, missing=_withdrawn_for_nothing,
)  # fmt: skip
