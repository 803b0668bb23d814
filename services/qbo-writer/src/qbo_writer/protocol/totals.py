"""What a command's document comes to: the sum of its lines, against the total that its source states. Pure.

Decides before anything is sent; `asking` compares QuickBooks' answer afterwards.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bookrelay.errors import Code
from bookrelay.messages import Discount
from bookrelay.money import to_cents

from qbo_writer.comparing import tax_on_top
from qbo_writer.domain import CommandState
from qbo_writer.ledger.changes import Decision
from qbo_writer.ledger.records import Command


def own_total(content: Mapping[str, Any]) -> Decimal:
    """Return what a command's document comes to by itself: its lines less the discount, or the amount of a payment."""
    if "lines" not in content:
        return to_cents(Decimal(str(content["amount"])))
    lines = to_cents(sum((Decimal(str(line["amount"])) for line in content["lines"]), start=Decimal(0)))
    return lines - Discount.model_validate(content["discount"]).of(lines) if content.get("discount") else lines


def below_zero(command: Command) -> Decision | None:
    """Return why a document is not sent: negative lines pass as long as the whole is not negative."""
    own = own_total(command.content or {})
    if own >= 0:
        return None
    return Decision(
        CommandState.REJECTED,
        f"Its lines add up to {own}: QuickBooks takes no document below zero.",
        "Correct the amounts at the source; what is owed to the other side is a credit memo or a vendor credit of its own.",
        Code.VALIDATION,
    )


def disagreement(command: Command, fields: Mapping[str, str] | None) -> Decision | None:
    """Return why a document waits: its lines do not add up to the total that its source states.

    `fields` are those that are to be sent, or that are there (nothing is to be sent); None while they are not known: then only
    what no tax can explain counts. A total above taxed lines may be right: QuickBooks reckons the tax, its answer is compared.
    """
    if command.total is None or command.content is None:
        return None
    own = own_total(command.content)
    if command.total == own or (command.total > own and (fields is None or tax_on_top(fields))):
        return None
    untaxed = " and no tax comes on top" if command.total > own else ""
    return Decision(
        CommandState.HELD,
        f"Its lines add up to {own}{untaxed}, but its source says that the total is {command.total}: {own - command.total} apart.",
        "Correct the lines or the total at the source; a discount, credit or rounding must be a line (or the discount) of the "
        "document. To post the lines as they are: `qbo-writer held force`; for every document: on_total in the company policy.",
        Code.VALIDATION,
    )
