"""One example of every message, for AsyncAPI and the golden files. Its bytes and ids never change."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from bookrelay import messages as m

MOMENT = datetime(2026, 11, 2, 9, 30, 15, 250000, tzinfo=UTC)
REALM = "9341455608740708"
COMMAND = UUID("3d6e7b0e-5f0a-5d2b-9a55-0c6f4c6de001")
URL = "https://app.qbo.intuit.com/app/"
Sender = Callable[..., m.AnyMessage]


def _document(kind: m.Kind, source: str = "4d-emr", key: str = "12082", version: int = 3) -> dict[str, Any]:
    return {"realm": REALM, "source": source, "source_key": key, "kind": kind, "version": version}


_INVOICE = _document(m.Kind.INVOICE)
_BILL = _document(m.Kind.BILL, "sheet:1aZ", "row-2026-0017", 1)
_RECEIPT = _document(m.Kind.SALES_RECEIPT, "till", "2026-11-02/114", 1)
_CREDIT = _document(m.Kind.CREDIT_MEMO, "4d-emr", "12082/credit", 1)
_PAYMENT = _document(m.Kind.PAYMENT, "bank", "2026-11-09/8841", 1)
_VENDOR_CREDIT = _document(m.Kind.VENDOR_CREDIT, "sheet:1aZ", "row-2026-0031", 1)
_ENDED = {"command_id": COMMAND}
_TOKEN = {"sync_token": "3"}
_POSTED = {"outcome": m.Outcome.CREATED, "qbo_id": "145", "sync_token": "0"}


def _commands() -> list[m.AnyMessage]:
    invoice = m.UpsertInvoiceData(
        **_INVOICE,
        modified_at=MOMENT,
        content=m.InvoiceContent(
            customer=m.Party(name="4D-20417 J.D.", email="billing@example.org"),
            txn_date=date(2026, 11, 2),
            due_date=date(2026, 12, 2),
            terms="Net 30",
            class_name="Dental",
            department="Main Street",
            memo="Quote 12082",
            custom_fields=(m.CustomField(name="quote", value="12082"),),
            lines=(
                m.InvoiceLine(
                    item="procedure",
                    description="Composite, two surfaces",
                    quantity=Decimal("14.50"),
                    unit_price=Decimal("128.350"),
                    amount=Decimal("1861.08"),
                ),
                m.InvoiceLine(item="discount", amount=Decimal("-61.08")),
            ),
        ),
    )
    bill = m.UpsertBillData(
        **_BILL,
        modified_at=MOMENT,
        priority=m.Priority.BACKFILL,
        content=m.BillContent(
            vendor=m.Party(name="Zahnlabor Müller & Söhne"),
            txn_date=date(2026, 11, 1),
            lines=(m.BillLine(account="laboratory", description="Crown", amount=Decimal("420.00")),),
        ),
    )
    retract = m.RetractDocumentData(**_INVOICE, modified_at=MOMENT, reason="The quote was cancelled.")
    receipt = m.SalesReceiptContent(
        customer=m.Party(name="Walk-in customer"),
        txn_date=date(2026, 11, 2),
        lines=(m.InvoiceLine(item="toothbrush", quantity=Decimal(2), unit_price=Decimal("4.50"), amount=Decimal("9.00")),),
        deposit_to="till",
        payment_method="Cash",
        payment_ref="114",
    )
    credit = m.CreditMemoContent(
        customer=m.Party(name="4D-20417 J.D."),
        txn_date=date(2026, 11, 2),
        memo="Quote 12082, one surface less",
        number="12082-C",
        lines=(m.InvoiceLine(item="procedure", description="Composite, one surface less", amount=Decimal("150.00")),),
    )
    payment = m.PaymentContent(
        customer=m.Party(name="4D-20417 J.D."),
        txn_date=date(2026, 11, 9),
        amount=Decimal("1700.00"),
        applied=(m.Applied(source="4d-emr", source_key="12082", amount=Decimal("1800.00")),),
        credits=(m.Applied(source="4d-emr", source_key="12082/credit", amount=Decimal("150.00")),),
        deposit_to="bank",
        payment_method="Check",
        payment_ref="8841",
    )
    vendor_credit = m.VendorCreditContent(
        vendor=m.Party(name="Zahnlabor Müller & Söhne"),
        txn_date=date(2026, 11, 2),
        lines=(m.BillLine(account="laboratory", description="Crown, returned", amount=Decimal("420.00")),),
    )
    return [
        m.UpsertInvoice.of(invoice, sender="emr-poller"),
        m.UpsertBill.of(bill, sender="sheet-watcher"),
        m.upsert(receipt, sender="till", **_RECEIPT, modified_at=MOMENT),
        m.upsert(credit, sender="emr-poller", **_CREDIT, modified_at=MOMENT),
        m.upsert(payment, sender="bank", **_PAYMENT, modified_at=MOMENT),
        m.upsert(vendor_credit, sender="sheet-watcher", **_VENDOR_CREDIT, modified_at=MOMENT),
        m.RetractDocument.of(retract, sender="emr-poller"),
    ]


def _events() -> list[m.AnyMessage]:
    about, bill = {**_INVOICE, **_ENDED}, {**_BILL, **_ENDED}
    differences = (m.Difference(field="total", ours="1800.00", theirs="1750.00"), m.Difference(field="memo", ours="Quote 12082"))

    def event(kind: Any, data: Any, sender: str = "qbo-writer") -> m.AnyMessage:
        made: m.AnyMessage = kind.of(data, sender=sender, time=MOMENT)
        return made

    return [
        event(
            m.InvoicePosted,
            m.InvoicePostedData(
                **about, **_POSTED, doc_number="4D-12082", url=f"{URL}invoice?txnId=145", total=Decimal("1800.00")
            ),
        ),
        event(m.BillPosted, m.BillPostedData(**bill, **_POSTED, url=f"{URL}bill?txnId=145", total=Decimal("420.00"))),
        event(
            m.SalesReceiptPosted,
            m.SalesReceiptPostedData(**_RECEIPT, **_ENDED, **_POSTED, url=f"{URL}salesreceipt?txnId=145", total=Decimal("9.00")),
        ),
        event(
            m.CreditMemoPosted,
            m.CreditMemoPostedData(
                **_CREDIT, **_ENDED, **_POSTED, doc_number="12082-C", url=f"{URL}creditmemo?txnId=145", total=Decimal("150.00")
            ),
        ),
        event(
            m.PaymentPosted,
            m.PaymentPostedData(**_PAYMENT, **_ENDED, **_POSTED, url=f"{URL}recvpayment?txnId=145", total=Decimal("1700.00")),
        ),
        event(
            m.VendorCreditPosted,
            m.VendorCreditPostedData(
                **_VENDOR_CREDIT, **_ENDED, **_POSTED, url=f"{URL}vendorcredit?txnId=145", total=Decimal("420.00")
            ),
        ),
        event(
            m.BillPaymentPosted,
            m.BillPaymentPostedData(
                **{**bill, "kind": m.Kind.BILL_PAYMENT}, **_POSTED, url=f"{URL}billpayment?txnId=145", total=Decimal("420.00")
            ),
        ),
        event(
            m.DocumentUnchanged,
            m.DocumentUnchangedData(
                **about, qbo_id="145", doc_number="4D-12082", url=f"{URL}invoice?txnId=145", total=Decimal("1800.00")
            ),
        ),
        event(m.DocumentRetracted, m.DocumentRetractedData(**about, how="voided", qbo_id="145")),
        event(
            m.DocumentRejected,
            m.DocumentRejectedData(
                **_BILL, code="QB004", reason="The row has no amount.", fix="Write an amount into column Amount."
            ),
            "sheet-watcher",
        ),
        event(
            m.DocumentWaiting,
            m.DocumentWaitingData(
                **about,
                code="QB006",
                reason="There is no product or service 'Consultation' in QuickBooks, and no mapping for it.",
                fix="Create it in QuickBooks, or map 'Consultation' under [items] in the company policy.",
            ),
        ),
        event(m.DocumentSkipped, m.DocumentSkippedData(**about, reason="Drafts are left out.")),
        event(
            m.DocumentHeld,
            m.DocumentHeldData(
                **about, occurrence=1, reason="The invoice is partly paid.", fix="Decide on the console.", differences=differences
            ),
        ),
        event(m.DocumentSuperseded, m.DocumentSupersededData(**about, by_version=4)),
        event(m.DocumentDiverged, m.DocumentDivergedData(**about, qbo_id="145", differences=differences)),
        event(m.CommandDeadLettered, m.CommandDeadLetteredData(**about, reason="The command could not be handled.")),
        event(
            m.RealmHalted,
            m.RealmData(realm=REALM, code="QB002", reason="Intuit has revoked the connection: connect again.", since=MOMENT),
        ),
        event(
            m.RealmResumed,
            m.RealmData(realm=REALM, code="QB002", reason="The company was connected again.", since=MOMENT),
        ),
        event(
            m.RealmUnserved,
            m.RealmData(realm=REALM, code="QB001", reason="No writer serves the company: add it to QBO_REALM_IDS.", since=MOMENT),
        ),
        event(m.RealmServed, m.RealmData(realm=REALM, code="QB001", reason="A writer serves the company now.", since=MOMENT)),
        m.BooksDiscrepancy.of(
            m.BooksDiscrepancyData(
                realm=REALM,
                what="double",
                entity="Invoice",
                entity_id="146",
                doc_number="4D-12082",
                source="emr",
                source_key="12082",
                reason="QuickBooks holds a second Invoice (Id 146) of one document: the ledger knows Id 145.",
                fix="Compare both, and delete the wrong one.",
                found_at=MOMENT,
            ),
            sender="qbo-writer",
            time=MOMENT,
        ),
    ]


def _books() -> list[m.AnyMessage]:
    changed = m.EntityChangedData(
        realm=REALM,
        entity="Invoice",
        entity_id="145",
        operation="updated",
        changed_at=MOMENT,
        notification_id="88cd52aa-33b6-4351-9aa4-47572edbd068",
        format="cloudevents",
    )
    read = m.BooksChangedData(
        realm=REALM, entity="Invoice", entity_id="145", operation="updated", changed_at=MOMENT, ours=True, **_TOKEN
    )
    return [
        m.EntityChanged.of(changed, sender="webhook-gateway", time=MOMENT),
        m.BooksChanged.of(read, sender="qbo-writer", time=MOMENT),
    ]


def examples() -> dict[str, m.AnyMessage]:
    """Return one example of every registered message, by type."""
    return {message.type: message for message in (*_commands(), *_events(), *_books())}


def added() -> dict[str, m.AnyMessage]:
    """Return an example for each field that was added later, by name. Their bytes never change either."""
    invoice, bill, *_ = _commands()
    discounted = invoice.data.content.model_copy(
        update={
            "discount": m.Discount(percent=Decimal("8.5")),
            "lines": tuple(
                line.model_copy(update={"tax_code": code})
                for line, code in zip(invoice.data.content.lines, ("20.0% S", "5.0% R"), strict=True)
            ),
        }
    )
    coded = bill.data.content.model_copy(
        update={"lines": tuple(line.model_copy(update={"tax_code": "20.0% S"}) for line in bill.data.content.lines)}
    )
    return {
        "invoice-with-discount-and-tax-codes": m.UpsertInvoice.of(
            invoice.data.model_copy(update={"content": discounted}), sender="emr-poller"
        ),
        "bill-with-tax-code": m.UpsertBill.of(bill.data.model_copy(update={"content": coded}), sender="sheet-watcher"),
        "invoice-with-total": m.UpsertInvoice.of(
            invoice.data.model_copy(update={"total": Decimal("1800.00")}), sender="emr-poller"
        ),
        "bill-with-total": m.UpsertBill.of(bill.data.model_copy(update={"total": Decimal("420.00")}), sender="sheet-watcher"),
    }
