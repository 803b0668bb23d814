"""A source that is not one of our services: a till that publishes plain messages with plain aiokafka."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any

from aiokafka import AIOKafkaProducer
from bookrelay import messages as m
from bookrelay import topics

from sandbox.demo.dataset import CLIENTS, VENDORS, Expectation, cents

SOURCE = "till"
KINDS: tuple[type[m.Content], ...] = (m.SalesReceiptContent, m.CreditMemoContent, m.VendorCreditContent)


@dataclass
class Slip:
    """A document of the till, and its expected result."""

    content: m.Content
    expect: Expectation
    version: int = 1
    withdrawn: bool = False


def slips(count: int, seed: int, today: date) -> list[Slip]:
    """Return `count` slips, cycling through the kinds."""
    rng, made = Random(seed + 2), []
    for i in range(count):
        of, token, amount = KINDS[i % len(KINDS)], f"#T{i:03d}", cents(rng, 5, 400)
        given: dict[str, Any] = {"txn_date": today, "memo": f"Slip {i}"}
        if of is m.VendorCreditContent:
            given["vendor"] = m.Party(name=rng.choice(VENDORS))
            given["lines"] = (m.BillLine(description=f"Returned {token}", amount=amount),)
        else:
            given["customer"] = m.Party(name=rng.choice(CLIENTS))
            given["lines"] = (m.InvoiceLine(description=f"Course book {token}", amount=amount),)
        content = of(**given)
        made.append(Slip(content, Expectation(SOURCE, token, kind_of(content).value, "posted", amount)))
    return made


def paying(quotes: Sequence[Expectation], invoices: Sequence[dict[str, Any]], today: date) -> list[Slip]:
    """Return a payment for each of these invoices; all but the first pay slightly more, which remains the customer's credit."""
    made = []
    for i, (quote, invoice) in enumerate(zip(quotes, invoices, strict=True)):
        amount = quote.amount or Decimal(0)
        token, more = f"#P{i:03d}", Decimal("5.00") if i else Decimal(0)
        content = m.PaymentContent(
            customer=m.Party(name=str(invoice["CustomerRef"]["name"])), txn_date=today, amount=amount + more, payment_ref=token,
            applied=(m.Applied(source="4d-emr", source_key=quote.token.removeprefix("#"), amount=amount),),
        )  # fmt: skip
        made.append(Slip(content, Expectation(SOURCE, token, "payment", "posted", amount + more)))
    return made


def kind_of(content: m.Content) -> m.Kind:
    """Return the kind of document that a content is for."""
    kind: m.Kind = command("0", Slip(content, Expectation(SOURCE, "#", "", ""))).data.kind
    return kind


def change(slip: Slip, amount: Decimal) -> None:
    """Change the amount of a slip with lines."""
    assert not isinstance(slip.content, m.PaymentContent)
    line = slip.content.lines[0].model_copy(update={"amount": amount})
    slip.content = slip.content.model_copy(update={"lines": (line,)})
    slip.version, slip.expect = slip.version + 1, replace(slip.expect, amount=amount)


def withdraw(slip: Slip) -> None:
    """Withdraw a slip."""
    slip.withdrawn, slip.version = True, slip.version + 1
    slip.expect = replace(slip.expect, outcome="retracted", amount=None)


def command(realm: str, slip: Slip) -> m.Command:
    """Return the slip's command."""
    about: dict[str, Any] = {
        "realm": realm, "source": SOURCE, "source_key": slip.expect.token.removeprefix("#") or "0", "version": slip.version,
        "modified_at": datetime.now(UTC),
    }  # fmt: skip
    if slip.withdrawn:
        data = m.RetractDocumentData(**about, kind=m.Kind(slip.expect.kind), reason="The slip was cancelled.")
        return m.RetractDocument.of(data, sender=SOURCE)
    return m.upsert(slip.content, sender=SOURCE, **about)


async def publish(bootstrap_servers: str, realm: str, some: Sequence[Slip]) -> None:
    """Publish the slips' commands, each starting its own trace."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for slip in some:
            message = command(realm, slip)
            trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
            await producer.send_and_wait(
                topics.COMMANDS.name, message.encode(), key=message.key(), headers=[("traceparent", trace.encode())]
            )
    finally:
        await producer.stop()
