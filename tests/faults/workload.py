"""Seeded commands for one company: creates, edits, retractions, bills, shared new names, redeliveries and swapped versions."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from bookrelay.messages import (
    Applied,
    BillLine,
    Command,
    Content,
    InvoiceLine,
    Kind,
    Party,
    PaymentContent,
    Priority,
    RetractDocument,
    RetractDocumentData,
    UpsertInvoice,
)
from bookrelay.messages import (
    upsert as asked_for,
)
from document_kinds import CONTENT_OF, KINDS, SALES

SOURCE, SENDER = "fault-tests", "emr-poller"
BEGINNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SHARED = "N-"  # begins the numbers that several documents want
ITEMS = ("default", "procedure", "supply", "facility")
OTHERS = {True: tuple(k for k in SALES if k is not Kind.INVOICE), False: tuple(k for k in KINDS if k not in (*SALES, Kind.BILL))}


@dataclass(frozen=True)
class Key:
    """A document of the workload. `name` stands in the description of each of its lines, so the books can be read without us."""

    realm: str
    name: str
    kind: Kind = Kind.INVOICE


def amount(rng: random.Random) -> Decimal:
    """An amount to the cent, of any size that occurs."""
    return Decimal(rng.choice((rng.randint(1, 999), rng.randint(1000, 999_999), rng.randint(1, 99_999_999)))) / 100


def content(key: Key, rng: random.Random, party: str) -> Content:
    """A content for a document of this key."""
    day = date(2026, 1, 1) + timedelta(days=rng.randrange(300))
    words = rng.choice(("visit", "room", "gauze", "Zoë's notes", "50% & more"))
    count = rng.randint(1, 3)
    # Its own number, which changes from version to version; one that others have, too; none.
    number = rng.choice((f"{key.name}-{rng.randint(1, 3)}", f"{SHARED}{rng.randrange(4)}", None))
    memo = rng.choice((None, words))
    if key.kind is Kind.PAYMENT:
        return PaymentContent(customer=Party(name=party), txn_date=day, amount=amount(rng), payment_ref=key.name, memo=memo)
    given: dict[str, Any] = {"txn_date": day, "number": number}
    if key.kind in SALES:
        given["customer"] = Party(name=party)
        given["lines"] = tuple(
            InvoiceLine(item=rng.choice(ITEMS), description=f"{key.name} {words} {i}", amount=amount(rng)) for i in range(count)
        )
    else:
        given["vendor"] = Party(name=party)
        given["lines"] = tuple(BillLine(description=f"{key.name} {words} {i}", amount=amount(rng)) for i in range(count))
    if key.kind is Kind.INVOICE:
        given["due_date"] = day + timedelta(days=30)
    made: Content = CONTENT_OF[key.kind](memo=memo, **given)
    return made


def upsert(key: Key, version: int, content: Content, *, priority: Priority = Priority.LIVE) -> Command:
    """The command that this document shall exist with this content."""
    return asked_for(
        content, sender=SENDER, realm=key.realm, source=SOURCE, source_key=key.name, version=version, priority=priority,
        modified_at=BEGINNING + timedelta(minutes=version),
    )  # fmt: skip


def retract(key: Key, version: int) -> Command:
    """The command that this document shall not exist."""
    data = RetractDocumentData(
        realm=key.realm, source=SOURCE, source_key=key.name, kind=key.kind, version=version,
        modified_at=BEGINNING + timedelta(minutes=version), reason="withdrawn at the source",
    )  # fmt: skip
    return RetractDocument.of(data, sender=SENDER)


@dataclass(frozen=True)
class Workload:
    """Commands in waves; each wave is published when the one before was recorded."""

    waves: tuple[tuple[Command, ...], ...]

    @property
    def commands(self) -> list[Command]:
        """All commands as published, redeliveries included."""
        return [command for wave in self.waves for command in wave]


def make(
    seed: object,
    realm: str,
    documents: int,
    *,
    waves: int = 3,
    prefix: str = "F",
    new_names: int = 3,
    bills: float = 0.3,
    others: float = 0.35,
    paid: float = 0.5,
) -> Workload:
    """Return a workload: each document gets one to three versions; some versions arrive swapped, some messages twice.

    `bills`: how many of the documents are of vendors; `others`: how many of all are neither invoices nor bills;
    `paid`: how many of the invoices that never change have a payment.
    """
    which = random.Random(f"kinds {seed}:{realm}")
    rng = random.Random(f"{seed}:{realm}")
    parties = [f"{prefix} New {i} O'Brien {realm[-4:]}" for i in range(new_names)]
    published: list[list[Command]] = [[] for _ in range(waves)]
    for number in range(documents):
        kind = Kind.BILL if rng.random() < bills else Kind.INVOICE
        kind = which.choice(OTHERS[kind in SALES]) if which.random() < others else kind
        key = Key(realm, f"{prefix}{number:05d}x", kind)
        count = rng.choice((1, 1, 2, 2, 3))
        at = sorted(rng.randrange(waves) for _ in range(count))
        versions = _versions(key, rng, [f"{party} {'invoice' if kind in SALES else 'bill'}" for party in parties], len(at))
        if len(versions) > 1 and rng.random() < 0.25:
            versions[0], versions[-1] = versions[-1], versions[0]
        for wave, command in zip(at, versions, strict=True):
            published[wave].append(command)
            if rng.random() < 0.2:
                published[rng.randrange(wave, waves)].append(command)
        if kind is Kind.INVOICE and len(versions) == 1 and which.random() < paid:
            paying = published[which.randrange(at[0], waves)]  # in its wave it may come before it
            paying.insert(which.randrange(len(paying) + 1), _payment_of(key, versions[0], which))
    return Workload(tuple(tuple(wave) for wave in published))


def _payment_of(key: Key, invoice: Command, rng: random.Random) -> Command:
    """A payment of a part of an invoice, or of all of it, and of something more."""
    assert isinstance(invoice, UpsertInvoice)
    whole = invoice.data.content.total
    part = whole if rng.random() < 0.5 else max(Decimal("0.01"), (whole / 2).quantize(Decimal("0.01")))
    name = f"{key.name.removesuffix('x')}p"
    more = rng.choice((Decimal(0), Decimal("7.77")))
    made = PaymentContent(
        customer=invoice.data.content.customer, txn_date=date(2026, 11, 2), amount=part + more,
        applied=(Applied(source_key=key.name, amount=part),), payment_ref=name,
    )  # fmt: skip
    return upsert(Key(key.realm, name, Kind.PAYMENT), 1, made)


def _versions(key: Key, rng: random.Random, parties: Sequence[str], count: int) -> list[Command]:
    commands: list[Command] = []
    first = content(key, rng, rng.choice(parties))
    for version in range(1, count + 1):
        draw = rng.random()
        if version == 1:
            commands.append(upsert(key, version, first))
        elif draw < 0.3:
            commands.append(retract(key, version))
        elif draw < 0.45:
            commands.append(upsert(key, version, first))  # as it was at first: v3 = v1
        else:
            commands.append(upsert(key, version, content(key, rng, rng.choice(parties))))
    return commands
