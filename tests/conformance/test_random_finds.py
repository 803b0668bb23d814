"""What the random client found, each pinned: refusals that were missing, books that did not balance, echoes that were refused."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from test_random_client import Caller

ITEM = {"DetailType": "SalesItemLineDetail", "Amount": 10, "SalesItemLineDetail": {"ItemRef": {"value": "1"}}}
SALE: dict[str, Any] = {"CustomerRef": {"value": "1"}, "Line": [ITEM]}
RECEIVABLE, CHECKING, UNDEPOSITED = ({"value": value} for value in ("84", "35", "4"))


class Company(Caller):
    """Short ways to write and to be refused."""

    def make(self, kind: str, body: dict[str, Any], **query: str) -> dict[str, Any]:
        """A document that is taken; the books hold after it."""
        status, answer = self.call("POST", kind.lower(), query, body)
        assert status == 200, answer
        self.check()
        made: dict[str, Any] = answer[kind]
        return made

    def refused(self, kind: str, body: dict[str, Any], **query: str) -> str:
        """The code of a refusal; the books hold after it."""
        status, answer = self.call("POST", kind.lower(), query, body)
        assert status == 400, answer
        self.check()
        code: str = answer["Fault"]["Error"][0]["code"]
        return code


@pytest.fixture
def company() -> Iterator[Company]:
    made = Company(random.Random(1))
    yield made
    made.loop.close()


@pytest.mark.parametrize("name", ["Active", "DiscountPercent"])
def test_current_date_fits_dates_only(company: Company, name: str) -> None:
    status, answer = company.call("GET", "query", {"query": f"SELECT * FROM Term WHERE {name} > CURRENT_DATE"})
    assert (status, answer["Fault"]["Error"][0]["code"]) == (400, "4001")
    status, answer = company.call("GET", "query", {"query": "SELECT * FROM Invoice WHERE TxnDate <= CURRENT_DATE"})
    assert status == 200


@pytest.mark.parametrize("kind", ["Invoice", "CreditMemo", "Estimate"])
def test_receivable_account_must_be_one(company: Company, kind: str) -> None:
    assert company.refused(kind, SALE | {"ARAccountRef": CHECKING}) == "6430"
    assert company.make(kind, SALE | {"ARAccountRef": RECEIVABLE})["TotalAmt"] == 10


def test_payments_name_control_accounts_of_their_side(company: Company) -> None:
    body = {"CustomerRef": {"value": "1"}, "TotalAmt": 5}
    assert company.refused("Payment", body | {"ARAccountRef": CHECKING}) == "6430"
    assert company.make("Payment", body | {"ARAccountRef": RECEIVABLE})["UnappliedAmt"] == 5


def test_money_is_not_put_on_control_accounts(company: Company) -> None:
    assert company.refused("SalesReceipt", SALE | {"DepositToAccountRef": RECEIVABLE}) == "6430"
    assert company.refused("Invoice", SALE | {"Deposit": 1, "DepositToAccountRef": RECEIVABLE}) == "6430"
    discount = {"DetailType": "DiscountLineDetail", "Amount": 1, "DiscountLineDetail": {"DiscountAccountRef": RECEIVABLE}}
    assert company.refused("Invoice", SALE | {"Line": [ITEM, discount]}) == "6430"
    line = {"DetailType": "DepositLineDetail", "Amount": 9, "DepositLineDetail": {"AccountRef": {"value": "25"}}}
    deposit = {"DepositToAccountRef": CHECKING, "Line": [line]}
    assert company.refused("Deposit", deposit | {"CashBack": {"AccountRef": RECEIVABLE, "Amount": 1}}) == "6430"
    assert company.make("Deposit", deposit | {"CashBack": {"AccountRef": {"value": "36"}, "Amount": 1}})["TotalAmt"] == 8


def test_bundle_counts_by_its_parts_and_holds_no_bundle(company: Company) -> None:
    text = {"DetailType": "DescriptionOnly", "Description": "free", "Amount": 3}
    bundle = {"DetailType": "GroupLineDetail", "GroupLineDetail": {"Line": [ITEM, ITEM, text]}}
    assert company.make("Invoice", SALE | {"Line": [bundle]})["TotalAmt"] == 20
    nested = {"DetailType": "GroupLineDetail", "GroupLineDetail": {"Line": [bundle]}}
    assert company.refused("Invoice", SALE | {"Line": [nested]}) == "2170"


@pytest.mark.parametrize("kind", ["CreditMemo", "Estimate", "Invoice", "SalesReceipt"])
def test_links_that_only_payments_write_are_ignored(company: Company, kind: str) -> None:
    made = company.make(kind, SALE | {"LinkedTxn": [{"TxnId": "1", "TxnType": "Payment"}]})
    assert made.get("LinkedTxn", []) == []


def test_empty_link_on_a_transfer_does_no_harm(company: Company) -> None:
    body = {"FromAccountRef": CHECKING, "ToAccountRef": {"value": "36"}, "Amount": 5, "LinkedTxn": [{}]}
    made = company.make("Transfer", body)
    assert company.make("Transfer", made | {"LinkedTxn": [{}]})["SyncToken"] == "1"


def test_what_sits_in_a_deposit_can_be_saved_but_not_moved_or_removed(company: Company) -> None:
    receipt = company.make("SalesReceipt", SALE | {"DepositToAccountRef": UNDEPOSITED})
    link = {"TxnId": receipt["Id"], "TxnType": "SalesReceipt", "TxnLineId": "0"}
    company.make("Deposit", {"DepositToAccountRef": CHECKING, "Line": [{"Amount": 10, "LinkedTxn": [link]}]})
    receipt = company.call("GET", f"salesreceipt/{receipt['Id']}")[1]["SalesReceipt"]
    assert company.refused("SalesReceipt", receipt | {"Line": [ITEM | {"Amount": 11}]}) == "6540"
    assert company.refused("SalesReceipt", receipt, operation="delete") == "6540"
    assert company.make("SalesReceipt", receipt | {"PrivateNote": "kept"})["TotalAmt"] == 10


def test_journal_in_a_deposit_is_not_removed(company: Company) -> None:
    lines = [company.posting("Debit", "4"), company.posting("Credit", "1")]
    journal = company.make("JournalEntry", {"Line": lines})
    line = {"Amount": 10, "LinkedTxn": [{"TxnId": journal["Id"], "TxnType": "JournalEntry", "TxnLineId": "0"}]}
    deposit = company.make("Deposit", {"DepositToAccountRef": CHECKING, "Line": [line]})
    journal = company.call("GET", f"journalentry/{journal['Id']}")[1]["JournalEntry"]
    assert company.refused("JournalEntry", journal, operation="delete") == "6540"
    company.make("Deposit", deposit, operation="delete")
    journal = company.call("GET", f"journalentry/{journal['Id']}")[1]["JournalEntry"]
    company.make("JournalEntry", journal, operation="delete")


def test_sparse_update_does_not_empty_a_required_list(company: Company) -> None:
    line = {"DetailType": "DepositLineDetail", "Amount": 9, "DepositLineDetail": {"AccountRef": {"value": "25"}}}
    made = company.make("Deposit", {"DepositToAccountRef": CHECKING, "Line": [line]})
    sparse = {"Id": made["Id"], "SyncToken": "0", "sparse": True}
    assert company.refused("Deposit", sparse | {"Line": []}) == "2250"
    assert company.make("Deposit", sparse | {"PrivateNote": "x"})["Line"] == made["Line"]


def test_account_does_not_become_a_control_account(company: Company) -> None:
    made = company.make("Account", {"Name": "Loans given", "AccountType": "Other Current Asset"})
    changes = {"Id": made["Id"], "SyncToken": "0", "sparse": True, "AccountSubType": None}
    assert company.refused("Account", changes | {"AccountType": "Accounts Receivable"}) == "6430"
    assert company.make("Account", changes | {"AccountType": "Fixed Asset"})["Classification"] == "Asset"
