"""Credit memos. One stays open until somebody applies it to an invoice; then it is no longer changed by itself."""

from bookrelay import messages as m

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds.kind import APPLIED, DocumentKind

CREDIT_MEMO = DocumentKind(
    LedgerKind.CREDIT_MEMO, m.CreditMemoContent, (m.CreditMemoPosted, m.CreditMemoPostedData), optional=True, numbered=True,
    sales_form=True, used_up=APPLIED,
)  # fmt: skip
