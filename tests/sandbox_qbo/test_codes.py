"""Each fault code by the request that brings it about, with status, type, texts and envelope; and by the one that passes."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sandbox.qbo.rules.faults import TABLE

from .bodies import invoice
from .cases import CASES, FORCED_ONLY, TOLD
from .conftest import Books

NAMESPACE = "{http://schema.intuit.com/finance/v3}"
LOWER_CASE = {"100", "110", "3100", "3200", "3201", "3202"}  # 401 and 403 of the gate
IN_AN_ITEM = {"6030", "6040", "6041"}  # an upload answers 200; the fault is in its part
GATEWAY = {"6002"}  # XML, whatever was asked for
NO_DETAIL = {"3100"}  # seen with an empty detail only


@dataclass(frozen=True)
class Seen:
    """A fault as it came over the wire."""

    envelope: str  # Fault | fault | item | xml
    code: str
    type: str
    message: str
    detail: str


def seen(answer: httpx.Response) -> Seen | None:
    """The fault of an answer, None where there is none; everything an envelope must hold is asserted."""
    if "xml" in answer.headers["content-type"]:
        return _in_xml(answer.text)
    if not answer.headers["content-type"].startswith("application/json"):
        return None
    body = answer.json()
    if "fault" in body:
        assert {"warnings", "report", "batchItemResponse", "cdcresponse", "requestId", "status"} <= set(body)
        assert isinstance(body["time"], int)
        error = body["fault"]["error"][0]
        assert set(error) == {"message", "detail", "code", "element"}
        return Seen("fault", error["code"], body["fault"]["type"], error["message"], error["detail"])
    parts = body.get("AttachableResponse") or [{}]
    fault = body.get("Fault") or parts[0].get("Fault")
    if fault is None:
        return None
    if "Fault" in body:
        assert set(body) == {"Fault", "time"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}-0[78]:00", body["time"])
    error = fault["Error"][0]
    assert set(fault) == {"Error", "type"}
    assert set(error) == {"Message", "Detail", "code", "element"}
    assert isinstance(error["code"], str)
    return Seen("Fault" if "Fault" in body else "item", error["code"], fault["type"], error["Message"], error["Detail"])


def _in_xml(text: str) -> Seen | None:
    fault = ET.fromstring(text).find(f"{NAMESPACE}Fault")
    if fault is None:
        return None
    error = fault.find(f"{NAMESPACE}Error")
    assert error is not None
    texts = [error.findtext(f"{NAMESPACE}{name}") or "" for name in ("Message", "Detail")]
    return Seen("xml", error.attrib["code"], fault.attrib["type"], *texts)


def check_texts(code: str, fault: Seen) -> None:
    assert re.search(TOLD[code].text, f"{fault.message}\n{fault.detail}"), f"{fault} is not told as {TOLD[code].text}"
    assert fault.message
    assert fault.detail or code in NO_DETAIL
    assert not re.search(r"\{\w*\}", fault.message + fault.detail), "a template that nobody filled"


def test_no_code_is_without_its_cases() -> None:
    assert set(CASES) | set(FORCED_ONLY) == set(TABLE)
    assert not set(CASES) & set(FORCED_ONLY)
    assert set(TOLD) == set(TABLE)
    assert len(FORCED_ONLY) <= 6, "a code whose cause is known gets a case, not an excuse"
    assert all(len(reason) > 20 for reason in FORCED_ONLY.values())
    assert all(case.refuses is not case.accepts for case in CASES.values())


@pytest.mark.parametrize("code", CASES)
def test_a_code_is_brought_about_and_a_request_like_it_passes(books: Books, code: str) -> None:
    refused = CASES[code].refuses(books)
    fault = seen(refused)
    assert fault is not None, refused.text
    assert fault.code == code, refused.text
    assert fault.type == TOLD[code].type
    assert fault.envelope == (
        "item" if code in IN_AN_ITEM else "xml" if code in GATEWAY else "fault" if code in LOWER_CASE else "Fault"
    )
    assert refused.status_code in ({200} if code in IN_AN_ITEM else TOLD[code].statuses)
    assert ("www-authenticate" in refused.headers) is (refused.status_code == 401)
    check_texts(code, fault)
    accepted = CASES[code].accepts(books)
    assert accepted.status_code == 200, accepted.text
    assert seen(accepted) is None, accepted.text


def force(books: Books, code: str, **more: Any) -> httpx.Response:
    rule = {"fault": "fault", "code": code, "count": 1, "match": {"realm": books.realm}, **more}
    books.standin.control("POST", "faults", rule)
    return books.post("invoice", invoice())


@pytest.mark.parametrize("code", FORCED_ONLY)
def test_a_code_without_a_known_cause_can_be_asked_for(books: Books, code: str) -> None:
    refused = force(books, code)
    fault = seen(refused)
    assert fault is not None, refused.text
    assert (fault.code, fault.type, fault.envelope) == (code, TOLD[code].type, "Fault")
    assert refused.status_code in TOLD[code].statuses
    check_texts(code, fault)
    accepted = books.post("invoice", invoice())
    assert seen(accepted) is None, accepted.text
    assert books.query("select count(*) from Invoice") == {"totalCount": 1}


@pytest.mark.parametrize("code", sorted(TABLE, key=int))
def test_every_code_can_be_asked_for_in_both_forms(books: Books, code: str) -> None:
    for form in ("json", "xml"):
        refused = force(books, code, format=form)
        fault = seen(refused)
        assert fault is not None, refused.text
        assert (fault.code, fault.type, fault.message) == (code, TOLD[code].type, TABLE[code].message)
        assert refused.status_code in TOLD[code].statuses
        assert (fault.envelope == "xml") is (form == "xml")
        assert not re.search(r"\{\w*\}", fault.detail)
    assert books.query("select count(*) from Invoice") == {"totalCount": 0}
    assert seen(books.post("invoice", invoice())) is None


@pytest.mark.parametrize("code", sorted(TABLE, key=int))
def test_every_code_can_be_an_items(books: Books, code: str) -> None:
    spec = {"fault": "item_fault", "code": code, "count": 1, "match": {"realm": books.realm, "body": "spoilt"}}
    books.standin.control("POST", "faults", spec)
    items = [{"bId": note, "operation": "create", "Invoice": invoice(PrivateNote=note)} for note in ("spoilt", "fine")]
    answer = books.post("batch", {"BatchItemRequest": items})
    assert answer.status_code == 200
    replies = {reply["bId"]: reply for reply in json.loads(answer.text)["BatchItemResponse"]}
    assert replies["spoilt"]["Fault"]["Error"][0]["code"] == code
    assert replies["spoilt"]["Fault"]["type"] == TOLD[code].type
    assert "Fault" not in replies["fine"]
