"""Credit memos. Open until applied to an invoice; from then on a change is held."""

from bookrelay import messages as m

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds.kind import APPLIED, DocumentKind

CREDIT_MEMO = DocumentKind(
    LedgerKind.CREDIT_MEMO, m.CreditMemoContent, (m.CreditMemoPosted, m.CreditMemoPostedData), optional=True, numbered=True,
    sales_form=True, used_up=APPLIED,
)  # fmt: skip
