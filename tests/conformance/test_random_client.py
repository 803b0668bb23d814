"""A client that sends anything: documents of every kind grown from the entities' properties, some of them spoilt; changed, echoed
back, voided, deleted, queried, batched, reported. No answer is 5xx, the books hold, and an answer is taken back as an update."""

import asyncio
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox.qbo.company.schema import KINDS, Entity
from sandbox.qbo.company.shapes import SHAPES
from sandbox.qbo.control.world import Config
from sandbox.qbo.door.app import App

Doc = dict[str, Any]
WRITABLE = [entity for entity in KINDS.values() if entity.create]
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**9, 10**18, 0.1, 1e300, -0.0, "", " ", "0", "-1", "x", "NaN", "Infinity", "1e400", "TAX",
    "2026-02-30", "0001-01-01", "9999-12-31", "\u2019", "\ud83d\ude00", "\u0000", "a" * 5000, [], {}, [[]], [None], [{}],
    {"value": None}, {"value": {}}, {"value": "1"}, {"": ""}, [{"Amount": "x"}],
)  # fmt: skip
REPORTS = (
    "ProfitAndLoss", "ProfitAndLossDetail", "BalanceSheet", "CashFlow", "GeneralLedger", "TrialBalance", "AgedReceivables",
    "AgedPayables", "AgedReceivableDetail", "AgedPayableDetail", "CustomerBalance", "CustomerBalanceDetail", "CustomerSales",
    "CustomerIncome", "ItemSales", "VendorBalance", "VendorBalanceDetail", "VendorExpenses", "TransactionList",
    "InventoryValuationSummary", "AccountList", "Nonsense", "",
)  # fmt: skip
# Seed documents that fit a property by its name; anything else may stand there one time in twelve.
FITTING = {
    "ARAccountRef": ["84"], "APAccountRef": ["33"], "DepositToAccountRef": ["35", "4"], "BankAccountRef": ["35", "36"],
    "CCAccountRef": ["41"], "FromAccountRef": ["35"], "ToAccountRef": ["36"], "IncomeAccountRef": ["1", "79"],
    "ExpenseAccountRef": ["20"], "AssetAccountRef": ["81"], "DiscountAccountRef": ["86"], "AccountRef": ["15", "17", "20", "25"],
    "TaxCodeRef": ["TAX", "NON"], "TxnTaxCodeRef": ["2", "3"], "CurrencyRef": ["USD"], "ItemRef": ["1", "2", "66", "68"],
    "AgencyRef": ["1"], "EmployeeRef": ["61"],
}  # fmt: skip
TYPES = ("Bank", "Expense", "Income", "Equity", "Fixed Asset", "Other Current Liability", "Credit Card", "Accounts Receivable")
BY = ("Total", "Days", "Week", "Month", "Quarter", "Year", "Customers", "Vendors", "Classes", "Departments", "Employees", "x", "")


class Caller:
    """The stand-in's app in this process, called as a server calls it; remembers what was sent, for a failure's message."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.app = App(Config(limits=False))
        self.realm = self.app.world.first_realm
        self.loop = asyncio.new_event_loop()
        self.sent: list[str] = []
        self.known: dict[str, list[Doc]] = {}

    def call(
        self, method: str, path: str, query: Doc | None = None, body: Any = None, raw: bytes | None = None
    ) -> tuple[int, Any]:
        """Status and parsed answer (bytes where it is no JSON)."""
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        text = urlencode({k: v for k, v in (query or {}).items() if v is not None})
        self.sent.append(f"{method} {path}?{text} {content[:1500]!r}")
        headers = [(b"authorization", b"Bearer " + self.app.world.first_access.encode()), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": method, "path": f"/v3/company/{self.realm}/{path}"}
        answers: list[Doc] = []

        async def receive() -> Doc:
            return {"type": "http.request", "body": content}

        async def send(message: Any) -> None:
            answers.append(message)

        self.loop.run_until_complete(self.app({**scope, "query_string": text.encode(), "headers": headers}, receive, send))
        status, answer = answers[0]["status"], answers[1]["body"]
        assert status < 500 or (status == 504 and path.startswith("reports/")), answer  # too many cells: a documented 504
        is_json = dict(answers[0]["headers"])[b"content-type"].startswith(b"application/json")
        return status, json.loads(answer) if is_json else answer

    def check(self) -> None:
        """The books hold."""
        broken = self.app.world.invariants()
        assert not any(broken.values()), broken

    # ------------------------------------------------------------------------------------------------ what is sent

    def reference(self, kinds: str) -> Doc:
        """To something that is there, mostly."""
        if self.rng.random() < 0.03:
            return {"value": self.rng.choice(["999999", "", "x", "1", "TAX", "NON"])}
        kind = self.rng.choice(kinds.split("|")) if kinds else self.rng.choice(list(KINDS))
        there = list(self.app.world.companies[self.realm].entities.get(kind, {}))
        made: Doc = {"value": self.rng.choice(there or ["1"])}
        return made | ({"type": kind} if "|" in kinds or not kinds else {})

    def amount(self) -> Any:
        """Money as clients write it."""
        cents = Decimal(self.rng.choice([0, 1, 5, 100, 333, 12345, self.rng.randrange(10**6)])) / 100
        return self.rng.choice([float(cents), str(cents), int(cents), -float(cents) if self.rng.random() < 0.1 else float(cents)])

    def value(self, name: str, spec: str, depth: int) -> Any:
        """A value for a property of the schema's language."""
        if self.rng.random() < 0.01:
            return self.rng.choice(ODD)
        if name in FITTING and self.rng.random() < 0.92:
            return {"value": self.rng.choice(FITTING[name])}
        if name == "DefinitionId":
            return self.rng.choice("123")
        if name in ("RatePercent", "DiscountPercent", "Percent"):
            return self.rng.randint(0, 100)
        base, _, rest = spec.lstrip("!=").partition(":")
        today = datetime.now(UTC).date()
        match base:
            case "ref":
                return self.reference(rest)
            case "obj":
                return self.shape(rest, depth)
            case "list":
                return [
                    self.shape(rest, depth) for _ in range(self.rng.choice([0, 1, 1, 2, 3] if name != "Line" else [1, 1, 2, 3]))
                ]
            case "enum":
                return self.rng.choice(rest.split("|"))
            case "money" | "num" | "pos":
                return self.amount()
            case "int":
                low, high = (int(part) for part in rest.split(":"))
                return self.rng.choice([low, high, self.rng.randint(low, min(high, low + 40))])
            case "bool":
                return self.rng.random() < 0.7
            case "date" | "time":
                return str(today + timedelta(days=self.rng.randint(-400, 60)))
            case "email":
                return "a@example.com"
            case "url":
                return "https://example.com"
            case "id":
                return self.rng.choice([None, "", "0", "-1"])
            case "text":
                return f"text {self.rng.randrange(10**6)}"[: int(rest)]
        return self.rng.choice(ODD)

    def shape(self, name: str, depth: int) -> Doc:
        """A nested object; a line's detail fits its DetailType mostly."""
        props = SHAPES[name]
        chance = 0.5 if depth < 3 else 0.2
        wanted = [
            key
            for key, spec in props.items()
            if spec != "any" and (self.rng.random() < chance or key in ("ItemRef", "AccountRef"))
        ]
        made = {key: self.value(key, props[key], depth + 1) for key in wanted}
        kinds = [key for key in props if key.endswith("Detail") and props[key].startswith("obj:")]
        if kinds and "DetailType" in props and self.rng.random() < 0.95:
            kind = self.rng.choice(kinds[:2])
            made = {key: value for key, value in made.items() if key not in kinds}
            made |= {"DetailType": kind, "Amount": abs(float(self.amount() or 1)), kind: self.shape(props[kind][4:], depth + 1)}
            made.pop("LinkedTxn", None) if self.rng.random() < 0.8 else None
            made[kind] = {k: v for k, v in made[kind].items() if k not in ("Qty", "UnitPrice", "DiscountRate", "DiscountAmt")}
        if name == "LinkedTxn":
            made = self.link()
        return made

    def link(self) -> Doc:
        """To a document of this run, mostly."""
        there = [(kind, doc) for kind, docs in self.known.items() for doc in docs if KINDS[kind].group == "txn"]
        if not there or self.rng.random() < 0.1:
            return {"TxnId": self.rng.choice(["1", "999", ""]), "TxnType": self.rng.choice(["Invoice", "Bill", "Nothing"])}
        kind, doc = self.rng.choice(there)
        return {"TxnId": doc["Id"], "TxnType": kind}

    def body(self, entity: Entity) -> Doc:
        """What is required, and a few of the rest."""
        made = {}
        for key, spec in entity.props.items():
            if spec.startswith("!") or (self.rng.random() < 0.15 and spec != "any" and not spec.startswith("=")):
                made[key] = self.value(key, spec, 0)
        made.pop("SyncToken", None)
        if "DisplayName" in entity.props and self.rng.random() < 0.9:
            made["DisplayName"] = f"Name {self.rng.randrange(10**9)}"
        if self.rng.random() < 0.9:
            made |= self.sense(entity.kind, made)
        if self.rng.random() < 0.05:
            made[self.rng.choice(list(entity.props))] = self.rng.choice(ODD)
        return made

    def sense(self, kind: str, made: Doc) -> Doc:
        """What makes a body of this kind one that can be right."""
        match kind:
            case "Item":
                return {"Type": self.rng.choice(["Service", "NonInventory"]), "IncomeAccountRef": {"value": "1"}}
            case "Account":
                return {"AccountType": self.rng.choice(TYPES), "AccountSubType": None, "ParentRef": None}
            case "JournalEntry":
                return {"Line": [self.posting("Debit", "15"), self.posting("Credit", "35")]}
            case "Purchase":
                return {"PaymentType": "Cash", "AccountRef": {"value": "35"}}
            case "Term":
                return {"DueDays": 10, "DayOfMonthDue": None, "Type": "STANDARD"}
            case "TimeActivity":
                return {
                    "NameOf": "Employee",
                    "EmployeeRef": {"value": "61"},
                    "Hours": 1,
                    "Minutes": 30,
                    "BillableStatus": "NotBillable",
                }
            case "Payment" | "BillPayment":
                return self.settlement(kind, made)
            case "Customer" | "Vendor":
                return {"OpenBalanceDate": str(datetime.now(UTC).date())}
        return {}

    def settlement(self, kind: str, made: Doc) -> Doc:
        """A payment over one open document of this run, in part or whole."""
        of, party = ("Invoice", "CustomerRef") if kind == "Payment" else ("Bill", "VendorRef")
        stored = self.app.world.companies[self.realm].entities.get(of, {})
        open_ones = [doc for doc in stored.values() if doc["Balance"] > 0]
        check = {"PayType": "Check", "CheckPayment": {"BankAccountRef": {"value": "35"}}} if kind == "BillPayment" else {}
        if not open_ones:
            return check | {"Line": None, "TotalAmt": 5}
        target = self.rng.choice(open_ones)
        amount = float(target["Balance"] if self.rng.random() < 0.5 else min(target["Balance"], Decimal(1)))
        line = {"Amount": amount, "LinkedTxn": [{"TxnId": target["Id"], "TxnType": of}]}
        return check | {party: {"value": target[party]["value"]}, "TotalAmt": amount, "Line": [line]}

    def posting(self, kind: str, account: str) -> Doc:
        """Half of a journal that balances."""
        detail = {"PostingType": kind, "AccountRef": {"value": account}}
        return {"Amount": 10, "DetailType": "JournalEntryLineDetail", "JournalEntryLineDetail": detail}

    # ------------------------------------------------------------------------------------------------ steps

    def create(self) -> None:
        """A document; what is answered can be read."""
        entity = self.rng.choice(WRITABLE)
        include = self.rng.choice([None, None, "allowduplicatedocnum", "allowautodocnum", "invoiceLink"])
        status, answer = self.call("POST", entity.path, {"include": include, "minorversion": 75}, self.body(entity))
        if status == 200:
            doc = answer[entity.kind]
            if entity.kind != "Preferences":
                assert doc["SyncToken"] == "0"
                self.known.setdefault(entity.kind, []).append(doc)
            status, read = self.call("GET", f"{entity.path}/{doc['Id']}")
            assert status == 200
            if include != "invoiceLink":
                assert read[entity.kind] == doc

    def pick(self) -> tuple[Entity, Doc] | None:
        """A document of this run, as it is now; None when there is none."""
        choices = [(kind, doc) for kind, docs in self.known.items() for doc in docs]
        if not choices:
            return None
        kind, doc = self.rng.choice(choices)
        status, answer = self.call("GET", f"{KINDS[kind].path}/{doc['Id']}")
        if status != 200:
            self.known[kind].remove(doc)
            return None
        return KINDS[kind], answer[kind]

    def echo(self) -> None:
        """What was read, sent back whole, is taken and changes no amount."""
        if picked := self.pick():
            entity, doc = picked
            voided = doc.get("Line") == [] and str(doc.get("PrivateNote")).startswith("Voided")
            if not entity.update or doc.get("ProcessPayment") or voided:  # 6110: merchant services have it
                return
            status, answer = self.call("POST", entity.path, {"operation": self.rng.choice([None, "update"])}, doc)
            if status == 400 and answer["Fault"]["Error"][0]["code"] == "2500":  # what it refers to was made inactive since
                return
            assert status == 200, answer
            changed = answer[entity.kind]
            assert int(changed["SyncToken"]) == int(doc["SyncToken"]) + 1
            for name in ("TotalAmt", "Balance", "DocNumber", "DueDate", "DisplayName", "Line"):
                assert unnamed(changed.get(name)) == unnamed(doc.get(name)), name

    def change(self) -> None:
        """Some properties, sparse or full; perhaps with an old token."""
        if picked := self.pick():
            entity, doc = picked
            changes = {k: v for k, v in self.body(entity).items() if k not in ("Id", "SyncToken") and self.rng.random() < 0.4}
            sparse = self.rng.random() < 0.6
            body = ({} if sparse else doc) | changes | {"Id": doc["Id"], "SyncToken": doc["SyncToken"], "sparse": sparse}
            if self.rng.random() < 0.1:
                body["SyncToken"] = self.rng.choice(["99", "", None, -1])
            self.call("POST", entity.path, None, body)

    def end(self) -> None:
        """Delete or void, with the token that is right, or the whole document."""
        if picked := self.pick():
            entity, doc = picked
            small = {"Id": doc["Id"], "SyncToken": doc["SyncToken"]}
            query = self.rng.choice([{"operation": "delete"}, {"operation": "void"}, {"operation": "update", "include": "void"}])
            status, answer = self.call("POST", entity.path, query, self.rng.choice([doc, small, small | {"sparse": True}]))
            if status == 200 and query["operation"] == "delete":
                assert answer[entity.kind]["status"] == "Deleted"
                assert self.call("GET", f"{entity.path}/{doc['Id']}")[0] == 400

    def query(self) -> None:
        """A statement over any kind; its count agrees with its rows."""
        entity = self.rng.choice(list(KINDS.values()))
        conditions = []
        for name in self.rng.sample(sorted(entity.filters), min(len(entity.filters), self.rng.choice([0, 1, 1, 2]))):
            one = self.rng.choice(
                ["'1'", "'2026-01-01'", "5", "true", "'x%'", "''", "' '", "'2026-01-01T00:00:00Z'", "CURRENT_DATE"]
            )
            operator = self.rng.choice(["=", "<", ">", "<=", ">=", "LIKE", "IN"])
            conditions.append(f"{name} {operator} {f'({one}, {one})' if operator == 'IN' else one}")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        order = (
            f" ORDERBY {self.rng.choice(sorted(entity.filters))} {self.rng.choice(['', 'ASC', 'DESC'])}"
            if self.rng.random() < 0.4
            else ""
        )
        status, answer = self.call("GET", "query", {"query": f"SELECT * FROM {entity.kind}{where}{order} MAXRESULTS 1000"})
        if status == 200:
            rows = answer["QueryResponse"].get(entity.kind, [])
            counted = self.call("GET", "query", {"query": f"SELECT COUNT(*) FROM {entity.kind}{where}"})
            assert counted[1]["QueryResponse"]["totalCount"] == len(rows)

    def report(self) -> None:
        """Any report with any parameters."""
        days = ["2026-01-01", "2026-12-31", "2020-01-01", "x", "", "2026-02-30"]
        query = {
            "start_date": self.rng.choice(days),
            "end_date": self.rng.choice(days),
            "accounting_method": self.rng.choice(["Cash", "Accrual", "x"]),
            "summarize_column_by": self.rng.choice(BY),
            "columns": self.rng.choice(["tx_date,txn_type,doc_num", "x", "", None]),
            "date_macro": self.rng.choice(["This Month", "Last Fiscal Year", "x", None]),
            "customer": self.rng.choice(["1", "x", None]),
            "aging_period": self.rng.choice(["30", "0", "-1", "x", None]),
            "num_periods": self.rng.choice(["4", "0", "-1", "100000", "x", None]),
            "report_date": self.rng.choice([*days, None]),
            "sort_by": self.rng.choice(["tx_date", "x", None]),
        }
        self.call("GET", f"reports/{self.rng.choice(REPORTS)}", {k: v for k, v in query.items() if self.rng.random() < 0.5})

    def batch(self) -> None:
        """Several things in one call; every bId is answered once."""
        items: list[Doc] = []
        for number in range(self.rng.randint(1, 5)):
            entity = self.rng.choice(WRITABLE)
            item: Doc = {
                "bId": str(number),
                entity.kind: self.body(entity),
                "operation": self.rng.choice(["create", "update", "delete", "x"]),
            }
            if self.rng.random() < 0.2:
                item = {"bId": str(number), "Query": f"select * from {entity.kind}"}
            items.append(item)
        status, answer = self.call("POST", "batch", None, {"BatchItemRequest": items})
        assert status == 200, answer
        assert sorted(a["bId"] for a in answer["BatchItemResponse"]) == [str(n) for n in range(len(items))]

    def other(self) -> None:
        """Paths that nobody should ask for, and those beside the documents."""
        entity = self.rng.choice(list(KINDS.values()))
        ids = ["1", "999", "x", "", "-1", "1/pdf", "1/send", "999/pdf", "1/x", "1/pdf/x", "%00", "1" * 400]
        method = self.rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"])
        place = self.rng.choice(
            [f"{entity.path}/{self.rng.choice(ids)}", "cdc", "download/1", "upload", "batch", "x", "", "taxservice/taxcode"]
        )
        since = self.rng.choice(["2026-11-01", "x", "", "9999-12-31T23:59:59Z", "0001-01-01", str(datetime.now(UTC))])
        query = {"entities": self.rng.choice([entity.kind, "x", "", "Invoice,,Bill"]), "changedSince": since, "sendTo": "x"}
        self.call(method, place, query, raw=self.rng.choice([b"", b"{}", b"[]", b"null", b"\xff", b'{"Id":', b"[" * 5000]))

    def step(self) -> None:
        """One of these."""
        steps = [self.create] * 8 + [self.echo] * 3 + [self.change] * 3 + [self.end] * 2 + [self.query] * 2
        self.rng.choice([*steps, self.report, self.batch, self.other])()


def unnamed(value: Any) -> Any:
    """Without the names in references, which follow what they refer to."""
    if isinstance(value, dict):
        return {k: unnamed(v) for k, v in value.items() if k != "name" or "value" not in value}
    return [unnamed(v) for v in value] if isinstance(value, list) else value


def live(seed: int, steps: int) -> None:
    """One company's life; a failure names its seed and its last requests."""
    caller = Caller(random.Random(seed))
    try:
        for _ in range(steps):
            caller.step()
        caller.check()
    except AssertionError as error:
        trace = "\n".join(caller.sent[-6:])
        raise AssertionError(f"seed {seed}: {error}\nlast requests:\n{trace}") from error
    finally:
        caller.loop.close()


@pytest.fixture(autouse=True)
def _no_noise(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """The app prints a traceback for a bug of its own: there must be none."""
    yield
    assert "Traceback" not in capfd.readouterr().err


@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_client_is_answered_and_leaves_the_books_whole(seed: int) -> None:
    live(seed, 60)
