"""What was asked, against QuickBooks' answer to it: party, lines, tax, number, marker, Id and total. Pure.

The total is the command's own where its source states one, else that of its lines.

QuickBooks fills in much by itself (a due date from the terms, addresses): only what was asked is compared.
"""

from collections.abc import Mapping
from decimal import Decimal

from bookrelay.money import to_cents

from qbo_writer import comparing, kinds
from qbo_writer.comparing import tax_on_top
from qbo_writer.domain import BooksEntity, Operation, Request
from qbo_writer.ledger.changes import Unlike
from qbo_writer.ledger.records import Command, DocumentState
from qbo_writer.protocol.totals import own_total

_OUR_TEXT = "(our text)"  # a description may name a patient: that it is another one is told, not what it says
_NET = "total_before_tax"


def not_as_asked(
    document: DocumentState, asked: Command, request: Request, fields: Mapping[str, str], seen: BooksEntity
) -> Unlike | None:
    """Compare the entity that a create or update left with what its command asked for."""
    if kinds.of(document.kind).is_name or asked.content is None:
        return None
    there = _comparable(seen)
    total, key = own_total(asked.content), _NET if tax_on_top(fields) else "total"
    if asked.total is not None and not asked.forced:  # the source knows it, tax included; a person may have said otherwise
        total, key = asked.total, "total"
    ours = {**fields, key: format(total, "f"), "marker": document.marker}
    if request.operation is Operation.UPDATE and request.qbo_id:
        ours["id"] = request.qbo_id
    found = comparing.differences(ours, there)
    if not found:
        return None
    amount = to_cents(Decimal(there[key]) - total)
    told = tuple(d.model_copy(update={"ours": _OUR_TEXT}) if d.ours and comparing.is_free_text(d.field) else d for d in found)
    differing = {d.field: ours[d.field] for d in found}
    return Unlike(seen.entity, seen.qbo_id, seen.doc_number, told, amount or None, comparing.veiled(differing, {}))


def as_asked(asked: Mapping[str, str], seen: BooksEntity) -> bool:
    """Whether an entity that differed (`Unlike.asked`) does so no longer."""
    return not comparing.differences(asked, _comparable(seen))


def _comparable(seen: BooksEntity) -> dict[str, str]:
    net = seen.total - seen.tax
    return {
        **seen.fields, "total": format(seen.total, "f"), _NET: format(net, "f"), "marker": seen.marker or "", "id": seen.qbo_id,
    }  # fmt: skip
