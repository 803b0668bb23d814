"""The Drive half of the Sheets stand-in through google-api-python-client: every answer keeps to the discovery document that comes
with that client. The Sheets half, and gspread, are in tests/sandbox_sheets."""

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import jsonschema
import pytest
from conformance_parts import StandIn
from google.oauth2.service_account import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

DOCUMENT = json.loads((resources.files("googleapiclient.discovery_cache") / "documents" / "drive.v3.json").read_text())


def _strict(node: dict[str, Any]) -> dict[str, Any]:
    """A discovery schema as JSON Schema that admits no unknown property; int64 is text there."""
    if "$ref" in node:
        return {"$ref": f"#/definitions/{node['$ref']}"}
    if node.get("type") == "object" and "properties" in node:
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": {k: _strict(v) for k, v in node["properties"].items()},
        }
    if node.get("type") == "array":
        return {"type": "array", "items": _strict(node["items"])}
    if node.get("type") == "any":
        return {}
    return {"type": "string" if node.get("format") == "int64" else node.get("type", "object")}


DEFINITIONS = {name: _strict(node) for name, node in DOCUMENT["schemas"].items()}


def check(name: str, answer: Any) -> None:
    """Validate an answer as the resource that the document calls by this name."""
    jsonschema.validate(answer, {"$ref": f"#/definitions/{name}", "definitions": DEFINITIONS})


@pytest.fixture(scope="module")
def google() -> Iterator[StandIn]:
    standin = StandIn("sandbox.main", "sheets", "--rows", "0", "--no-limits")
    yield standin
    standin.close()


@pytest.fixture
def drive(google: StandIn) -> Iterator[Any]:
    scopes = ["https://www.googleapis.com/auth/drive"]
    credentials = Credentials.from_service_account_file(google.facts["credentials_file"], scopes=scopes)
    options = {"api_endpoint": f"{google.facts['base_url']}/drive/v3/"}
    service = build("drive", "v3", credentials=credentials, static_discovery=True, client_options=options)
    yield service
    service.close()


def test_file_and_channel_keep_to_the_document(google: StandIn, drive: Any) -> None:
    name = google.facts["spreadsheet_id"]
    whole = drive.files().get(fileId=name).execute()
    check("File", whole)
    assert whole["id"] == name
    masked = drive.files().get(fileId=name, fields="version,modifiedTime").execute()
    check("File", masked)
    assert set(masked) == {"version", "modifiedTime"}
    body = {"id": "conformance", "type": "web_hook", "address": "https://127.0.0.1:9/", "token": "secret", "expiration": "9" * 13}
    channel = drive.files().watch(fileId=name, body=body).execute()
    check("Channel", channel)
    assert (channel["id"], channel["token"]) == ("conformance", "secret")
    assert drive.channels().stop(body={"id": channel["id"], "resourceId": channel["resourceId"]}).execute() == ""


def test_refusals_have_googles_envelope(google: StandIn, drive: Any) -> None:
    with pytest.raises(HttpError) as missing:
        drive.files().get(fileId="no-such-file").execute()
    assert missing.value.resp.status == 404
    assert json.loads(missing.value.content)["error"]["code"] == 404
    body = {"id": "plain", "type": "web_hook", "address": "http://example.com/"}
    with pytest.raises(HttpError) as plain:
        drive.files().watch(fileId=google.facts["spreadsheet_id"], body=body).execute()
    assert plain.value.resp.status == 400


def test_the_check_itself_refuses_what_is_not_described() -> None:
    for wrong in ({"surprise": 1}, {"version": 1}, {"trashed": "no"}):
        with pytest.raises(jsonschema.ValidationError):
            check("File", {"id": "x"} | wrong)
