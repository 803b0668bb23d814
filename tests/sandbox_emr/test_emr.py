"""The 4D EMR stand-in as its clients see it, against the vendor's own Swagger file's shapes (those that the reference gives)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sandbox.emr import Expected, generate
from sandbox.emr.generating import CANARY, SPECIAL, amount_of

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Emr:
    """The stand-in in a process of its own, and a client with its credentials."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "sandbox.main", "emr", "--quotes", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.facts = json.loads(self.process.stdout.readline())
        self.http = httpx.Client(base_url=self.facts["base_url"], headers=self.facts["headers"], timeout=60)
        self.control_http = httpx.Client(base_url=self.facts["control_url"], timeout=60)

    def control(self, method: str, path: str, order: Any = None) -> Any:
        response = self.control_http.request(method, path, json=order)
        assert response.status_code == 200, response.text
        return response.json()

    def numbers(self, **query: str) -> list[tuple[int, int]]:
        response = self.http.get("/quotes/list", params=query)
        assert response.status_code == 200, response.text
        return [(row["PriceQuoteNo"], row["Version"]) for row in response.json()]

    def close(self) -> None:
        self.http.close()
        self.control_http.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Emr]:
    server = Emr()
    yield server
    server.close()


@pytest.fixture
def emr(server: Emr) -> Emr:
    server.control("POST", "/reset")
    return server


def quote(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "PriceQuoteNo": number,
        "Version": 1,
        "ModifiedDate": "2026-11-20T10:00:00Z",
        "PriceQuoteStatus": {"Id": 4, "Name": "Completed"},
        "Patient": {"Id": 3012, "Name": "Zzcanary Q Sample"},
        "Procedures": None,
        **fields,
    }


def test_first_line_names_what_a_client_needs(server: Emr) -> None:
    assert server.facts["base_url"].endswith("/api/public")
    assert set(server.facts["headers"]) == {"client-id", "client-secret", "subscription-key"}


def test_list_since_includes_the_very_instant_and_no_earlier_one(emr: Emr) -> None:
    emr.control("POST", "/quotes", {"quotes": [
        quote(1, ModifiedDate="2026-11-20T09:59:59.9999999Z"), quote(2, ModifiedDate="2026-11-20T10:00:00Z"),
        quote(3, ModifiedDate="2026-11-20T10:00:00.0000001Z"),
    ]})  # fmt: skip
    assert emr.numbers(fromDate="2026-11-20T10:00:00") == [(2, 1), (3, 1)]


def test_list_needs_a_date_or_a_patient_that_can_be_read(emr: Emr) -> None:
    assert emr.http.get("/quotes/list").status_code == 400
    assert emr.http.get("/quotes/list", params={"fromDate": "yesterday"}).status_code == 400
    emr.control("POST", "/quotes", {"quotes": [quote(1), quote(2, Patient={"Id": 9, "Name": "A B"})]})
    assert emr.numbers(patientId="9") == [(2, 1)]


def test_list_rows_have_the_documented_columns_and_the_patient(emr: Emr) -> None:
    emr.control("POST", "/quotes", {"quotes": [quote(1)]})
    row = emr.http.get("/quotes/list", params={"fromDate": "2020-01-01T00:00:00"}).json()[0]
    swagger = (
        "PriceQuoteId",
        "PriceQuoteNo",
        "Version",
        "ExternalId",
        "ProcedureDescription",
        "ModifiedDate",
        "PriceQuoteStatus",
    )
    assert tuple(row) == (*swagger, "Patient")
    assert row["ExternalId"] is None


def test_detail_by_number_id_and_external_id_is_the_same_and_keeps_nulls(emr: Emr) -> None:
    emr.control("POST", "/quotes", {"quotes": [quote(7, PriceQuoteId=700, ExternalId="x-7")]})
    answers = [emr.http.get("/quotes", params=p).json() for p in ({"quoteNumber": 7}, {"quoteId": 700}, {"externalId": "x-7"})]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["Procedures"] is None
    assert emr.http.get("/quotes", params={"quoteNumber": 8}).status_code == 404
    assert emr.http.get("/quotes", params={"quoteNumber": "x"}).status_code == 400
    assert emr.http.get("/quotes").status_code == 400


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"client-secret": None}, "Missing credentials"),
        ({"client-id": ""}, "Invalid credentials"),
        ({"client-secret": "wrong"}, "Invalid client-id or client-secret"),
    ],
)
def test_wrong_credentials_are_401_with_the_documented_text(emr: Emr, change: dict[str, str | None], text: str) -> None:
    headers = {k: v for k, v in {**emr.facts["headers"], **change}.items() if v is not None}
    response = httpx.get(f"{emr.facts['base_url']}/durations", headers=headers)
    assert (response.status_code, response.text) == (401, text)


def test_gateway_refuses_a_missing_subscription_key_and_a_used_up_quota(emr: Emr) -> None:
    headers = {k: v for k, v in emr.facts["headers"].items() if k != "subscription-key"}
    response = httpx.get(f"{emr.facts['base_url']}/durations", headers=headers)
    assert response.status_code == 401
    assert response.json()["message"].startswith("Access denied due to missing subscription key")
    emr.control("POST", "/settings", {"quota_used_up": True})
    assert emr.http.get("/durations").status_code == 403
    emr.control("POST", "/settings", {"quota_used_up": False, "programme_active": False})
    assert emr.http.get("/durations").text == "Invalid client-id"


def test_regenerated_secret_makes_the_old_one_stop(emr: Emr) -> None:
    emr.control("POST", "/settings", {"credentials": {"client-secret": "new"}})
    assert emr.http.get("/durations").status_code == 401
    assert emr.http.get("/durations", headers={"client-secret": "new"}).status_code == 200


def test_over_the_rate_limit_is_429_with_retry_after(emr: Emr) -> None:
    emr.control("POST", "/settings", {"rate_limit": 2})
    assert [emr.http.get("/durations").status_code for _ in range(2)] == [200, 200]
    response = emr.http.get("/durations")
    assert response.status_code == 429
    assert 0 < int(response.headers["retry-after"]) <= 61


def test_edit_makes_a_new_version_modified_now(emr: Emr) -> None:
    emr.control("POST", "/quotes", {"quotes": [quote(1, Version=3)]})
    emr.control("POST", "/clock", {"set": "2026-11-21T00:00:00+00:00", "freeze": True})
    emr.control("PATCH", "/quotes/1", {"set": {"AnesthAmt": 12.3}})
    emr.control("POST", "/quotes/1/status", {"id": 0})
    now = emr.http.get("/quotes", params={"quoteNumber": 1}).json()
    assert (now["Version"], now["AnesthAmt"], now["PriceQuoteStatus"]["Id"]) == (5, 12.3, 0)
    assert emr.numbers(fromDate="2026-11-21T00:00:00") == [(1, 5)]
    emr.control("POST", "/settings", {"every_version": True})
    assert emr.numbers(fromDate="2020-01-01T00:00:00") == [(1, 3), (1, 4), (1, 5)]
    emr.control("POST", "/clock", {"set": datetime.now(UTC).isoformat(), "freeze": False})


def test_list_can_come_wrapped_and_paged(emr: Emr) -> None:
    emr.control("POST", "/quotes", {"quotes": [quote(n) for n in range(1, 6)]})
    emr.control("POST", "/settings", {"wrapped": True})
    query = {"fromDate": "2020-01-01T00:00:00", "page.skip": "2", "page.count": "2"}
    page = emr.http.get("/quotes/list", params=query).json()
    assert ([row["PriceQuoteNo"] for row in page["Items"]], page["TotalCount"]) == ([3, 4], 5)


def test_save_creates_then_updates_by_external_id_and_delete_forgets(emr: Emr) -> None:
    model = {"ExternalId": "e1", "Patient": {"Id": 1, "Name": "A B"}, "Provider": {"Id": 2, "Name": "C"}, "TotalAmt": 10.1,
             "Duration": {"Minutes": 30, "DisplayText": ""}}  # fmt: skip
    first = emr.http.post("/quotes", json=model).json()
    second = emr.http.post("/quotes", json=model | {"TotalAmt": 11}).json()
    assert (second["PriceQuoteNo"], second["Version"], second["TotalAmt"]) == (first["PriceQuoteNo"], 2, 11)
    refused = emr.http.post("/quotes", json={"Patient": None})
    assert refused.status_code == 400
    assert "model.TotalAmt" in refused.json()["ModelState"]
    assert emr.http.delete("/quotes", params={"externalId": "e1"}).status_code == 204
    assert emr.http.delete("/quotes", params={"externalId": "e1"}).status_code == 404


def test_other_endpoints_answer_in_their_shapes(emr: Emr) -> None:
    emr.control("POST", "/quotes", {"quotes": [quote(1, TotalAmt=99.5, PriceQuoteDate="2026-11-02T01:00:00Z")]})
    emr.control("POST", "/appointments", [{"PatientId": 3012, "Start": "2026-12-01T09:00:00", "Subject": "Consult"}])
    assert set(emr.http.get("/durations").json()[0]) == {"Minutes", "DisplayText"}
    assert set(emr.http.get("/anesthesiatypes").json()[0]) == {"Code", "Description"}
    assert set(emr.http.get("/discountreasons").json()[0]) == {"Id", "Name"}
    assert emr.http.get("/anesthesiagroups").status_code == 400
    assert emr.http.get("/anesthesiagroups", params={"facilitiLocationId": 1}).json()[0]["Id"] == 5
    assert emr.http.get("/patients/3012").json()["LastName"] == "Q Sample"
    assert emr.http.get("/patients/1").status_code == 404
    page = emr.http.get("/patients", params={"lastname": "sam", "page.NeedTotalCount": "true"}).json()
    assert (len(page["Items"]), page["TotalCount"]) == (1, 1)
    assert emr.http.get("/appointments", params={"patientId": 3012}).json()["Items"][0]["Subject"] == "Consult"
    charges = emr.http.get("/reports/charges", params={"beginDate": "2026-11-01", "endDate": "2026-11-30"}).json()
    assert charges[0]["Amount"] == 99.5
    assert emr.http.post("/leads", json={}).json() == {"Id": 1}


def test_faults_hit_what_they_name_as_often_as_told(emr: Emr) -> None:
    emr.control("POST", "/quotes", {"quotes": [quote(1), quote(2)]})
    emr.control("POST", "/faults", [
        {"query": {"quoteNumber": "1"}, "status": 503, "body": {"Message": "down"}, "times": 2},
        {"path": "/quotes/list$", "malformed": True}, {"path": "/durations", "drop": True}, {"path": "/discount", "delay": 2},
    ])  # fmt: skip
    assert [emr.http.get("/quotes", params={"quoteNumber": n}).status_code for n in (1, 2, 1, 1)] == [503, 200, 503, 200]
    with pytest.raises(json.JSONDecodeError):
        emr.http.get("/quotes/list", params={"fromDate": "2020-01-01T00:00:00"}).json()
    with pytest.raises(httpx.RemoteProtocolError):
        emr.http.get("/durations")
    with pytest.raises(httpx.ReadTimeout):
        emr.http.get("/discountreasons", timeout=0.1)
    assert emr.http.get("/discountreasons").status_code == 200
    deadline = time.monotonic() + 60
    log = emr.control("GET", "/requests")
    while sum(entry["fault"] for entry in log) < 5:  # the abandoned request is logged when it ends
        assert time.monotonic() < deadline
        log = emr.control("GET", "/requests")
    assert emr.facts["headers"]["client-secret"] not in json.dumps(log)


def test_generated_quotes_survive_the_wire_exactly(emr: Emr) -> None:
    labels = emr.control("POST", "/quotes", {"generate": {"count": 60, "seed": 5}})["labels"]
    assert {label["expected"] for label in labels} == {"posted", "absent", "rejected"}
    for label in labels:
        text = emr.http.get("/quotes", params={"quoteNumber": label["number"]}).text
        read = json.loads(text, parse_float=Decimal)
        if label["expected"] == "posted":
            assert amount_of(read) == Decimal(label["amount"]) > 0
    assert emr.control("GET", "/books")["labels"]["12001"]["kind"]


def test_same_seed_same_quotes_in_every_state_with_every_breakage() -> None:
    quotes = generate(200, 3, now=NOW)
    assert quotes == generate(200, 3, now=NOW)
    assert quotes != generate(200, 4, now=NOW)
    assert {q.kind for q in quotes} >= {name for name, *_ in SPECIAL} | {"completed", "active", "inactive"}
    assert {(q.quote["PriceQuoteStatus"] or {}).get("Id") for q in quotes} == {0, 1, 2, 4, 7, None}
    assert all(q.quote["Patient"]["Name"].startswith(CANARY) for q in quotes if q.quote["Patient"])
    assert {len(re.sub(r"^[^.]*\.?|Z$", "", q.quote["ModifiedDate"])) for q in quotes} == set(range(8))
    assert all(q.reason for q in quotes if q.expected is Expected.REJECTED)


def test_sixty_quotes_hold_at_least_one_of_most_kinds() -> None:
    assert len({q.kind for q in generate(60, 1, now=NOW)}) >= 12


def test_taken_port_is_one_line_that_names_it_and_exit_status_1(server: Emr) -> None:
    port = server.facts["base_url"].split(":")[2].split("/")[0]
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.main", "emr", "--port", port], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert port in done.stderr
    assert "--port" in done.stderr
    if sys.platform == "linux":
        assert f"process {server.process.pid}" in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_status_0(signum: int) -> None:
    command = [sys.executable, "-m", "sandbox.main", "emr", "--seed", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout
    json.loads(process.stdout.readline())
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_state_file_outlives_a_restart_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "emr.state"
    first = Emr("--state-file", str(state))
    first.control("POST", "/quotes", {"quotes": [quote(1, Version=7)]})
    first.close()
    second = Emr("--state-file", str(state))
    assert second.numbers(fromDate="2020-01-01T00:00:00") == [(1, 7)]
    second.close()
    state.write_bytes(b"nonsense")
    command = [sys.executable, "-m", "sandbox.main", "emr", "--state-file", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert str(state) in done.stderr


def test_a_fault_with_decimals_answers_with_them(emr: Emr) -> None:
    body = [{"PriceQuoteNo": 1, "TotalAmt": 75.25, "nested": {"tax": 0.1}}]
    emr.control("POST", "/faults", {"status": 200, "body": body, "delay": 0.001, "path": "/quotes/list"})
    assert emr.http.get("/quotes/list").json() == body
