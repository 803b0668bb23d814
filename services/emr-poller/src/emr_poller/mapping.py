"""Maps a quote to its command. Pure; amounts are never corrected here."""

from datetime import date
from decimal import Context, Decimal, localcontext
from zoneinfo import ZoneInfo

from bookrelay.messages import Command, CustomField, Discount, InvoiceContent, InvoiceLine, Kind, Party
from bookrelay.money import LARGEST, to_cents
from bookrelay.source.documents import Origin
from bookrelay.source.errors import RejectedError

from emr_poller.domain import Quote, QuoteStatus

MAX_LINES = 750  # QuickBooks' limit for one invoice
MAX_DESCRIPTION = 4000
_WIDE = Context(prec=60)  # for products of numbers that are not on the invoice and may be of any size


def command_of(quote: Quote, *, origin: Origin, time_zone: ZoneInfo) -> Command:
    """Return the command for this quote; raise RejectedError with reason and fix.

    A completed quote becomes an invoice. An active or inactive one is retracted, even if we never saw it completed: retracting
    nothing costs the writer no request, and does not depend on our own state.
    """
    if quote.status_id == QuoteStatus.COMPLETED:
        content = content_of(quote, time_zone)
        return origin.upsert(
            content, key=str(quote.number), version=quote.version, modified_at=quote.modified_at, total=_total(quote)
        )
    if quote.status_id in (QuoteStatus.ACTIVE, QuoteStatus.INACTIVE):
        name = QuoteStatus(quote.status_id).name.lower()
        return origin.retract(
            Kind.INVOICE, key=str(quote.number), version=quote.version, modified_at=quote.modified_at,
            reason=f"Quote {quote.number} is {name}.",
        )  # fmt: skip
    shown = "no status" if quote.status_id is None else f"status {quote.status_id}"
    raise RejectedError(
        f"Quote {quote.number} has {shown}; only completed (4), active (1) and inactive (0) are supported.",
        "Set the quote to one of these in 4D, or tell the developers what the status means.",
    )


def content_of(quote: Quote, time_zone: ZoneInfo) -> InvoiceContent:
    """Return the invoice of a completed quote; raise RejectedError."""
    lines = (*_procedure_lines(quote), *_supply_lines(quote), *_fee_lines(quote))
    if not lines:
        raise RejectedError(
            f"Quote {quote.number} is completed but has no lines: no procedure, no shown supply, no fee.",
            "Add its procedures in 4D, or set it to inactive.",
        )
    if len(lines) > MAX_LINES:
        raise RejectedError(
            f"Quote {quote.number} has {len(lines)} lines; QuickBooks' limit is {MAX_LINES}.", "Split the quote in 4D."
        )
    whole = sum((line.amount for line in lines), Decimal(0))
    discount, credit = _taken_off(quote, whole)
    if credit:
        lines = (*lines, InvoiceLine(item="credit", description="Credit", amount=-credit))
    if (rest := whole - discount - credit) < 0:
        raise RejectedError(
            f"The lines of quote {quote.number} add up to a negative amount: {rest}.", "Correct its amounts in 4D."
        )
    by = (CustomField(name="Quoted By", value=quote.quoted_by[:31]),) if quote.quoted_by else ()
    return InvoiceContent(
        customer=Party(name=_customer(quote)),
        txn_date=_txn_date(quote, time_zone),
        number=str(quote.number),
        custom_fields=(CustomField(name="Quote Version", value=str(quote.version)), *by),
        lines=lines,
        discount=Discount(amount=discount) if discount else None,
    )


def _taken_off(quote: Quote, lines: Decimal) -> tuple[Decimal, Decimal]:
    """Return the parts of the quote's discount and credit that reduce its lines, as far as its total confirms them.

    How 4D applies them is undocumented: the combination that makes the lines add up to TotalAmt is used. If none does, neither is
    deducted, and the writer puts the invoice on hold with both totals.
    """
    discount, credit = to_cents(quote.discount), to_cents(quote.credit)
    if not discount and not credit:
        return discount, credit
    if quote.total is None:
        raise RejectedError(
            f"Quote {quote.number} has a discount of {discount} and a credit of {credit} but no total, so it is unknown whether "
            "they reduce its lines.",
            "Enter its total in 4D.",
        )
    none, total = Decimal(0), to_cents(quote.total)
    for taken in ((none, none), (discount, credit), (discount, none), (none, credit)):
        if min(taken) >= 0 and lines - sum(taken) == total:
            return taken
    return none, none


def quoted_total(quote: Quote) -> Decimal:
    """Return the expected `TotalAmt`: a plausibility check, not a rule, since the real formula is undocumented."""
    with localcontext(_WIDE):
        procedures = sum(((p.amount or Decimal(0)) - p.discount for p in quote.procedures), Decimal(0))
        supplies = sum(((s.unit_cost or Decimal(0)) * (s.quantity or Decimal(0)) + s.tax for s in quote.supplies), Decimal(0))
        fees = quote.anesthesia_amount + quote.facility_amount
        return to_cents(procedures + supplies + fees - quote.discount - quote.credit)


def total_finding(quote: Quote, content: InvoiceContent) -> dict[str, str] | None:
    """Return how the invoice's total and the EMR's differ; None if they agree or the EMR has none."""
    if quote.total is None or to_cents(quote.total) == content.total:
        return None
    return {
        "quoted_total": str(to_cents(quote.total)),
        "invoice_total": str(content.total),
        "difference": str(content.total - to_cents(quote.total)),
        "sum_of_parts": str(quoted_total(quote)),
    }


def _procedure_lines(quote: Quote) -> list[InvoiceLine]:
    lines = []
    for position, procedure in enumerate(quote.procedures, 1):
        where = f"Procedure {position} of quote {quote.number}"
        if procedure.amount is None:
            raise RejectedError(f"{where} has no amount.", "Enter its amount in 4D.")
        amount = procedure.amount - procedure.discount
        lines.append(_line("procedure", procedure.name, amount, where, negative=procedure.amount < 0))
    return lines


def _supply_lines(quote: Quote) -> list[InvoiceLine]:
    lines = []
    for position, supply in enumerate(quote.supplies, 1):
        if not supply.shown:
            continue
        where = f"Supply {position} of quote {quote.number}"
        if supply.unit_cost is None or supply.quantity is None:
            missing = "unit cost" if supply.unit_cost is None else "quantity"
            raise RejectedError(f"{where} has no {missing}.", f"Enter its {missing} in 4D.")
        amount = supply.unit_cost * supply.quantity
        lines.append(_line("supply", supply.title, amount, where, negative=supply.unit_cost < 0 and supply.quantity > 0))
    return lines


def _fee_lines(quote: Quote) -> list[InvoiceLine]:
    lines = []
    fees = (
        ("anesthesia", quote.anesthesia_amount, f"{quote.anesthesia_group or 'Anesthesia'} Fee", "The anesthesia fee"),
        ("facility", quote.facility_amount, "PSC Facility Fee", "The facility fee"),
    )
    for item, amount, description, what in fees:
        if amount:
            lines.append(_line(item, description, amount, f"{what} of quote {quote.number}"))
    return lines


def _total(quote: Quote) -> Decimal | None:
    """Return the quote's own total: the writer puts an invoice on hold if its lines do not add up to it."""
    if quote.total is None:
        return None
    if abs(quote.total) > LARGEST:
        raise RejectedError(
            f"The total of quote {quote.number} exceeds QuickBooks' limit of {LARGEST}.", "Correct its total in 4D."
        )
    return to_cents(quote.total)


def _line(item: str, description: str | None, amount: Decimal, where: str, *, negative: bool = False) -> InvoiceLine:
    """Return a line. `negative`: a negative amount was entered (a rebate), not caused by a discount or quantity."""
    cents = to_cents(amount) if abs(amount) <= LARGEST else amount
    if cents < 0 and not (negative and cents >= -LARGEST):
        raise RejectedError(f"{where} has a negative amount: {cents}.", "Correct its amount or discount in 4D.")
    if cents > LARGEST:
        raise RejectedError(f"{where} exceeds QuickBooks' limit of {LARGEST}.", "Correct its amount in 4D.")
    text = (description or "").strip()[:MAX_DESCRIPTION]
    return InvoiceLine(item=item, description=text or None, amount=cents)


def _customer(quote: Quote) -> str:
    if not quote.patient_id:
        raise RejectedError(f"Quote {quote.number} has no patient.", "Choose the patient of the quote in 4D.")
    if not quote.patient_initials:
        raise RejectedError(
            f"The patient of quote {quote.number} has no readable name, so the customer has no name.",
            "Enter the patient's name in 4D.",
        )
    return f"{quote.patient_id}.{quote.patient_initials}"


def _txn_date(quote: Quote, time_zone: ZoneInfo) -> date:
    if quote.quoted_at is None:
        raise RejectedError(f"Quote {quote.number} has no date.", "Enter the date of the quote in 4D.")
    return quote.quoted_at.astimezone(time_zone).date()
