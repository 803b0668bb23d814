"""Automatic application of open credit memos to open invoices of the same customer, if the company's settings say so."""

from __future__ import annotations

from decimal import Decimal

from sandbox.qbo.company.store import ZERO, Company, Doc

NOTE = "Created by QB Online to link credits to charges."  # PrivateNote of such payments, seen in exports of real companies


def payment_for(company: Company, kind: str, doc: Doc) -> Doc | None:
    """Body of the payment of zero that links a new invoice or credit memo to what is open, the oldest first; None for nothing."""
    if kind not in ("Invoice", "CreditMemo") or not company.preference("SalesFormsPrefs", "AutoApplyCredit"):
        return None
    invoices = [doc] if kind == "Invoice" else _open(company, "Invoice", doc)
    memos = [doc] if kind == "CreditMemo" else _open(company, "CreditMemo", doc)
    amount = min(sum((row["Balance"] for row in rows), ZERO) for rows in (invoices, memos))
    if not amount:
        return None
    lines = [*_shares("Invoice", invoices, amount), *_shares("CreditMemo", memos, amount)]
    # the day of the new document, which was accepted and hence is not in a closed period
    same: Doc = {name: doc[name] for name in ("TxnDate", "CurrencyRef", "ExchangeRate") if name in doc}
    return {**same, "CustomerRef": {"value": _whose(doc)[0]}, "TotalAmt": ZERO, "PrivateNote": NOTE, "Line": lines}


def _whose(doc: Doc) -> tuple[str, str]:
    return doc["CustomerRef"]["value"], (doc.get("CurrencyRef") or {}).get("value", "")


def _open(company: Company, kind: str, doc: Doc) -> list[Doc]:
    found = [row for row in company.rows(kind) if row["Balance"] and _whose(row) == _whose(doc)]
    return sorted(found, key=lambda row: (row["TxnDate"], int(row["Id"])))


def _shares(kind: str, rows: list[Doc], amount: Decimal) -> list[Doc]:
    lines = []
    for row in rows:
        share = min(row["Balance"], amount)
        amount -= share
        if share:
            lines.append({"Amount": share, "LinkedTxn": [{"TxnId": row["Id"], "TxnType": kind}]})
    return lines
