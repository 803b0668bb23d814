"""One content of every kind that sources may ask for, for tests that run over all of them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from bookrelay import messages as m

BEGINNING = datetime(2026, 11, 1, 12, tzinfo=UTC)
CONTENT_OF: dict[m.Kind, type[Any]] = {
    upsert.model_fields["data"].annotation.model_fields["kind"].default: (  # type: ignore[union-attr]
        upsert.model_fields["data"].annotation.model_fields["content"].annotation  # type: ignore[union-attr]
    )
    for upsert in m.UPSERTS
}
KINDS = tuple(CONTENT_OF)
SALES = tuple(kind for kind in KINDS if "customer" in CONTENT_OF[kind].model_fields)
ENTITY = {kind: "".join(word.capitalize() for word in kind.value.split("_")) for kind in KINDS}  # as QuickBooks calls them


def content(
    kind: m.Kind, *, amount: str = "100.00", party: str | None = None, description: str = "Treatment", day: date | None = None,
    **more: Any,
) -> Any:  # fmt: skip
    """Return a content of this kind with one line."""
    given: dict[str, Any] = {"txn_date": day or BEGINNING.date(), **more}
    if kind is m.Kind.PAYMENT:  # it has no lines and no number of ours: a reference tells one from another
        given |= {"customer": m.Party(name=party or "P-1 A.B."), "amount": Decimal(amount)}
        given["payment_ref"] = given.pop("number", given.get("payment_ref"))
        return m.PaymentContent(**given)
    if kind in SALES:
        given["customer"] = m.Party(name=party or "P-1 A.B.")
        given["lines"] = (m.InvoiceLine(description=description, amount=Decimal(amount)),)
    else:
        given["vendor"] = m.Party(name=party or "Supplies Ltd")
        given["lines"] = (m.BillLine(description=description, amount=Decimal(amount)),)
    return CONTENT_OF[kind](**given)


def command(realm: str, kind: m.Kind, key: str = "D-1", version: int = 1, **of: Any) -> m.Upsert:
    """Return the command that a document of this kind shall exist."""
    return m.upsert(
        content(kind, **of), sender="emr-poller", realm=realm, source="till", source_key=key, version=version,
        modified_at=BEGINNING + timedelta(minutes=version),
    )  # fmt: skip


def withdrawal(realm: str, kind: m.Kind, key: str = "D-1", version: int = 2) -> m.RetractDocument:
    """Return the command that it shall not exist."""
    data = m.RetractDocumentData(
        realm=realm, source="till", source_key=key, kind=kind, version=version, reason="withdrawn",
        modified_at=BEGINNING + timedelta(minutes=version),
    )  # fmt: skip
    return m.RetractDocument.of(data, sender="emr-poller")
