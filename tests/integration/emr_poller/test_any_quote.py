"""Whatever the EMR answers about one quote, the others are published: arbitrary Unicode, sizes, numbers and forms in its JSON.

A quote that cannot become an invoice is parked with a reason that its operator understands, and that repeats no patient's name.

POISON_EXAMPLES=300 looks further than the few examples of CI, which are the same each time.
"""

import asyncio
import json
import os
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from any_text import any_text, signs, untakeable
from bookrelay import topics
from bookrelay.db import close_pool, open_pool
from bookrelay.errors import Code
from bookrelay.kafka import Publisher
from emr_poller.settings import Settings
from emr_support import Poller, poller_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_emr_polling import CANARY, quote
from told_emr import Told, emr_told

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(900)]
EXAMPLES = int(os.environ.get("POISON_EXAMPLES", "12"))
FIRST_GOOD, FIRST_STRANGE = 7_000_000, 8_000_000

texts = st.one_of(
    any_text,
    st.builds(lambda before, after: f"{before}{CANARY}{after}", st.text(signs, max_size=3), st.text(signs, max_size=9)),
    st.builds(
        lambda text, count: text * count,
        st.one_of(st.sampled_from(["a ", ", ", "\u3000,", f"{CANARY} "]), untakeable, st.text(signs, min_size=1, max_size=2)),
        st.sampled_from([12, 401, 4001, 500_000]),
    ),
)


def token(text: str) -> str:
    """Mark what stands in the JSON as it is, without quotes."""
    return f"<<{text}>>"


numbers = st.one_of(
    st.integers(), st.integers(-(10**25), 10**25), st.floats(), st.decimals().map(str),
    st.sampled_from([
        token("1e400"), token("-1E9999999"), token("1e-400"), token("1E-9999999"), token("-0.0"), token("9" * 5000),
        token("0." + "9" * 5000), "NaN", "1E9999999", "9" * 5000, "1_000", " 12 ", "\u0661", "",
    ]),
)  # fmt: skip
times = st.sampled_from([
    "0001-01-01T00:00:00", "1900-01-01T00:00:00Z", "2199-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-14:00",
    "2026-02-30T00:00:00Z", "2026-05-04T10:00:00+99:99", "2026-05-04 10:00:00", "/Date(1745284200000)/", 1745284200, "",
])  # fmt: skip
ABSENT = "<absent>"
anything = st.recursive(
    st.one_of(texts, numbers, times, st.none(), st.booleans(), st.just(ABSENT)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
DETAIL = [
    "PriceQuoteNo", "Version", "ModifiedDate", "PriceQuoteDate", "PriceQuoteStatus", "PriceQuoteStatus.Id", "Patient",
    "Patient.Id", "Patient.Name", "CreatedBy", "CreatedBy.Name", "Procedures", "Procedures.0", "Procedures.0.ProcedureName",
    "Procedures.0.Amount", "Procedures.0.DiscountAmount", "Supplies", "Supplies.0", "Supplies.0.ItemTitle",
    "Supplies.0.UnitCost", "Supplies.0.Quantity", "Supplies.0.Tax", "Supplies.0.ShowOnQuote", "AnesthAmt", "AnesthesiaGroup",
    "AnesthesiaGroup.Name", "FacilityAmt", "Discount", "CreditAmount", "TotalAmt", "Unknown",
]  # fmt: skip
ROW = ["Version", "ModifiedDate", "Patient", "PriceQuoteStatus", "ProcedureDescription"]
deep = st.sampled_from(["[" * 100_000 + "]" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000]).map(token)
broken = st.sampled_from([b"", b"{", b'{"PriceQuoteNo": 1', b"\xff\xfe", b"[" * 100_000, b"null", b'"' + b"a" * 2_000_000 + b'"'])
bodies = st.one_of(st.tuples(st.sampled_from([200, 200, 400, 404, 500]), broken), st.tuples(st.just(200), st.binary(max_size=30)))


@dataclass
class Strange:
    """A quote: what is put in which place of its list row and its detail; or what is answered in the detail's place.

    `nameless` stands in the place of the list row's number. `bytes_within` stand in the patient's name as they are: no UTF-8,
    or a control character without its escape.
    """

    row: dict[str, Any] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    body: tuple[int, bytes] | None = None
    nameless: Any = None
    bytes_within: bytes = b""


def changes(paths: list[str], most: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(paths), st.one_of(anything, anything, deep), min_size=1, max_size=most)


large = st.sampled_from([token("999999999999999"), token("-999999999999999"), token("999999999999999.999"), "999999999999999"])
amount = st.one_of(large, numbers)
supply = {"Supplies.0.UnitCost": amount, "Supplies.0.Quantity": amount, "Supplies.0.ShowOnQuote": st.booleans()}
fees = ("Procedures.0.Amount", "Procedures.0.DiscountAmount", "AnesthAmt", "FacilityAmt", "Discount", "CreditAmount", "TotalAmt")
amounts = st.one_of(
    st.fixed_dictionaries(supply), st.dictionaries(st.sampled_from([*fees, "Supplies.0.Tax"]), amount, min_size=2, max_size=4)
)
inserted = st.sampled_from([b"", b"", b"", b"\xff", b"\x00", b"\t", b"\xed\xa0\x80"])
stranges = st.lists(
    st.one_of(
        st.builds(Strange, detail=changes(DETAIL, 3), bytes_within=inserted),
        st.builds(Strange, detail=amounts),
        st.builds(Strange, row=changes(ROW, 2), detail=st.one_of(st.just({}), changes(DETAIL, 1)), bytes_within=inserted),
        st.builds(Strange, body=bodies),
        st.builds(Strange, nameless=anything),
    ),
    min_size=8, max_size=12,
)  # fmt: skip


def put(body: Any, path: str, value: Any) -> None:
    *way, last = path.split(".")
    for step in way:
        body = body[int(step)] if isinstance(body, list) and body else body.get(step) if isinstance(body, dict) else None
    if isinstance(body, list) and body:
        body[int(last)] = value
    if isinstance(body, dict):
        body[last] = value
        if value == ABSENT:
            del body[last]


def encoded(value: Any, within: bytes = b"") -> bytes:
    """Write JSON with what Python's would not: numbers as they are marked, bytes within the patient's name."""
    text = re.sub(r'"<<(.*?)>>"', lambda found: found[1].replace("\\", ""), json.dumps(value))
    return text.encode().replace(CANARY.encode(), CANARY.encode() + within)


@dataclass
class Scene:
    """What the EMR holds: good quotes, and strange ones among them."""

    good: set[int] = field(default_factory=set)
    strange: set[int] = field(default_factory=set)
    nameless: int = 0
    rows: list[bytes] = field(default_factory=list)
    details: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def add_good(self) -> int:
        number = FIRST_GOOD + len(self.good)
        self.good.add(number)
        self._add(number, full(number), Strange())
        return number

    def add(self, strange: Strange) -> None:
        number = FIRST_STRANGE + len(self.strange)
        if strange.nameless is None:
            self.strange.add(number)
        else:
            self.nameless += 1
        self._add(number, full(number), strange)

    def _add(self, number: int, detail: dict[str, Any], strange: Strange) -> None:
        row = {name: detail[name] for name in ("PriceQuoteNo", "Version", "ModifiedDate", "PriceQuoteStatus", "Patient")}
        for path, value in strange.row.items():
            put(row, path, value)
        if strange.nameless is not None:
            put(row, "PriceQuoteNo", strange.nameless)
        for path, value in strange.detail.items():
            put(detail, path, value)
        self.rows.append(encoded(row, strange.bytes_within))
        self.details[str(number)] = strange.body or (200, encoded(detail, strange.bytes_within))

    def tell(self, emr: Told) -> None:
        emr.listed = b"[" + b",".join(self.rows) + b"]"
        emr.details = self.details


def full(number: int) -> dict[str, Any]:
    """A quote with everything that the poller reads."""
    return quote(
        number, AnesthAmt=500, FacilityAmt=200, Discount=0, CreditAmount=0, TotalAmt=1720,
        AnesthesiaGroup={"Id": 1, "Name": "Group"},
        Supplies=[{"ItemTitle": "Item", "UnitCost": 10, "Quantity": 2, "ShowOnQuote": True, "Tax": 0}],
    )  # fmt: skip


async def carry(poller: Poller, emr: Told, stranges: list[Strange]) -> None:
    """Poll twice, and once more after another quote came: look after each."""
    scene = Scene()
    for strange in stranges:
        scene.add_good()
        scene.add(strange)
    scene.add_good()
    scene.tell(emr)
    with structlog.testing.capture_logs() as logs:
        await poll(poller)
    assert await poller.published() >= scene.good
    published, parked = await poller.published(), await poller.parked()
    assert scene.strange <= published | set(parked), scene.strange - published - set(parked)
    unnamed = sum(line["count"] for line in logs if line["event"] == "list.unreadable_rows")
    assert unnamed + len((published | set(parked)) - scene.good - scene.strange) >= min(scene.nameless, 1)
    for number, reason in parked.items():
        assert is_plain(reason), (number, reason)
    position = await poller.pool.fetchval("SELECT position FROM emr_poller.cursor WHERE name LIKE $1", f"%{realm_of(poller)}%")
    assert position >= datetime.now(UTC) - timedelta(minutes=5)

    await poller.pool.execute("UPDATE emr_poller.parked SET due_at = now() WHERE realm = $1", realm_of(poller))
    scene.add_good()
    scene.tell(emr)
    await poll(poller)
    assert await poller.published() == published | scene.good
    assert await poller.parked() == parked
    commands = Counter(message.data.source_key for message in await poller.messages(topics.COMMANDS))
    assert commands == Counter(str(number) for number in published | scene.good)
    told = await poller.messages(topics.EVENTS)
    passing = await poller.pool.fetch(
        "SELECT number FROM emr_poller.parked WHERE realm = $1 AND code = $2", realm_of(poller), Code.AUTOMATION_FAILED.value
    )
    assert Counter(event.data.source_key for event in told) == Counter(map(str, set(parked) - {row[0] for row in passing}))
    assert all(event.data.reason == parked[int(event.data.source_key)] and event.data.fix for event in told)


def realm_of(poller: Poller) -> str:
    return poller.settings.qbo_realm_id


async def poll(poller: Poller) -> None:
    """Poll until everything that the list shows is settled; it is one poll, for there are fewer than a hundred quotes."""
    assert await poller.step() == poller.settings.emr_poll_seconds
    assert poller.schedule.not_ready_because() is None


def is_plain(reason: str) -> bool:
    """Whether it is a sentence for the practice, of a fault that was foreseen, without anything of the patient."""
    return (
        reason.isprintable() and len(reason) < 500 and reason.endswith(".") and CANARY.casefold() not in reason.casefold()
        and "by the poller" not in reason and "look for message.failed" not in reason
    )  # fmt: skip


async def test_whatever_stands_in_a_quote_its_neighbours_are_published(environment: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    pool = await open_pool(Settings.load(environment), application_name="test")
    publisher = Publisher(environment["KAFKA_BOOTSTRAP_SERVERS"], "test")
    await publisher.start()

    async def example_in(emr: Told, stranges: list[Strange]) -> None:
        own = {"QBO_REALM_ID": str(uuid.uuid4().int)[:16], "EMR_BASE_URL": emr.url, "EMR_RETRY_SECONDS": "3600"}
        async with poller_of(environment | own, pool, publisher) as poller:
            await carry(poller, emr, stranges)

    with emr_told() as emr:

        @settings(
            max_examples=EXAMPLES, derandomize="POISON_EXAMPLES" not in os.environ, database=None, deadline=None,
            phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(stranges=stranges)
        def example(stranges: list[Strange]) -> None:
            asyncio.run_coroutine_threadsafe(example_in(emr, stranges), loop).result()

        try:
            await asyncio.to_thread(example)
        finally:
            await publisher.stop()
            await close_pool(pool)
