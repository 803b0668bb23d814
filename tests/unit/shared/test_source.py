"""What every source shares, in memory: when it is read, what answers say, what is said of a document."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest
from bookrelay import topics
from bookrelay.errors import Code, SettingsError, TransientError
from bookrelay.messages import BillContent, BillLine, InvoiceContent, InvoiceLine, Kind, Party, UpsertBill, UpsertInvoice
from bookrelay.source.answers import retry_after
from bookrelay.source.documents import Origin, Rejection
from bookrelay.source.errors import PausedError, RejectedError, ThrottledError
from bookrelay.source.outgoing import topic_of
from bookrelay.source.schedule import Schedule
from bookrelay.source.settings import SourceSettings, ZoneName

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ORIGIN = Origin("1", "rents", "rent-poller")


class Source:
    """A source whose turns end as the test says, and the clock by which it is read."""

    def __init__(self, *ends: Any) -> None:
        self.ends, self.turns, self.now = list(ends), 0, 1000.0
        self.schedule = Schedule("rents", self.poll, every_seconds=60, paused_seconds=30, monotonic=lambda: self.now)

    async def poll(self) -> bool:
        self.turns += 1
        end = self.ends.pop(0) if self.ends else False
        if isinstance(end, Exception):
            raise end
        return bool(end)

    async def follows_after(self, seconds: float) -> None:
        """See the next turn come after so many seconds, and no sooner."""
        turns = self.turns
        if seconds:
            self.now += seconds - 0.01
            await self.schedule.step()
            assert self.turns == turns
            self.now += 0.02
        await self.schedule.step()
        assert self.turns == turns + 1


PAUSED = PausedError("The key is refused.", "Set RENTS_API_KEY.", Code.OAUTH_FAILED)


@pytest.mark.parametrize(
    ("end", "seconds", "says"),
    [
        (False, 60, None),
        (True, 0, None),
        (PAUSED, 30, "QB001: The key is refused. Set RENTS_API_KEY."),
        (ThrottledError("The manager", 17), 17, "QB003: The manager asks us to wait 17 s."),
    ],
)
async def test_the_end_of_a_turn_says_when_the_next_is_due(end: Any, seconds: float, says: str | None) -> None:
    source = Source(end)
    assert await source.schedule.poll_now() == seconds
    assert source.schedule.not_ready_because() == says
    await source.follows_after(seconds)
    assert source.schedule.not_ready_because() is None


async def test_a_turn_that_is_asked_for_comes_soon_but_not_at_once() -> None:
    source = Source()
    await source.schedule.step()
    source.schedule.wake()
    await source.follows_after(1)
    source.now += 20
    source.schedule.wake()
    await source.follows_after(0)


async def test_nothing_shortens_a_pause_and_what_was_asked_for_follows_it() -> None:
    source = Source(PAUSED)
    source.schedule.wake()
    await source.schedule.step()
    source.schedule.wake()
    await source.follows_after(30)


async def test_a_passing_failure_is_the_loop_s_and_the_next_step_is_a_turn() -> None:
    source = Source(PAUSED, TransientError("away"))
    await source.schedule.poll_now()
    source.now += 31
    with pytest.raises(TransientError):
        await source.schedule.step()
    assert source.schedule.not_ready_because() is None  # the loop says what it is now
    await source.follows_after(0)


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7), ("0", 1, 1), ("99999", 3600, 3600), ("nan", 1, 1), ("1.5", 1.5, 1.5),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 1, 1),
    ],
)  # fmt: skip
def test_retry_after_is_honoured_within_bounds(header: str, low: float, high: float) -> None:
    seconds = retry_after(header)
    assert seconds is not None
    assert low <= seconds <= high


def test_retry_after_may_be_a_date() -> None:
    assert 600 < (retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=900), usegmt=True)) or 0) <= 900


@pytest.mark.parametrize("header", [None, "", "soon", "\u00b2"])
def test_retry_after_that_cannot_be_read_says_nothing(header: str | None) -> None:
    assert retry_after(header) is None


def test_what_a_source_says_is_the_same_message_each_time_and_has_its_place() -> None:
    line = InvoiceLine(item="rent", description="May", amount=Decimal("900.00"))
    invoice = InvoiceContent(customer=Party(name="Unit 7"), txn_date=date(2026, 5, 1), lines=(line,))
    bill = BillContent(vendor=Party(name="Plumber"), txn_date=date(2026, 5, 1), lines=(BillLine(amount=Decimal(80)),))
    said = {"key": "c-1", "version": 1, "modified_at": NOW}
    upsert = ORIGIN.upsert(invoice, **said, total=Decimal("900.00"))
    assert isinstance(upsert, UpsertInvoice)
    assert upsert.encode() == ORIGIN.upsert(invoice, **said, total=Decimal("900.00")).encode()
    assert (upsert.data.realm, upsert.data.source, upsert.source) == ("1", "rents", "/bookrelay/rent-poller")
    assert isinstance(ORIGIN.upsert(bill, **said), UpsertBill)
    retract = ORIGIN.retract(Kind.INVOICE, **said, reason="The charge was deleted.")
    rejection = Rejection("The charge has no unit.", "Choose the unit.")
    reject = ORIGIN.reject(rejection, kind=Kind.INVOICE, key="c-1", version=1, at=NOW)
    assert (reject.data.code, reject.data.reason, reject.data.fix) == ("QB004", rejection.reason, rejection.fix)
    assert reject.id != ORIGIN.reject(rejection, kind=Kind.INVOICE, key="c-1", version=1, at=NOW, occurrence=1).id
    assert [topic_of(m) for m in (upsert, retract, reject)] == [topics.COMMANDS, topics.COMMANDS, topics.EVENTS]


def test_a_refusal_is_about_the_document_and_says_what_to_do() -> None:
    error = RejectedError("The charge has no unit.", "Choose the unit.")
    assert error.sentence() == "QB004: The charge has no unit. Choose the unit."


def test_a_zone_that_nobody_knows_ends_at_start() -> None:
    class Settings(SourceSettings):
        rents_time_zone: ZoneName = "America/New_York"

    given = {"DATABASE_URL": "postgresql://u:p@h/b", "KAFKA_BOOTSTRAP_SERVERS": "h:1", "QBO_REALM_ID": "1"}
    assert Settings.load(given | {"RENTS_TIME_ZONE": "Europe/Zurich"}).rents_time_zone == "Europe/Zurich"
    with pytest.raises(SettingsError, match="RENTS_TIME_ZONE is wrong: 'Mars/Olympus' is not a time zone"):
        Settings.load(given | {"RENTS_TIME_ZONE": "Mars/Olympus"})
