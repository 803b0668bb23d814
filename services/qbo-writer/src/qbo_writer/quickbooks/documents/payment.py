"""Customers' payments in QuickBooks."""

from collections.abc import Sequence
from typing import Any

from bookrelay.messages import PaymentContent

from qbo_writer.domain import LedgerKind
from qbo_writer.quickbooks.documents.draft import Draft
from qbo_writer.quickbooks.documents.form import Finder, Form, Raw
from qbo_writer.quickbooks.values import cents, clean, decimal_of, text

_PARTS = ((LedgerKind.INVOICE, "Invoice"), (LedgerKind.CREDIT_MEMO, "CreditMemo"))


def _write(draft: Draft, content: PaymentContent) -> None:
    draft.head("customer", draft.ids["customer"], content.txn_date, content.memo)
    draft.heading("payment_method", "deposit_account", kept=("deposit_account",))
    draft.reference(content.payment_ref)
    lines: list[dict[str, Any]] = []
    for (kind, type_), part in zip(_PARTS, (content.applied, content.credits), strict=True):
        for at, one in enumerate(part):
            qbo_id = draft.ids[f"{kind}:{at}"]
            lines.append({"Amount": one.amount, "LinkedTxn": [{"TxnId": qbo_id, "TxnType": type_}]})
            draft.fields |= {f"line.{len(lines)}.amount": cents(one.amount), f"line.{len(lines)}.{kind}": qbo_id}
    draft.body |= {"TotalAmt": content.amount, "Line": lines}
    draft.fields |= {"amount": cents(content.amount), "lines": str(len(lines))}


async def _refer(finder: Finder, content: PaymentContent) -> None:
    await finder.deposit(content.deposit_to, content.payment_method)
    await finder.customer(content.customer)


def _read(raw: Raw, lines: Sequence[Raw]) -> tuple[dict[str, str], Sequence[Raw]]:
    return {"amount": cents(decimal_of(raw.get("TotalAmt"))), "payment_ref": clean(text(raw.get("PaymentRefNum")))}, lines


PAYMENT = Form(LedgerKind.PAYMENT, "Payment", "recvpayment?txnId={}", "customer", _write, _refer, _read)
