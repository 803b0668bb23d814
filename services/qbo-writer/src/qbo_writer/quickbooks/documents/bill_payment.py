"""Bill payments in QuickBooks: checks, each for one bill."""

from collections.abc import Sequence

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds import BillPaymentContent
from qbo_writer.quickbooks.documents.draft import Draft
from qbo_writer.quickbooks.documents.form import Finder, Form, Raw
from qbo_writer.quickbooks.values import cents, decimal_of, part, ref


def _write(draft: Draft, content: BillPaymentContent) -> None:
    bank, amount = draft.ids["bank_account"], cents(content.amount)
    draft.head("vendor", content.vendor_id, content.txn_date, content.memo)
    draft.numbered()
    draft.heading("ap_account", kept=("ap_account",))
    link = {"TxnId": content.bill_id, "TxnType": "Bill"}
    draft.body |= {
        "TotalAmt": content.amount, "PayType": "Check", "CheckPayment": {"BankAccountRef": {"value": bank}},
        "Line": [{"Amount": content.amount, "LinkedTxn": [link]}],
    }  # fmt: skip
    draft.fields |= {
        "amount": amount, "bank_account": bank, "lines": "1", "line.1.amount": amount, "line.1.bill": content.bill_id,
    }  # fmt: skip


async def _refer(finder: Finder, content: BillPaymentContent) -> None:
    await finder.paying_account()
    await finder.account("ap_account")


def _read(raw: Raw, lines: Sequence[Raw]) -> tuple[dict[str, str], Sequence[Raw]]:
    bank = ref(part(raw, "CheckPayment").get("BankAccountRef"))
    return {"amount": cents(decimal_of(raw.get("TotalAmt"))), "bank_account": bank}, lines


BILL_PAYMENT = Form(LedgerKind.BILL_PAYMENT, "BillPayment", "billpayment?txnId={}", "vendor", _write, _refer, _read)
