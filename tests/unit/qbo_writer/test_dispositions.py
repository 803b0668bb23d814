"""What becomes of a document and its company: every code, wherever it comes, under every HTTP status. Enumerated."""

import itertools
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from bookrelay.errors import Disposition, HaltError, TransientError
from bookrelay_deploy.faults_reference import ACTIONS, action
from cryptography.fernet import Fernet
from qbo_writer.domain import (
    AccessToken,
    Answer,
    AnswerKind,
    BatchItem,
    BatchRequest,
    LedgerKind,
    LookupFailed,
    Operation,
    Request,
)
from qbo_writer.protocol.transitions import Envelope, Trigger, trigger_of_answer
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.faults import TABLE, WITHOUT_CODE, WORDS_OF_6000
from qbo_writer.quickbooks.oauth_client import OAuthClient
from qbo_writer.settings import Settings

STATUSES = (200, 400, 401, 403, 429, 500, 503)
PLACES = ("single", "item", "whole batch", "read", "token endpoint")

# Written out by hand from the reference, apart from the table that they check.
HALTING = set("120 3100 3201 5020 6190 10200".split())  # noqa: SIM905
TOKEN = set("100 110 3200 3202".split())  # noqa: SIM905
PACE = set("3001 3002".split())  # noqa: SIM905
CONFLICTING = set("5010 610 6140".split())  # noqa: SIM905
SILENT = set("130 140 150 600 1000 1010 1020 6002 10000 10100 10200".split())  # noqa: SIM905
STALE = set("2500 6250".split())  # noqa: SIM905
HELD = set(
    """620 630 800 6110 6120 6450 6460 6200 6210 6220 6240 6280 6400 6480 6540
    500 1040 1050 2000 2010 2020 2120 2130 2250 2260 2270 2280 2300 2600 4000 4001 4002 5000 6070 6440
    6020 6030 6040 6041 6050""".split()  # noqa: SIM905
)
SERVER = (500, 503)

REALM, NOW = "91", datetime.now(UTC)
REQUEST = Request(REALM, LedgerKind.INVOICE, "Invoice", Operation.UPDATE, "br-1", "{}", "5", "0")
KEPT = AccessToken("t", NOW + timedelta(hours=1))


def expected(code: str, place: str, status: int) -> str:
    """What must come of it, in words."""
    halts, unknown_effect = code in HALTING, code in SILENT or status in SERVER
    if place == "token endpoint":
        if halts:
            return "halt"
        return "again" if unknown_effect or code in PACE else "halt"
    if place == "read":
        if halts:
            return "halt"
        if code == "610" and status < 500:
            return "absent"
        if code in TOKEN:
            return "again with another token"
        return "again" if code in PACE or status in SERVER else "again, counted"
    if place == "item" and status in SERVER:
        return "unknown"  # nobody looks into the items of a server that failed
    and_halt = ", halt" if halts else ""
    if unknown_effect:
        return "unknown" + and_halt
    if halts or code in TOKEN | PACE:
        more = {"": "", "halt": ", halt"}["halt" if halts else ""]
        more += ", another token" if code in TOKEN else ", pause" if code in PACE else ""
        return ("due, not counted" if place == "item" else "the same request again") + more
    if code in CONFLICTING:
        return "unknown" if place == "whole batch" else "read and compare"
    if place == "whole batch":
        return "due, counted"
    if code in STALE:
        return "due, counted"
    return "held" if code in HELD else "rejected"


def of_answer(answer: Answer, envelope: Envelope) -> str:
    """What the writer commits for a first send that got this answer."""
    trigger = trigger_of_answer(answer.kind, ambiguous=False, envelope=envelope)
    words = {
        None: "read and compare", Trigger.SILENCE: "unknown", Trigger.REFUSAL: "the same request again",
        Trigger.REFUSED_ITEM: "due, not counted", Trigger.BATCH_ERROR: "due, counted",
        Trigger.ERROR: {Disposition.RETRY: "due, counted", Disposition.HOLD: "held", Disposition.REJECT: "rejected"}.get(
            answer.disposition, "?"
        ),
    }[trigger]  # fmt: skip
    words += ", halt" if answer.halt else ""
    if trigger in (Trigger.REFUSAL, Trigger.REFUSED_ITEM):
        words += ", another token" if answer.unauthorized else ", pause" if answer.throttled else ""
    return words


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings.model_validate(
        {
            "database_url": "postgresql://localhost/none", "qbo_realm_ids": REALM, "qbo_base_url": "http://quickbooks",
            "qbo_token_url": "http://intuit/token", "qbo_revoke_url": "http://intuit/revoke", "qbo_client_id": "a",
            "qbo_client_secret": "b", "qbo_token_encryption_keys": Fernet.generate_key().decode(),
        }
    )  # fmt: skip


def fault(code: str) -> dict[str, object]:
    return {"Fault": {"Error": [{"Message": "M", "Detail": "D", "code": code}], "type": "ValidationFault"}}


async def outcome(settings: Settings, code: str, place: str, status: int) -> str:
    """Let the writer's own clients meet the answer."""
    items = {"BatchItemResponse": [{"bId": "1", **fault(code)}]}
    answered = httpx.Response(status, json=items if place == "item" else fault(code))
    transport = httpx.MockTransport(lambda request: answered)
    if place == "token endpoint":
        oauth = OAuthClient(settings, httpx.AsyncClient(transport=transport))
        try:
            await oauth.refresh("r")
        except HaltError as error:
            return "halt" if error.fix else "halt without a remedy"
        except TransientError:
            return "again"
        return "accepted"
    refused: list[str] = []
    client = QboClient(settings, transport=transport)
    client.transport.on_unauthorized = lambda realm, token: refused.append(realm)
    try:
        if place == "read":
            try:
                return "absent" if await client.read(REALM, "Invoice", "5", KEPT) is None else "found"
            except HaltError:
                return "halt"
            except LookupFailed as error:
                return "again with another token" if refused else "again, counted" if error.definite else "again"
        if place == "single":
            return of_answer(await client.send(REQUEST, KEPT), Envelope.SINGLE)
        answers = await client.send_batch(BatchRequest(REALM, "bb-1", "{}", (BatchItem("1", REQUEST),)), KEPT)
        if isinstance(answers, Answer):
            return of_answer(answers, Envelope.BATCH)
        return of_answer(answers["1"], Envelope.ITEM)
    finally:
        await client.close()


@pytest.mark.parametrize(("place", "status"), itertools.product(PLACES, STATUSES))
async def test_every_code_under_every_status_has_its_disposition(settings: Settings, place: str, status: int) -> None:
    found = {code: await outcome(settings, code, place, status) for code in TABLE}
    assert found == {code: expected(code, place, status) for code in TABLE}


@pytest.mark.parametrize("status", [400, 401, 403, 429])
async def test_an_item_without_a_fault_is_no_success_under_a_refusal(settings: Settings, status: int) -> None:
    done = {"bId": "1", "Invoice": {"Id": "5", "SyncToken": "1", "status": "Voided"}}
    client = QboClient(
        settings, transport=httpx.MockTransport(lambda _: httpx.Response(status, json={"BatchItemResponse": [done]}))
    )
    try:
        answers = await client.send_batch(BatchRequest(REALM, "bb-1", "{}", (BatchItem("1", REQUEST),)), KEPT)
    finally:
        await client.close()
    assert isinstance(answers, dict)
    assert answers["1"].kind is AnswerKind.SILENCE, "what was done is looked up"


def test_what_is_expected_is_about_codes_of_the_table() -> None:
    assert set(TABLE) >= HALTING | TOKEN | PACE | CONFLICTING | SILENT | STALE | HELD


def test_the_page_says_what_the_writer_does() -> None:
    entries = {**TABLE, **WITHOUT_CODE, **{words.pattern: entry for words, entry in WORDS_OF_6000}}
    assert {action(entry) for entry in entries.values()} == set(ACTIONS)
    for code, entry in entries.items():
        if entry.kind in (AnswerKind.ERROR, AnswerKind.CONFLICT) or entry.disposition is Disposition.HALT:
            assert entry.fix or entry.disposition is Disposition.RETRY, code
