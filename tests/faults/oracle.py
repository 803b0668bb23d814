"""A poster of one thread without a network: what the books must hold, and the comparison to the cent and the document."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bookrelay.messages import BillContent, Command, Content, Kind, Party, PaymentContent, PurchaseContent, RetractDocument
from document_kinds import ENTITY, KINDS, SALES

from .workload import SHARED, Key

PARTY = {kind: "CustomerRef" if kind in SALES else "VendorRef" for kind in KINDS}
CENT = Decimal("0.01")


class Poster:
    """Takes one command after the other; the newest version of each document is what counts."""

    def __init__(self) -> None:
        self._newest: dict[Key, tuple[int, Any]] = {}
        self.books: dict[Key, Content | None] = {}

    def post(self, command: Command) -> None:
        """Bring the books to what the command says, unless a newer one was here."""
        data = command.data
        key = Key(data.realm, data.source_key, data.kind)
        order = (data.version, data.modified_at)
        if key in self._newest and order <= self._newest[key]:
            return
        self._newest[key] = order
        self.books[key] = None if isinstance(command, RetractDocument) else command.data.content


def expected(commands: Iterable[Command]) -> dict[Key, Content | None]:
    """Return what the books must hold after these commands."""
    poster = Poster()
    for command in commands:
        poster.post(command)
    return poster.books


@dataclass
class Verdict:
    """The books and the ends against the oracle."""

    documents: int = 0
    doubles: int = 0
    lost: int = 0
    books_differ: int = 0
    held: int = 0
    wrong_ends: int = 0
    problems: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Verdict") -> "Verdict":
        for name in ("documents", "doubles", "lost", "books_differ", "held", "wrong_ends"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems
        return self

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def sum_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Add them up."""
    total = Verdict()
    for verdict in verdicts:
        total += verdict
    return total


def is_voided(document: Mapping[str, Any]) -> bool:
    """Whether a document was voided: QuickBooks has no field for it."""
    return _cents(document.get("TotalAmt", 0)) == 0 and str(document.get("PrivateNote", "")).startswith("Voided")


def live(books: Mapping[str, Any]) -> dict[tuple[Kind, str], list[Mapping[str, Any]]]:
    """Return the documents in force, by the key's name in the description of their lines."""
    found: dict[tuple[Kind, str], list[Mapping[str, Any]]] = defaultdict(list)
    for kind, entity in ENTITY.items():
        for document in books.get(entity, []):
            if not is_voided(document):
                found[kind, _name(document)].append(document)
    return found


def _name(document: Mapping[str, Any]) -> str:
    if document.get("PaymentRefNum"):
        return str(document["PaymentRefNum"])
    for line in document.get("Line", []):
        if match := re.match(r"\S+", str(line.get("Description", ""))):
            return match.group()
    return "?"


def content_lines(content: Content) -> list[tuple[str, Decimal]]:
    """Return description and amount of each line."""
    if isinstance(content, PaymentContent):
        return [("", line.amount) for line in content.applied]
    return [(line.description or "", line.amount) for line in content.lines]


def document_lines(document: Mapping[str, Any]) -> list[tuple[str, Decimal]]:
    """Return description and amount of each line, without the subtotal that QuickBooks adds."""
    shown = [line for line in document.get("Line", []) if line.get("DetailType") != "SubTotalLineDetail"]
    return [(str(line.get("Description", "")), _cents(line.get("Amount", 0))) for line in shown]


def differences(content: Content, document: Mapping[str, Any], kind: Kind) -> list[str]:
    """Say in which of our fields a document differs."""
    found = []
    if _cents(document["TotalAmt"]) != content.total:
        found.append(f"total {document['TotalAmt']} instead of {content.total}")
    if document_lines(document) != content_lines(content):
        found.append(f"lines {document_lines(document)} instead of {content_lines(content)}")
    party = _party(content)
    if (document.get(PARTY[kind]) or {}).get("name") != party.name:
        found.append(f"party {document.get(PARTY[kind])} instead of {party.name}")
    if document.get("TxnDate") != content.txn_date.isoformat():
        found.append(f"date {document.get('TxnDate')} instead of {content.txn_date}")
    if content.memo and content.memo not in str(document.get("PrivateNote", "")):
        found.append(f"note {document.get('PrivateNote')!r} lacks {content.memo!r}")
    if isinstance(content, PaymentContent):
        return found
    number = str(document.get("DocNumber", ""))
    if number != content.number and not (_derived(number) and (content.number or SHARED).startswith(SHARED)):
        found.append(f"number {number!r} instead of {content.number!r}")
    return found


def _party(content: Content) -> Party:
    return content.vendor if isinstance(content, PurchaseContent) else content.customer


def _derived(number: str) -> bool:
    return number.startswith(("~", "BX"))


def judge(
    realm: str, commands: Iterable[Command], books: Mapping[str, Any], frozen: Mapping[Key, Any] | None = None, *,
    pays: bool = False,
) -> Verdict:  # fmt: skip
    """Compare the books of one company with the oracle's. `frozen`: what a person made of documents; it must stand as it is.

    `pays`: each bill has a payment of its own; otherwise there is none.
    """
    verdict, shown = Verdict(), live(books)
    commands = [c for c in commands if c.data.realm == realm]
    wanted = expected(commands)
    for key, content in wanted.items():
        found = shown.pop((key.kind, key.name), [])
        verdict.documents += 1
        if len(found) > 1:
            verdict.doubles += len(found) - 1
            verdict.problems.append(f"{realm} {key.name}: {len(found)} documents in force: {[d['Id'] for d in found]}")
        elif frozen is not None and key in frozen:
            if _shape(found[0] if found else None) != frozen[key]:
                verdict.books_differ += 1
                verdict.problems.append(f"{realm} {key.name}: a person's work was overwritten: {found} instead of {frozen[key]}")
        elif content is None and found:
            verdict.books_differ += 1
            verdict.problems.append(f"{realm} {key.name}: in force, but withdrawn")
        elif content is not None and not found:
            verdict.lost += 1
            verdict.problems.append(f"{realm} {key.name}: not in the books")
        elif content is not None and (wrong := differences(content, found[0], key.kind)):
            verdict.books_differ += 1
            verdict.problems.append(f"{realm} {key.name} (Id {found[0]['Id']}): {'; '.join(wrong)}")
    _judge_numbers(realm, books, verdict)
    for (_, name), documents in shown.items():
        verdict.books_differ += len(documents)
        verdict.problems.append(f"{realm} {name}: {len(documents)} documents that nobody asked for")
    _judge_names(realm, wanted, books, verdict)
    _judge_payments(realm, wanted if pays else {}, books, verdict)
    _judge_applied(realm, wanted, books, verdict)
    return verdict


def _judge_numbers(realm: str, books: Mapping[str, Any], verdict: Verdict) -> None:
    """No two documents of a kind in force have one number, however many wanted it."""
    numbers: dict[tuple[Kind, str], list[str]] = defaultdict(list)
    for (kind, _), documents in live(books).items():
        for document in documents[:1]:
            numbers[kind, str(document.get("DocNumber", ""))].append(str(document["Id"]))
    for (kind, number), ids in numbers.items():
        if number and len(ids) > 1:
            verdict.books_differ += 1
            verdict.problems.append(f"{realm}: the {kind}s {ids} share the number {number!r}")


def _judge_payments(realm: str, wanted: Mapping[Key, Content | None], books: Mapping[str, Any], verdict: Verdict) -> None:
    """Each bill in force is paid in full, to the cent, by one payment of its vendor and date that pays nothing else."""
    of_bill: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for payment in (p for p in books.get("BillPayment", []) if not is_voided(p)):
        of_bill[_paid_bill(payment)].append(payment)
    bills = live({"Bill": books.get("Bill", [])})
    for key, content in wanted.items():
        if key.kind is not Kind.BILL or content is None:
            continue
        verdict.documents += 1
        found = [payment for bill in bills.get((Kind.BILL, key.name), []) for payment in of_bill.pop(str(bill["Id"]), [])]
        if len(found) > 1:
            verdict.doubles += len(found) - 1
            verdict.problems.append(f"{realm} {key.name}: paid {len(found)} times: {[p['Id'] for p in found]}")
        elif not found:
            verdict.lost += 1
            verdict.problems.append(f"{realm} {key.name}: its payment is not in the books")
        elif wrong := _payment_differences(content, found[0], bills[Kind.BILL, key.name][0]):
            verdict.books_differ += 1
            verdict.problems.append(f"{realm} {key.name} (payment {found[0]['Id']}): {'; '.join(wrong)}")
    for bill, payments in of_bill.items():
        verdict.books_differ += len(payments)
        verdict.problems.append(f"{realm}: {len(payments)} payments of bill {bill} that nobody asked for")


def _judge_applied(realm: str, wanted: Mapping[Key, Content | None], books: Mapping[str, Any], verdict: Verdict) -> None:
    """Each payment of a customer is applied to the invoices that it names, and to no other; what is left of each is right."""
    shown = live(books)
    for key, content in wanted.items():
        found = shown.get((Kind.PAYMENT, key.name), []) if isinstance(content, PaymentContent) else []
        if not isinstance(content, PaymentContent) or len(found) != 1:
            continue  # judged as lost, or as doubled
        invoices = {one.source_key: shown.get((Kind.INVOICE, one.source_key), []) for one in content.applied}
        named = [str(documents[0]["Id"]) for documents in invoices.values() if documents]
        links = [str(link["TxnId"]) for line in found[0].get("Line", []) for link in line.get("LinkedTxn", [])]
        if links != named:
            verdict.books_differ += 1
            verdict.problems.append(f"{realm} {key.name} (payment {found[0]['Id']}): applied to {links} instead of {named}")
        for one in content.applied:
            for invoice in invoices[one.source_key][:1]:
                left = _cents(invoice["TotalAmt"]) - one.amount
                if _cents(invoice["Balance"]) != left:
                    verdict.books_differ += 1
                    verdict.problems.append(f"{realm} {one.source_key}: open {invoice['Balance']} instead of {left}")


def _paid_bill(payment: Mapping[str, Any]) -> str:
    """Id of the one bill that a payment pays; else what it pays, in words."""
    links = [link for line in payment.get("Line", []) for link in line.get("LinkedTxn", [])]
    if len(links) == 1 and links[0].get("TxnType") == "Bill":
        return str(links[0]["TxnId"])
    return f"{links}"


def _payment_differences(content: Content, payment: Mapping[str, Any], bill: Mapping[str, Any]) -> list[str]:
    found = []
    if _cents(payment.get("TotalAmt", 0)) != content.total:
        found.append(f"pays {payment.get('TotalAmt')} instead of {content.total}")
    if _cents(bill.get("Balance", bill["TotalAmt"])) != 0:
        found.append(f"leaves {bill.get('Balance')} open")
    if (payment.get("VendorRef") or {}).get("value") != (bill.get("VendorRef") or {}).get("value"):
        found.append(f"vendor {payment.get('VendorRef')} instead of {bill.get('VendorRef')}")
    if payment.get("TxnDate") != content.txn_date.isoformat():
        found.append(f"date {payment.get('TxnDate')} instead of {content.txn_date}")
    return found


def _shape(document: Mapping[str, Any] | None) -> Any:
    """What a person sees of a document; None: it is not in force."""
    if document is None or is_voided(document):
        return None
    return (_cents(document["TotalAmt"]), document_lines(document), document.get("TxnDate"))


shape = _shape


def _judge_names(realm: str, wanted: Mapping[Key, Content | None], books: Mapping[str, Any], verdict: Verdict) -> None:
    """Each new customer or vendor exists at most once, under whatever spelling."""
    for entity, of_customers in (("Customer", True), ("Vendor", False)):
        names = {_party(content).name for key, content in wanted.items() if content and (key.kind in SALES) is of_customers}
        have = [str(row.get("DisplayName", "")) for row in books.get(entity, [])]
        for name in names:
            count = sum(1 for other in have if name.casefold() in other.casefold())
            if count > 1:
                verdict.doubles += count - 1
                verdict.problems.append(f"{realm}: {entity} {name!r} is there {count} times")


def _cents(value: Any) -> Decimal:
    return Decimal(str(value)).quantize(CENT)


__all__ = ["BillContent", "Poster", "Verdict", "differences", "expected", "judge", "live", "shape"]
