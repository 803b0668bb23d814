"""References on real Postgres and the stand-in: mapping, exact name, cache, who holds a name, what the company can do."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from bookrelay.db import Pool
from bookrelay.errors import Code
from bookrelay.messages import BillLine, CustomField, InvoiceLine, Party
from qbo_parts import Company, Sandbox, bill, invoice, make_tables, settings_for
from qbo_writer import identity
from qbo_writer.domain import LedgerKind, LookupFailed, NameNeeded, Operation, Resolved, Skipped, Unmapped
from qbo_writer.kinds import BillPaymentContent, NameContent
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.references import References

INVOICE, BILL = LedgerKind.INVOICE, LedgerKind.BILL


@dataclass
class Bench:
    """References of one company."""

    company: Company
    pool: Pool
    client: QboClient

    def references(self, policy: dict[str, Any] | None = None, **settings: Any) -> References:
        """New ones, with an empty memory."""
        from pathlib import Path

        defaults = {"item": "Services", "account": {"name": "Uncategorized Expense"}, "bank_account": "Checking"}
        parsed = Policy.parse({"defaults": defaults, **(policy or {})}, Path("policy.toml"))
        return References(self.pool, self.client, parsed, settings_for(self.company, **settings))

    async def resolve(
        self, content: Any, kind: LedgerKind = INVOICE, policy: dict[str, Any] | None = None, **settings: Any
    ) -> Any:
        """Resolve with an empty memory."""
        return await self.references(policy, **settings).resolve(self.company.realm, kind, content, self.company.token)

    def id_of(self, entity: str, name: str) -> str:
        """The id of an entry in the books."""
        rows = self.company.books(entity)
        return str(
            next(row["Id"] for row in rows if name in (row.get("DisplayName"), row.get("FullyQualifiedName"), row.get("Name")))
        )

    def reads(self) -> int:
        """How many reads were made."""
        return len([row for row in self.company.requests() if row["method"] == "GET"])


@pytest_asyncio.fixture
async def bench(company: Company, pool: Pool, client: QboClient) -> AsyncIterator[Bench]:
    """References of a company on the plan Plus."""
    yield Bench(company, pool, client)


@pytest.fixture(autouse=True)
def _names(company: Company) -> None:
    company.load("Customer", {"DisplayName": "Known Customer"}, {"DisplayName": "D’Arcy “X” O'Neil"}, {"DisplayName": "Sleeping"})
    company.load("Vendor", {"DisplayName": "Known Vendor"}, {"DisplayName": "Only Vendor"})


def for_customer(name: str, **more: Any) -> Any:
    return invoice(customer=Party(name=name), **more)


async def test_customer_by_exact_name_in_any_case(bench: Bench) -> None:
    wanted = bench.id_of("Customer", "Known Customer")
    for name in ("Known Customer", " known CUSTOMER "):
        assert (await bench.resolve(for_customer(name))).ids["customer"] == wanted
    found = await bench.resolve(for_customer("D’Arcy “X” O'Neil"))
    assert found.ids["customer"] == bench.id_of("Customer", "D’Arcy “X” O'Neil")


async def test_unknown_customer_is_needed_and_learned(bench: Bench) -> None:
    references = bench.references()
    content = invoice(customer=Party(name=" P-1 AB ", email="ab@example.com"))
    needed = await references.resolve(bench.company.realm, INVOICE, content, bench.company.token)
    assert needed == NameNeeded(LedgerKind.CUSTOMER, "P-1 AB", "ab@example.com")
    marker = identity.marker(bench.company.realm, "bookrelay", "P-1 AB", LedgerKind.CUSTOMER)
    from qbo_writer.domain import Request

    body = mapping.name_body(LedgerKind.CUSTOMER, needed.name, needed.email, marker)
    request = Request(bench.company.realm, LedgerKind.CUSTOMER, "Customer", Operation.CREATE, "n1", body)
    seen = (await bench.client.send(request, bench.company.token)).seen
    assert seen
    assert seen.marker == marker
    async with bench.pool.acquire() as connection:
        await references.learn(connection, bench.company.realm, "Customer", seen)
    before = bench.reads()
    resolved = await references.resolve(bench.company.realm, INVOICE, content, bench.company.token)
    assert resolved.ids["customer"] == seen.qbo_id
    assert bench.reads() == before, "what was created is not read"
    assert (await bench.resolve(content)).ids["customer"] == seen.qbo_id
    assert bench.reads() == before, "not after a restart either"


async def test_thirty_documents_with_a_new_customer_ask_once(bench: Bench) -> None:
    references = bench.references()
    arguments = (bench.company.realm, INVOICE, for_customer("Quite New"), bench.company.token)
    answers = await asyncio.gather(*(references.resolve(*arguments) for _ in range(30)))
    assert set(answers) == {NameNeeded(LedgerKind.CUSTOMER, "Quite New")}
    assert len(bench.company.requests(operation="query")) == 4, "the items; the name among customers, vendors, employees"


async def test_cached_references_cost_no_read(bench: Bench) -> None:
    references = bench.references()
    arguments = (bench.company.realm, INVOICE, for_customer("Known Customer"), bench.company.token)
    first = await references.resolve(*arguments)
    before = bench.reads()
    for _ in range(20):
        assert await references.resolve(*arguments) == first
    assert await bench.resolve(for_customer("Known Customer")) == first
    assert bench.reads() == before


async def test_name_of_a_vendor_is_told(bench: Bench) -> None:
    problem = await bench.resolve(for_customer("Only Vendor"))
    assert isinstance(problem, Unmapped)
    assert problem.code is Code.CONFLICT
    assert "vendor" in problem.reason
    assert "[customers]" in problem.fix


async def test_inactive_customer_is_told(bench: Bench) -> None:
    bench.company.person("deactivate", "Customer", bench.id_of("Customer", "Sleeping"))
    problem = await bench.resolve(for_customer("sleeping"))
    assert isinstance(problem, Unmapped)
    assert problem.code is Code.CONFLICT
    assert "inactive" in problem.reason


@pytest.mark.parametrize("name", ["A\tB", "A\nB", " A \u00a0 B "])
async def test_blanks_of_all_kinds_are_one_blank_in_a_new_name(bench: Bench, name: str) -> None:
    needed = await bench.resolve(for_customer(name))
    assert isinstance(needed, NameNeeded)
    assert needed.name == "A B"


@pytest.mark.parametrize("name", ["A:B", "   "])
async def test_forbidden_names_are_refused_before_anything_is_sent(bench: Bench, name: str) -> None:
    problem = await bench.resolve(for_customer(name))
    assert isinstance(problem, Unmapped)
    assert problem.code is Code.VALIDATION
    itself = await bench.resolve(NameContent(name=name), LedgerKind.CUSTOMER)
    assert isinstance(itself, Unmapped)
    assert (itself.code, itself.reason) == (problem.code, problem.reason)


async def test_mapping_comes_before_the_name(bench: Bench) -> None:
    wanted = bench.id_of("Customer", "Known Customer")
    by_name = {"customers": {"Only Vendor": "Known Customer", "A:B": "known customer"}}
    assert (await bench.resolve(for_customer("only vendor"), policy=by_name)).ids["customer"] == wanted
    assert (await bench.resolve(for_customer("A:B"), policy=by_name)).ids["customer"] == wanted
    assert (await bench.resolve(for_customer("x"), policy={"customers": {"X": {"id": "77"}}})).ids["customer"] == "77"
    problem = await bench.resolve(for_customer("y"), policy={"customers": {"y": "Nobody"}})
    assert isinstance(problem, Unmapped), "a mapped name is never created"
    problem = await bench.resolve(for_customer("New"), policy={"create_customers": False})
    assert isinstance(problem, Unmapped)
    assert problem.code is Code.MAPPING_MISSING


async def test_lines_by_mapping_name_and_default(bench: Bench) -> None:
    hours = bench.id_of("Item", "Hours")
    lines = tuple(InvoiceLine(item=item, amount="1.00") for item in ("default", "procedure", "hours", "unheard of"))
    content = for_customer("Known Customer", lines=lines)
    ids = (await bench.resolve(content, policy={"items": {"procedure": {"id": hours, "tax_code": "NON"}}})).ids
    services = bench.id_of("Item", "Services")
    assert {key: ids[key] for key in ids if key.startswith(("item:", "tax:"))} == {
        "item:default": services, "item:procedure": hours, "item:hours": hours, "item:unheard of": services,
        "tax:procedure": "NON",
    }  # fmt: skip
    problem = await bench.resolve(content, policy={"unmapped": "reject"})
    assert isinstance(problem, Unmapped)
    assert problem.code is Code.MAPPING_MISSING
    assert "[items]" in problem.fix


async def test_no_default_is_told_with_the_fix(bench: Bench) -> None:
    problem = await bench.resolve(for_customer("Known Customer"), policy={"defaults": {}})
    assert isinstance(problem, Unmapped)
    assert (problem.code, problem.reason.startswith("A line names no ")) == (Code.MAPPING_MISSING, True)
    ids = (await bench.resolve(for_customer("Known Customer"), policy={"defaults": {}}, qbo_default_item_id="2")).ids
    assert ids["item:default"] == "2"


async def test_bill_resolves_vendor_accounts_and_payable(bench: Bench) -> None:
    payable = bench.id_of("Account", "Accounts Payable (A/P)")
    content = bill(
        vendor=Party(name="Known Vendor"), lines=(BillLine(account="Advertising", amount="1.00"), BillLine(amount="2.00"))
    )
    ids = (await bench.resolve(content, BILL, qb_default_vendor_account=payable)).ids
    assert ids == {
        "vendor": bench.id_of("Vendor", "Known Vendor"),
        "account:Advertising": bench.id_of("Account", "Advertising"),
        "account:default": bench.id_of("Account", "Uncategorized Expense"),
        "ap_account": payable,
    }


async def test_payment_needs_a_bank_account(bench: Bench) -> None:
    content = BillPaymentContent(vendor_id="1", bill_id="2", txn_date="2026-03-04", amount="1.00")
    ids = (await bench.resolve(content, LedgerKind.BILL_PAYMENT)).ids
    assert ids == {"bank_account": bench.id_of("Account", "Checking")}
    problem = await bench.resolve(content, LedgerKind.BILL_PAYMENT, policy={"defaults": {}})
    assert isinstance(problem, Unmapped)
    assert "QB_DEFAULT_BANK_ACCOUNT" in problem.fix


async def test_terms_classes_and_locations(bench: Bench) -> None:
    (class_,) = bench.company.load("Class", {"Name": "Clinic"})
    (department,) = bench.company.load("Department", {"Name": "North"})
    content = for_customer(
        "Known Customer",
        terms="Net 30",
        class_name="clinic",
        department="North",
        custom_fields=(CustomField(name="v", value="3"),),
    )
    ids = (await bench.resolve(content, policy={"custom_fields": {"v": 2}})).ids
    assert (ids["term"], ids["line_class"], ids["department"]) == (bench.id_of("Term", "Net 30"), class_, department)
    assert ids["custom:v"] == "2"
    bench.company.sandbox.control(
        "POST",
        "preferences",
        {"realm": bench.company.realm, "AccountingInfoPrefs": {"ClassTrackingPerTxn": True, "ClassTrackingPerTxnLine": False}},
    )
    references = bench.references()
    await references.forget(bench.company.realm)
    await bench.pool.execute("UPDATE qbo_writer.realms SET company = '{}'")
    ids = (await references.resolve(bench.company.realm, INVOICE, content, bench.company.token)).ids
    assert ids["class"] == class_
    for broken in ({"terms": "Net 17"}, {"class_name": "Nowhere"}, {"department": "South"}):
        problem = await bench.resolve(for_customer("Known Customer", **broken))
        assert isinstance(problem, Unmapped)
        assert problem.code is Code.MAPPING_MISSING
        assert problem.fix


async def test_an_entry_made_inactive_or_new_is_noticed(bench: Bench) -> None:
    references = bench.references()
    content = for_customer("Known Customer", terms="Net 30")
    arguments = (bench.company.realm, INVOICE, content, bench.company.token)
    resolved = await references.resolve(*arguments)
    bench.company.person("deactivate", "Term", resolved.ids["term"])
    await references.forget(bench.company.realm, [("Term", resolved.ids["term"])])
    problem = await references.resolve(*arguments)
    assert isinstance(problem, Unmapped)
    assert "inactive" in problem.reason


async def test_fail_of_a_look_up_is_not_absence(bench: Bench) -> None:
    references = bench.references()
    arguments = (bench.company.realm, INVOICE, for_customer("Known Customer"), bench.company.token)
    for fault in ("server_error", "throttle", "reset"):
        bench.company.fault(fault, match={"method": "GET"})
        with pytest.raises(LookupFailed):
            await references.resolve(*arguments)
    assert isinstance(await references.resolve(*arguments), Resolved)


async def test_mode_policy_and_plan_leave_out(bench: Bench) -> None:
    content = bill(vendor=Party(name="Known Vendor"))
    with pytest.raises(Skipped, match="invoice_only"):
        await bench.resolve(content, BILL, qb_sync_mode="invoice_only")
    with pytest.raises(Skipped, match="policy"):
        await bench.resolve(for_customer("Known Customer"), policy={"kinds": ["bill"]})
    assert bench.reads() == 0, "nothing is read for what is left out"


async def test_simple_start_has_no_bills_and_no_classes(sandbox: Sandbox, database_url: str) -> None:
    from bookrelay.db import close_pool, open_pool

    company = sandbox.company(plan="simple_start")
    await make_tables(database_url)
    settings = settings_for(company, database_url)
    pool, client = await open_pool(settings, application_name="test"), QboClient(settings)
    bench = Bench(company, pool, client)
    with pytest.raises(Skipped, match="Simple Start"):
        await bench.resolve(bill(), BILL)
    name = company.books("Customer")[0]["DisplayName"]
    problem = await bench.resolve(for_customer(name, class_name="Clinic"))
    assert isinstance(problem, Unmapped)
    assert "classes" in problem.reason
    assert isinstance(await bench.resolve(for_customer(name)), Resolved)
    facts = await bench.references().company(company.realm, company.token)
    assert (facts.plan, facts.class_per, facts.departments) == ("simple_start", None, False)
    await client.close()
    await close_pool(pool)


async def test_facts_of_a_company_that_numbers_by_itself_and_has_closed_its_books(bench: Bench) -> None:
    body = {"realm": bench.company.realm, "SalesFormsPrefs": {"CustomTxnNumbers": False}, "BookCloseDate": "2025-12-31"}
    bench.company.sandbox.control("POST", "preferences", body)
    facts = await bench.references().company(bench.company.realm, bench.company.token)
    assert not facts.custom_numbers
    assert str(facts.closing_date) == "2025-12-31"
