"""The short, seeded part of the fault suite; the whole of it is `make faults`."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from bookrelay.messages import Kind, PaymentContent, SalesContent
from qbo_writer.crashpoints import Place

from . import broken, crashes, kills, oracle, restoring, workload
from .conftest import Lanes
from .crashes import Case, Outcome
from .kills import Storm
from .machine import Loop, run_machine
from .oracle import Verdict

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(240)]
SEED = "ci-1"
# One of each kind of place: consumer, poster, sender, settler, lease.
CASES = (
    Case(Place.RECORDED, "kill", 1),
    Case(Place.SENT, "kill", 3),
    Case(Place.JOURNALLED, "hang", 1),
    Case(Place.SETTLING, "exception", 3),
)


@pytest.fixture(scope="module")
def crashed(faults_loop: Loop, lanes: Lanes) -> dict[Case, Outcome]:
    """The crash cases, and beside them nothing."""
    outcomes = faults_loop.run(crashes.run_cases(lanes.several(0, 1, 2), CASES, SEED), 200)  # type: ignore[arg-type]
    return {outcome.case: outcome for outcome in outcomes}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_crash_leaves_the_books_as_they_must_be(crashed: dict[Case, Outcome], case: Case) -> None:
    outcome = crashed[case]
    assert not outcome.problem
    assert outcome.verdict.problems == []
    assert outcome.verdict.documents > 0


def test_random_kills_leave_the_books_as_they_must_be(faults_loop: Loop, lanes: Lanes) -> None:
    used = lanes.several(0, 1)

    async def both() -> list[Storm]:
        return list(
            await asyncio.gather(*(kills.storm(lane, name, 3, SEED) for lane, name in zip(used, kills.PROFILES, strict=False)))
        )

    for run in faults_loop.run(both(), 200):
        assert run.problem == ""
        assert run.verdict.problems == []
        assert run.kills == 3


def test_the_state_machine_finds_nothing(faults_loop: Loop, lanes: Lanes) -> None:
    outcome = run_machine(faults_loop, lanes[0], seed=7, examples=2, steps=8)
    assert outcome.verdict.documents > 0


@pytest.mark.parametrize("defect", ["no_requestid", "overwrite_people"])
def test_a_broken_writer_is_found(faults_loop: Loop, lanes: Lanes, defect: str) -> None:
    verdict = faults_loop.run(broken.found(lanes[0], defect), 220)
    assert verdict.problems


def test_the_oracle_finds_every_kind_of_error() -> None:
    load = workload.make(SEED, "9341400000000001", 40, paid=0)
    wanted = oracle.expected(load.commands)
    books = _books_of(wanted)
    assert oracle.judge("9341400000000001", load.commands, books).problems == []

    double = {**books, "Invoice": [*books["Invoice"], books["Invoice"][0]]}
    assert oracle.judge("9341400000000001", load.commands, double).doubles == 1
    lost = {**books, "Invoice": books["Invoice"][1:]}
    assert oracle.judge("9341400000000001", load.commands, lost).lost == 1
    cent = {**books, "Invoice": [{**books["Invoice"][0], "TotalAmt": books["Invoice"][0]["TotalAmt"] + 1}, *books["Invoice"][1:]]}
    assert oracle.judge("9341400000000001", load.commands, cent).books_differ == 1
    derived = [d for d in books["Invoice"] if d["DocNumber"].startswith("~")]
    others = [d for d in books["Invoice"] if d not in derived]
    assert len(derived) > 1
    assert others
    twice = {**books, "Invoice": [*others, *({**d, "DocNumber": "~1"} for d in derived)]}
    assert oracle.judge("9341400000000001", load.commands, twice).books_differ == 1
    wrong = {**books, "Invoice": [*derived, *({**d, "DocNumber": f"~{d['Id']}"} for d in others)]}
    assert oracle.judge("9341400000000001", load.commands, wrong).books_differ == len(others)
    stranger = {
        **books,
        "Bill": [*books["Bill"], {**books["Bill"][0], "Line": [{"Description": "nobody asked"}], "DocNumber": "s"}],
    }
    assert oracle.judge("9341400000000001", load.commands, stranger).books_differ == 1


def test_the_oracle_finds_every_wrong_payment() -> None:
    realm = "9341400000000001"
    load = workload.make(SEED, realm, 20)
    books = _books_of(oracle.expected(load.commands))
    payments = books["BillPayment"] = [
        {
            "Id": f"P{bill['Id']}", "TotalAmt": bill["TotalAmt"], "VendorRef": bill["VendorRef"], "TxnDate": bill["TxnDate"],
            "Line": [{"Amount": bill["TotalAmt"], "LinkedTxn": [{"TxnId": bill["Id"], "TxnType": "Bill"}]}],
        }
        for bill in books["Bill"]
    ]  # fmt: skip
    for bill in books["Bill"]:
        bill["Balance"] = 0

    def verdict(**changed: Any) -> Verdict:
        return oracle.judge(realm, load.commands, {**books, **changed}, pays=True)

    first, *others = payments
    assert others
    assert verdict().problems == []
    assert verdict(BillPayment=others).lost == 1
    assert verdict(BillPayment=[first, *payments]).doubles == 1
    assert verdict(BillPayment=[{**first, "TotalAmt": first["TotalAmt"] + Decimal("0.01")}, *others]).books_differ == 1
    assert verdict(BillPayment=[{**first, "TxnDate": "2020-01-01"}, *others]).books_differ == 1
    stranger = {**first, "Line": [{"Amount": 1, "LinkedTxn": [{"TxnId": "none", "TxnType": "Bill"}]}]}
    assert verdict(BillPayment=[stranger, *payments]).books_differ == 1
    assert verdict(Bill=[{**books["Bill"][0], "Balance": Decimal("0.01")}, *books["Bill"][1:]]).books_differ == 1
    assert oracle.judge(realm, load.commands, books).books_differ == len(payments)  # nobody asked for payments


def test_the_oracle_finds_every_wrong_payment_of_a_customer() -> None:
    realm = "9341400000000001"
    load = workload.make(SEED, realm, 40, paid=1)
    books = _books_of(oracle.expected(load.commands))
    payments = [one for one in books["Payment"] if one["Line"]]
    rest = [one for one in books["Payment"] if one not in payments]

    def verdict(**changed: Any) -> Verdict:
        return oracle.judge(realm, load.commands, {**books, **changed})

    first, *others = payments
    (line,) = first["Line"]
    assert others
    assert verdict().problems == []
    assert verdict(Payment=[*rest, *others]).lost == 1
    assert verdict(Payment=[first, *rest, *payments]).doubles == 1
    assert verdict(Payment=[{**first, "TotalAmt": first["TotalAmt"] + Decimal("0.01")}, *rest, *others]).books_differ == 1
    elsewhere = {**line, "LinkedTxn": others[0]["Line"][0]["LinkedTxn"]}
    assert verdict(Payment=[{**first, "Line": [elsewhere]}, *rest, *others]).books_differ == 1
    invoices = [{**one, "Balance": one["Balance"] + (one["Id"] == line["LinkedTxn"][0]["TxnId"])} for one in books["Invoice"]]
    assert verdict(Invoice=invoices).books_differ == 1


def _books_of(wanted: dict[workload.Key, workload.Content | None]) -> dict[str, list[dict[str, Any]]]:
    books: dict[str, list[dict[str, Any]]] = {entity: [] for entity in (*oracle.ENTITY.values(), "Customer", "Vendor")}
    for number, (key, content) in enumerate(wanted.items()):
        if content is None:
            continue
        if isinstance(content, PaymentContent):
            continue
        own = content.number if content.number and not content.number.startswith(workload.SHARED) else None
        party = content.customer if isinstance(content, SalesContent) else content.vendor
        books[oracle.ENTITY[key.kind]].append(
            {
                "Id": str(number), "TotalAmt": content.total, "TxnDate": content.txn_date.isoformat(),
                "PrivateNote": content.memo or "", "DocNumber": own or f"~{number}", oracle.PARTY[key.kind]: {"name": party.name},
                "Line": [{"Description": line.description, "Amount": line.amount} for line in content.lines],
            }
        )  # fmt: skip
        books[oracle.ENTITY[key.kind]][-1]["Balance"] = content.total
    _pay(wanted, books)
    return books


def _pay(wanted: dict[workload.Key, workload.Content | None], books: dict[str, list[dict[str, Any]]]) -> None:
    invoices = {(Kind.INVOICE, name): found[0] for (_, name), found in oracle.live({"Invoice": books["Invoice"]}).items()}
    for number, (key, content) in enumerate(wanted.items()):
        if isinstance(content, PaymentContent):
            lines = []
            for one in content.applied:
                invoice = invoices[Kind.INVOICE, one.source_key]
                invoice["Balance"] -= one.amount
                lines.append({"Amount": one.amount, "LinkedTxn": [{"TxnId": invoice["Id"], "TxnType": "Invoice"}]})
            books["Payment"].append(
                {
                    "Id": str(number), "TotalAmt": content.amount, "TxnDate": content.txn_date.isoformat(), "Line": lines,
                    "PrivateNote": content.memo or "", "PaymentRefNum": key.name, "CustomerRef": {"name": content.customer.name},
                }
            )  # fmt: skip


def test_all_pairs_of_place_and_way_are_tried() -> None:
    cases = crashes.all_cases()
    assert len(cases) == len(crashes.PLACES) * 3 * 2
    assert len(crashes.PLACES) >= 21
    assert {(case.place, case.how) for case in cases} == {(place, how) for place in crashes.PLACES for how in crashes.HOWS}
    assert {*crashes.PLACES, *(crash for _, crash in restoring.CASES)} == {*Place, None}
    assert Verdict().good
