"""The stand-in's own rules: tokens, permissions, quotas, Drive's channels, what a person does, generated rows."""

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import jwt
import pytest
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials
from google_standin import SCOPES, Google
from sandbox.sheets import DIRECTIONS, HEADERS, Expected, generate
from sandbox.sheets.cells import TODAY, shown, typed
from sandbox.sheets.generating import SPECIAL


def test_first_line_names_what_a_client_needs(google: Google) -> None:
    assert set(google.facts) == {"base_url", "control_url", "token_url", "spreadsheet_id", "credentials_file"}
    assert google.account["token_uri"] == google.facts["token_url"]
    assert google.account["type"] == "service_account"


def assertion(google: Google, **claims: object) -> dict[str, str]:
    now = int(time.time())
    standard = {
        "iss": google.account["client_email"],
        "aud": google.facts["token_url"],
        "iat": now,
        "exp": now + 3600,
        "scope": SCOPES[0],
    }
    text = jwt.encode(standard | claims, google.account["private_key"], "RS256")
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": text}


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"iss": "nobody@example.invalid"}, "account not found"),
        ({"aud": "https://elsewhere.invalid"}, "audience"),
        ({"exp": int(time.time()) + 9999}, "short-lived"),
        ({"exp": int(time.time()) - 10, "iat": int(time.time()) - 100}, "short-lived"),
        ({"scope": ""}, "scope"),
    ],
)
def test_wrong_assertion_gets_no_token(google: Google, claims: dict[str, object], words: str) -> None:
    response = httpx.post(google.facts["token_url"], data=assertion(google, **claims))
    assert response.status_code == 400
    assert words in response.json()["error_description"]


def test_right_assertion_gets_a_token_and_a_foreign_key_does_not(google: Google) -> None:
    good = httpx.post(google.facts["token_url"], data=assertion(google)).json()
    assert (good["token_type"], good["expires_in"]) == ("Bearer", 3599)
    other = google.control("POST", "/accounts", {"name": "other"})
    forged = Credentials.from_service_account_info({**other, "client_email": google.account["client_email"]}, scopes=SCOPES)
    with pytest.raises(RefreshError, match="Invalid JWT Signature"):
        forged.refresh(Request())


def status(google: Google, headers: dict[str, str], path: str = "") -> tuple[int, str]:
    response = httpx.get(f"{google.facts['base_url']}/v4/spreadsheets/{path or google.id}", headers=headers)
    return response.status_code, response.json()["error"]["status"] if response.is_error else ""


def test_401_without_or_with_a_dead_token_403_unshared_404_unknown(google: Google) -> None:
    assert status(google, {}) == (401, "UNAUTHENTICATED")
    assert status(google, {"Authorization": "Bearer nonsense"}) == (401, "UNAUTHENTICATED")
    token = httpx.post(google.facts["token_url"], data=assertion(google)).json()["access_token"]
    mine = {"Authorization": f"Bearer {token}"}
    assert status(google, mine) == (200, "")
    assert status(google, mine, "nosuch") == (404, "NOT_FOUND")
    google.control("POST", "/settings", {"role": "none"})
    assert status(google, mine) == (403, "PERMISSION_DENIED")
    google.control("POST", "/settings", {"role": "reader"})
    assert status(google, mine) == (200, "")
    url = f"{google.facts['base_url']}/v4/spreadsheets/{google.id}/values/A2?valueInputOption=RAW"
    assert httpx.put(url, headers=mine, json={"values": [["x"]]}).status_code == 403
    google.control("DELETE", "/tokens")
    assert status(google, mine) == (401, "UNAUTHENTICATED")


def test_read_only_scope_cannot_write_and_a_token_dies_in_time(google: Google) -> None:
    form = assertion(google, scope="https://www.googleapis.com/auth/spreadsheets.readonly")
    google.control("POST", "/settings", {"token_seconds": 120})
    mine = {"Authorization": "Bearer " + httpx.post(google.facts["token_url"], data=form).json()["access_token"]}
    assert status(google, mine) == (200, "")
    url = f"{google.facts['base_url']}/v4/spreadsheets/{google.id}/values/A2?valueInputOption=RAW"
    refused = httpx.put(url, headers=mine, json={"values": [["x"]]})
    assert (refused.status_code, refused.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    google.control("POST", "/clock", {"advance": 121})
    assert status(google, mine) == (401, "UNAUTHENTICATED")
    google.control("POST", "/clock", {"advance": -121})


def test_sixty_first_read_of_a_minute_is_429_and_writes_have_a_quota_of_their_own(google: Google) -> None:
    google.control("POST", "/settings", {"limits": True})
    with google.http() as http:
        path = f"/v4/spreadsheets/{google.id}"
        codes = [http.get(path).status_code for _ in range(61)]
        assert codes == [200] * 60 + [429]
        error = http.get(path).json()["error"]
        assert (error["status"], error["details"][0]["reason"]) == ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED")
        clear = http.post(f"{path}/values/A2:clear")
        assert clear.status_code == 200
        google.control("POST", "/settings", {"limits": False})
        assert http.get(path).status_code == 200


def test_long_query_may_come_as_a_post(google: Google) -> None:
    ranges = [f"inv_tbl!A{n}:ZZ{n}" for n in range(1, 200)]
    answer = google.values.batchGet(spreadsheetId=google.id, ranges=ranges).execute()
    assert len(answer["valueRanges"]) == 199


class Listener:
    """An HTTP server that keeps the headers of what it is sent."""

    def __init__(self) -> None:
        got = self.got = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(dict(self.headers))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/drive"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count: int) -> list[dict[str, str]]:
        deadline = time.monotonic() + 60
        while len(self.got) < count:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self.got


def listening() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.server.shutdown()
    listener.server.server_close()


listener = pytest.fixture(listening, name="listener")
witness = pytest.fixture(listening, name="witness")


def test_channel_is_told_of_changes_until_it_is_stopped(google: Google, listener: Listener, witness: Listener) -> None:
    body = {"id": "c1", "type": "web_hook", "address": listener.address, "token": "secret"}
    made = google.drive.files().watch(fileId=google.id, body=body).execute()
    assert made["kind"] == "api#channel"
    google.control("POST", "/cells", {"cell": "A2", "value": "x"})
    states = {h["X-Goog-Resource-State"]: h["X-Goog-Channel-Token"] for h in listener.wait(2)}
    assert states == {"sync": "secret", "update": "secret"}
    google.drive.channels().stop(body={"id": "c1", "resourceId": made["resourceId"]}).execute()
    other = {"id": "c2", "type": "web_hook", "address": witness.address}
    google.drive.files().watch(fileId=google.id, body=other).execute()
    google.control("POST", "/cells", {"cell": "A2", "value": "y"})
    google.control("POST", "/cells", {"cell": "A2", "value": "z"})
    witness.wait(3)  # an open channel was told of what came later still
    with pytest.raises(Exception, match="not found"):
        google.drive.channels().stop(body={"id": "c1", "resourceId": made["resourceId"]}).execute()
    assert len(listener.got) == 2


def test_person_edits_inserts_sorts_copies_and_deletes(google: Google) -> None:
    made = google.control("POST", "/rows", {"generate": {"count": 3, "seed": 1, "broken": False}})
    tags = [label["tag"] for label in made["labels"]]
    google.control("POST", "/cells", {"where": {"eteam_id": tags[1]}, "set": {"inv_dollars": "$9.50", "notes": "changed"}})
    google.control("POST", "/insert", {"row": 2})
    google.control("POST", "/copy", {"where": {"eteam_id": tags[0]}})
    google.control("POST", "/sort", {"column": "eteam_id", "descending": True})
    google.control("POST", "/delete", {"where": {"eteam_id": tags[2]}})
    rows = google.control("GET", "/books")["rows"]
    assert [row["eteam_id"] for row in rows] == [tags[1], tags[0], tags[0]]
    assert (rows[0]["inv_dollars"], rows[0]["notes"]) == (9.5, "changed")
    assert google.control("GET", "/grid")["inv_tbl"]["shown"][1][HEADERS.index("inv_dollars")] == "$9.50"


def test_headers_stand_in_the_first_row(google: Google) -> None:
    assert google.control("GET", "/books")["headers"] == list(HEADERS)
    assert len(HEADERS) == 36


def test_fault_after_the_work_leaves_it_done(google: Google) -> None:
    google.control("POST", "/faults", {"path": ":batchUpdate", "after": True, "status": 503, "body": {"error": {"code": 503}}})
    body = {"valueInputOption": "RAW", "data": [{"range": "inv_tbl!A2", "values": [["done"]]}]}
    with google.http() as http:
        assert http.post(f"/v4/spreadsheets/{google.id}/values:batchUpdate", json=body).status_code == 503
    assert google.control("GET", "/books")["rows"][0]["invoice"] == "done"


def test_generated_rows_survive_the_wire(google: Google) -> None:
    made = {row.tag: row for row in generate(60, 7)}
    google.control("POST", "/rows", {"generate": {"count": 60, "seed": 7}})
    answer = google.values.get(spreadsheetId=google.id, range="inv_tbl", valueRenderOption="UNFORMATTED_VALUE")
    text = json.loads(json.dumps(answer.execute()), parse_float=Decimal)["values"]
    place = {header: column for column, header in enumerate(text[0])}
    for line in text[1:]:
        row = made.pop(line[place["eteam_id"]])
        if row.expected is Expected.POSTED:
            seen = line[place["inv_dollars"]]
            amount = Decimal(seen.strip().replace("$", "").replace(",", "")) if isinstance(seen, str) else Decimal(seen)
            assert amount == row.amount > 0
    assert not made


def test_same_seed_same_rows_with_every_breakage_in_both_directions() -> None:
    today = date(2026, 11, 20)
    rows = generate(200, 3, today=today)
    assert rows == generate(200, 3, today=today)
    assert {row.kind for row in rows} == {name for name, *_ in SPECIAL} | {"plain"}
    assert {row.document for row in rows if row.expected is Expected.POSTED} == {"invoice", "bill"}
    assert all(row.reason for row in rows if row.expected is not Expected.POSTED)
    assert {type(row.values["submitted_date"]).__name__ for row in rows} == {"str", "SerialDate"}
    assert any(len(row.values["inv_link"]) > 21 for row in rows if row.kind == "link_as_key")
    assert {row.kind for row in generate(60, 1)} == {row.kind for row in rows}
    assert not set(DIRECTIONS["money_in"]) & set(DIRECTIONS["money_out"])


@pytest.mark.parametrize(
    ("text", "value", "seen"),
    [
        ("12", 12, "12"), ("1,234", 1234, "1,234"), ("-$5.25", Decimal("-5.25"), "-$5.25"), ("(3)", -3, "-3"),
        (".5", Decimal("0.5"), "0.5"),
        ("1e3", 1000, "1000"), ("50%", Decimal("0.5"), "50%"), ("2026-11-20", 46346, "2026-11-20"), ("1/2/26", 46024, "1/2/2026"),
        ("2026-02-30", "2026-02-30", "2026-02-30"), ("true", True, "TRUE"), ("'12", "12", "12"),
        ("=2*3", 6, "6"), ("=1/0", "#DIV/0!", "#DIV/0!"),
        ("=SUM(A1:A2)", "=SUM(A1:A2)", "=SUM(A1:A2)"), ("-", "-", "-"), ("$", "$", "$"), ("12 apples", "12 apples", "12 apples"),
        ("$-5", -5, "-$5"), ("$ 1,234.50", Decimal("1234.5"), "$1,234.50"), ("($5.00)", -5, "-$5.00"), ("-$-5", "-$-5", "-$-5"),
        ("1/5", 46027, "1/5"), ("7-11", 46214, "7-11"), ("1/5/24", 45296, "1/5/2024"), ("3-1-2026", 46082, "3/1/2026"),
        ("13/4", "13/4", "13/4"), ("13/04/2026", "13/04/2026", "13/04/2026"), ("1/5/6/7", "1/5/6/7", "1/5/6/7"),
        ("Jan 5, 2024", 45296, "Jan 5, 2024"), ("january 5 2024", 45296, "Jan 5, 2024"), ("5 Jan 2024", 45296, "5-Jan-2024"),
        ("Mar 2026", 46082, "Mar 2026"), ("Mar 5", 46086, "Mar 5"), ("Feb 30, 2024", "Feb 30, 2024", "Feb 30, 2024"),
        ("Marble 5", "Marble 5", "Marble 5"), ("May", "May", "May"),
        ("10:30", Decimal("0.4375"), "10:30"), ("10:30:15 pm", Decimal("0.9376736111"), "10:30:15 PM"),
        ("12:00 am", 0, "12:00 AM"),
        ("10:75", "10:75", "10:75"), ("1/5/2024 18:00", Decimal("45296.75"), "1/5/2024 18:00:00"),
    ],
)  # fmt: skip
def test_what_a_person_types_becomes_a_value(text: str, value: object, seen: str) -> None:
    TODAY.set(date(2026, 11, 20))
    cell = typed(text)
    assert cell is not None
    assert (cell.value, shown(cell)) == (value, seen)


def test_a_date_without_a_year_is_of_the_standins_year(google: Google) -> None:
    now = datetime.fromisoformat(google.control("POST", "/clock", {})["now"])
    options = {
        "valueInputOption": "USER_ENTERED",
        "includeValuesInResponse": True,
        "responseValueRenderOption": "UNFORMATTED_VALUE",
    }
    done = google.values.update(spreadsheetId=google.id, range="inv_tbl!A2", body={"values": [["1/5"]]}, **options).execute()
    assert done["updatedData"]["values"] == [[(date(now.year, 1, 5) - date(1899, 12, 30)).days]]


def test_a_fault_with_decimals_answers_with_them(google: Google) -> None:
    body = {"error": {"code": 429, "retry": 0.25, "amounts": [1.10, 2.345]}}
    google.control("POST", "/faults", {"status": 429, "body": body, "delay": 0.001, "path": "/v4/"})
    with google.http() as http:
        answer = http.get(f"/v4/spreadsheets/{google.id}")
    assert (answer.status_code, answer.json()) == (429, body)


def test_taken_port_is_one_line_and_exit_status_1(google: Google) -> None:
    port = google.facts["base_url"].rpartition(":")[2]
    command = [sys.executable, "-m", "sandbox.main", "sheets", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert port in done.stderr


def test_state_file_outlives_a_restart(tmp_path: Path) -> None:
    options = ("--state-file", str(tmp_path / "sheets.state"), "--spreadsheet-id", "kept")
    first = Google(*options)
    first.control("POST", "/rows", {"rows": [{"invoice": "INV-1"}]})
    first.close()
    second = Google(*options)
    assert second.control("GET", "/books")["rows"] == [{"row": 2, "invoice": "INV-1"}]
    assert second.values.get(spreadsheetId="kept", range="inv_tbl!A2").execute()["values"] == [["INV-1"]]
    second.close()
