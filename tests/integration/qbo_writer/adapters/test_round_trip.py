"""Any content, through the stand-in and back: what is created, and what an update makes of it, is seen as wanted."""

import asyncio
import itertools
from datetime import date
from decimal import Decimal
from typing import Any

from bookrelay.messages import BillContent, BillLine, InvoiceContent, InvoiceLine, Party
from bookrelay.money import to_cents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qbo_parts import Sandbox, ids_of, request_for, settings_for, wanted_of
from qbo_writer import comparing
from qbo_writer.domain import AnswerKind, BooksEntity, DesiredDocument, LedgerKind, Operation, Resolved
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.client import QboClient

NUMBER = itertools.count(1)
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=60)
cents = st.integers(0, 10**9).map(lambda n: to_cents(Decimal(n) / 100))
days = st.dates(date(2020, 1, 1), date(2030, 1, 1))
numbers = st.decimals(0, 1000, places=5, allow_nan=False, allow_infinity=False)
common: dict[str, Any] = {"txn_date": days, "due_date": st.none() | days, "memo": st.none() | texts}


@st.composite
def priced_lines(draw: Any) -> InvoiceLine:
    quantity, price = draw(numbers), draw(numbers)
    return InvoiceLine(quantity=quantity, unit_price=price, amount=to_cents(quantity * price), description=draw(texts))


lines = st.lists(priced_lines() | st.builds(InvoiceLine, amount=cents, description=st.none() | texts), min_size=1, max_size=5)
party = st.just(Party(name="x"))
invoices = st.builds(InvoiceContent, customer=party, lines=lines.map(tuple), **common)
bill_lines = st.lists(st.builds(BillLine, amount=cents, description=st.none() | texts), min_size=1, max_size=5)
bills = st.builds(BillContent, vendor=party, lines=bill_lines.map(tuple), **common)
references = st.sampled_from([{}, {"term": "3"}, {"tax": "NON"}])


class Trip:
    """One company, reused by all examples."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.company = sandbox.company()
        self.resolved = ids_of(self.company)

    def wanted(self, content: Any, key: str, more: dict[str, str]) -> DesiredDocument:
        kind = LedgerKind.INVOICE if isinstance(content, InvoiceContent) else LedgerKind.BILL
        return wanted_of(self.company, kind, content, key, Resolved({**self.resolved.ids, **more}))

    async def there_and_back(self, first: Any, second: Any, more: dict[str, str]) -> None:
        key = str(next(NUMBER))
        client = QboClient(settings_for(self.company))
        one, other = self.wanted(first, key, more), self.wanted(second, key, {})
        create = request_for(self.company, one, Operation.CREATE, f"c{key}", mapping.create_body(one))
        seen = self.check(await client.send(create, self.company.token), one)
        body = mapping.update_body(other, seen.qbo_id, seen.sync_token)
        update = request_for(self.company, other, Operation.UPDATE, f"u{key}", body, qbo_id=seen.qbo_id)
        changed = self.check(await client.send(update, self.company.token), other)
        read = await client.read(self.company.realm, one.entity, seen.qbo_id, self.company.token)
        assert read
        assert read.fields == changed.fields
        assert comparing.compare(changed.fields, read).equal
        await client.close()

    @staticmethod
    def check(answer: Any, wanted: DesiredDocument) -> BooksEntity:
        assert answer.kind is AnswerKind.SUCCESS, answer
        assert comparing.compare(wanted.fields, answer.seen).differences == ()
        seen: BooksEntity = answer.seen
        return seen


def test_any_content_is_seen_as_wanted(sandbox: Sandbox) -> None:
    trip = Trip(sandbox)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.tuples(invoices, invoices) | st.tuples(bills, bills), references)
    def check(contents: tuple[Any, Any], more: dict[str, str]) -> None:
        asyncio.run(trip.there_and_back(*contents, more))

    check()
