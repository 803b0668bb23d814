"""Converts contents to QuickBooks JSON and back. Pure; amounts are Decimals and never pass through float.

What is specific to a kind is in `documents`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from bookrelay.money import loads, to_cents

from qbo_writer.domain import BatchItem, BooksEntity, DesiredDocument, LedgerKind, LookupUnreadable, Operation, Resolved
from qbo_writer.identity import MARKER
from qbo_writer.kinds import AnyContent, NameContent
from qbo_writer.names import fold
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import documents
from qbo_writer.quickbooks.documents.draft import HEADING, PARTIES, TAX_WORDS, Draft
from qbo_writer.quickbooks.values import cents, clean, decimal_of, detail, is_a, letters, number, part, ref, rows, text
from qbo_writer.settings import Settings

ENTITY: dict[LedgerKind, str] = {form.kind: form.entity for form in documents.ALL}
KIND: dict[str, LedgerKind] = {form.entity: form.kind for form in documents.ALL}
DOCUMENTS = tuple(form.entity for form in documents.ALL if form.party)
PARTY_ENTITIES = tuple(form.entity for form in documents.ALL if not form.party)
LISTS = (*PARTY_ENTITIES, "Item", "Account", "Term", "Class", "Department")


# -------------------------------------------------------------------------------------------------------------- our content


def wanted(
    kind: LedgerKind, content: AnyContent, resolved: Resolved, policy: Policy, doc_number: str | None, marker: str,
    currency: str | None = None,
) -> DesiredDocument:  # fmt: skip
    """Map any content, including names. `doc_number` None lets QuickBooks number the document.

    `currency`: the ISO code, for a company with several currencies, where a document must name its own (2020); else None.
    """
    form = documents.of(kind)
    draft = Draft(kind, form.entity, resolved.ids, policy, doc_number, marker)
    form.write(draft, content)
    if currency:
        draft.body["CurrencyRef"] = {"value": currency}
    return draft.wanted()


# ------------------------------------------------------------------------------------------------------------------ bodies


def create_body(wanted: DesiredDocument) -> str:
    """Return the body of a create."""
    return dumps(wanted.body_fields)


def update_body(wanted: DesiredDocument, qbo_id: str, sync_token: str) -> str:
    """Return the body of a sparse update with every field that we own, so that removed ones are cleared."""
    head = {"Id": qbo_id, "SyncToken": sync_token, "sparse": True}
    return dumps({**head, **wanted.body_fields, **wanted.cleared})


def void_body(qbo_id: str, sync_token: str) -> str:
    """Return the body of a void."""
    return dumps({"Id": qbo_id, "SyncToken": sync_token, "sparse": True})


def delete_body(qbo_id: str, sync_token: str) -> str:
    """Return the body of a delete."""
    return dumps({"Id": qbo_id, "SyncToken": sync_token})


def name_body(kind: LedgerKind, name: str, email: str | None, marker: str) -> str:
    """Return the body that creates a customer or vendor."""
    return create_body(wanted(kind, NameContent(name=name, email=email), Resolved({}), Policy(), None, marker))


def batch_body(items: Sequence[BatchItem]) -> str:
    """Return the body of a batch that embeds each item's exact body text."""
    return '{"BatchItemRequest":[' + ",".join(_batch_item(item) for item in items) + "]}"


def _batch_item(item: BatchItem) -> str:
    request = item.request
    voids = request.operation is Operation.VOID
    operation = "update" if voids else request.operation.value
    options = ',"optionsData":"void"' if voids else ""
    return f'{{"bId":{json.dumps(item.b_id)},"operation":"{operation}"{options},{json.dumps(request.entity)}:{request.body}}}'


def dumps(value: Any) -> str:
    """Write JSON with Decimals as exact numbers. Floats are refused."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{encode_basestring_ascii(key)}:{dumps(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([dumps(item) for item in value]) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        raise TypeError("a float must not reach QuickBooks")
    return json.dumps(value)


def named(body: str) -> set[tuple[str, str]]:
    """Return the list entries (entity, Id) that a request body refers to."""
    found: set[tuple[str, str]] = set()

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                entity = _REFS.get(key.removesuffix("Ref")) if key.endswith("Ref") and isinstance(item, dict) else None
                if entity and item.get("value"):
                    found.add((entity, str(item["value"])))
                walk(item)

    walk(loads(body))
    return found


_REFS = {
    "Customer": "Customer", "Vendor": "Vendor", "Item": "Item", "Account": "Account", "APAccount": "Account",
    "BankAccount": "Account", "DepositToAccount": "Account", "SalesTerm": "Term", "Class": "Class", "Department": "Department",
    "TaxCode": "TaxCode", "TxnTaxCode": "TaxCode", "PaymentMethod": "PaymentMethod",
}  # fmt: skip


# -------------------------------------------------------------------------------------------------------- what QuickBooks has


def marker_of(entity: str, raw: Mapping[str, Any]) -> str | None:
    """Return an entity's marker, as `seen` reads it, but much cheaper."""
    markers = _marked(entity, raw)[1]
    return markers[-1] if markers else None


def _marked(entity: str, raw: Mapping[str, Any]) -> tuple[str, list[str]]:
    note = text(raw.get("PrivateNote") if entity not in PARTY_ENTITIES else raw.get("Notes"))
    return note, MARKER.findall(note)


def seen(entity: str, raw: Mapping[str, Any]) -> BooksEntity:
    """Read an entity from QuickBooks' JSON. Lines that QuickBooks adds (SubTotal) are ignored.

    Malformed parts are read as text or left out, and so differ from ours; raises LookupUnreadable for a malformed amount.
    """
    note, markers = _marked(entity, raw)
    total, balance = _amount(entity, raw, "TotalAmt", raw), _amount(entity, raw, "Balance", raw)
    tax = _amount(entity, raw, "TotalTax", part(raw, "TxnTaxDetail"))
    if entity in PARTY_ENTITIES:
        fields = {"name": fold(clean(text(raw.get("DisplayName"))))}
    else:
        fields = _fields(entity, raw, _memo(note, markers))
    return BooksEntity(
        entity=entity,
        qbo_id=text(raw.get("Id")),
        sync_token=text(raw.get("SyncToken")),
        doc_number=text(raw.get("DocNumber")) or None,
        marker=markers[-1] if markers else None,
        total=to_cents(total),
        balance=to_cents(balance),
        voided=entity in DOCUMENTS and total == 0 and note.lstrip().lower().startswith("voided"),
        fields=fields,
        raw=dict(raw),
        emailed=letters(raw.get("EmailStatus")) == "emailsent",
        kind=KIND.get(entity),
        tax=to_cents(tax),
        active=text(raw.get("Active", True)).lower() == "true",
        updated_at=text(part(raw, "MetaData").get("LastUpdatedTime")),
    )


def readable(entity: str, rows: Iterable[Mapping[str, Any]]) -> tuple[list[BooksEntity], list[str]]:
    """Read many entities; also return the errors of those that cannot be read."""
    found, odd = list[BooksEntity](), list[str]()
    for raw in rows:
        try:
            found.append(seen(entity, raw))
        except LookupUnreadable as error:
            odd.append(str(error))
    return found, odd


def _fields(entity: str, raw: Mapping[str, Any], memo: str) -> dict[str, str]:
    form = documents.called(entity)
    party = (form.party if form else "") or "customer"
    fields = {party: ref(raw.get(PARTIES[party])), "memo": memo, "doc_number": text(raw.get("DocNumber"))}
    fields["txn_date"], fields["due_date"] = text(raw.get("TxnDate"))[:10], text(raw.get("DueDate"))[:10]
    fields.update({key: value for key, name in HEADING.items() if (value := ref(raw.get(name)))})
    if calculation := text(raw.get("GlobalTaxCalculation")):
        fields["tax_calculation"] = TAX_WORDS.get(calculation, calculation)
    for custom in rows(raw.get("CustomField")):
        if custom.get("StringValue"):
            fields[f"custom.{custom.get('DefinitionId')}"] = clean(text(custom["StringValue"]))
    lines: Sequence[Mapping[str, Any]] = [line for line in rows(raw.get("Line")) if not is_a(line, "subtotallinedetail")]
    if form:
        own, lines = form.read(raw, lines)
        fields |= own
    fields["lines"] = str(len(lines))
    for at, line in enumerate(lines, 1):
        fields.update({f"line.{at}.{key}": value for key, value in _line_fields(line) if value})
    return fields


_LINKED = {"bill": "bill", "invoice": "invoice", "creditmemo": "credit_memo"}  # what payments pay


def _line_fields(line: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    found = detail(line)
    yield "amount", cents(decimal_of(line.get("Amount")))
    yield "description", clean(text(line.get("Description")))
    yield "item", ref(found.get("ItemRef"))
    yield "account", ref(found.get("AccountRef"))
    yield "class", ref(found.get("ClassRef"))
    yield "tax", ref(found.get("TaxCodeRef"))
    for key, name in (("quantity", "Qty"), ("unit_price", "UnitPrice")):
        if found.get(name) not in (None, ""):
            yield key, number(decimal_of(found[name]))
    for link in rows(line.get("LinkedTxn")):
        if linked := _LINKED.get(letters(link.get("TxnType"))):
            yield linked, text(link.get("TxnId"))


def url(settings: Settings, kind: LedgerKind, qbo_id: str, realm: str) -> str:
    """Return the document's web address."""
    return f"{settings.ui_url}/app/{documents.of(kind).page.format(qbo_id)}&companyId={realm}"


# ----------------------------------------------------------------------------------------------------------------- details


def _memo(note: str, markers: Sequence[str]) -> str:
    if not markers:
        return clean(note)
    at = note.rindex(markers[-1])
    return clean(note[:at] + note[at + len(markers[-1]) :])


def _amount(entity: str, raw: Mapping[str, Any], name: str, of: Mapping[str, Any]) -> Decimal:
    """Return a total. An unreadable one raises for documents, because it decides what is paid."""
    value = decimal_of(of.get(name))
    if value.is_finite():
        return value
    if entity in DOCUMENTS:
        raise LookupUnreadable(f"{name} of {entity} {text(raw.get('Id'))[:40]} could not be read")
    return Decimal(0)
