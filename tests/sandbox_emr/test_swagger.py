"""Every answer against the vendor's own Swagger file of 2022 (4d-emr-public-api.json, beside this test).

What 2025 added, and the reference backs, is listed here: `Patient` on list rows, `fromDate`, `quoteNumber`. Nulls are
admitted everywhere: .NET prints them, and Swagger 2.0 has no word for it.
"""

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from sandbox.emr import CREDENTIALS, generate
from sandbox.emr.server import Emr, build

SPEC = json.loads(Path(__file__).with_name("4d-emr-public-api.json").read_text())
ADDED = {"PriceQuoteListVM": {"Patient": {"$ref": "#/definitions/IdNameVM"}}}
LISTED = [(path, verb) for path, verbs in SPEC["paths"].items() for verb in verbs]


def strict(node: Any, name: str = "") -> Any:
    if "$ref" in node:
        return {"anyOf": [{"type": "null"}, node]}
    if node.get("type") == "object":
        properties = {key: strict(value) for key, value in (node["properties"] | ADDED.get(name, {})).items()}
        return {"type": "object", "additionalProperties": False, "properties": properties}
    if node.get("type") == "array":
        return {"type": ["array", "null"], "items": strict(node["items"])}
    return {"type": [node["type"], "null"]}


DEFINITIONS = {name: strict(node, name) for name, node in SPEC["definitions"].items()}


@pytest.fixture
def client() -> httpx.AsyncClient:
    emr, app = build(Emr())
    emr.store.load(generate(60, 1))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://emr", headers=CREDENTIALS)


def check(schema: dict[str, Any], answer: Any) -> None:
    jsonschema.validate(answer, {**strict(schema), "definitions": DEFINITIONS})


QUERIES = {
    "/api/public/anesthesiagroups": {"facilitiLocationId": 1},
    "/api/public/quotes/list": {"fromDate": "2020-01-01T00:00:00"},
    "/api/public/quotes": {"quoteNumber": 12001},
}


@pytest.mark.parametrize(("path", "verb"), [pair for pair in LISTED if pair[1] == "get"])
async def test_every_documented_get_answers_in_its_shape(client: httpx.AsyncClient, path: str, verb: str) -> None:
    response = await client.get(path, params=QUERIES.get(path, {}))
    assert response.status_code == 200
    assert response.json()
    check(SPEC["paths"][path][verb]["responses"]["200"]["schema"], response.json())


async def test_every_generated_quote_keeps_to_the_shape(client: httpx.AsyncClient) -> None:
    for number in range(12001, 12061):
        answer = await client.get("/api/public/quotes", params={"quoteNumber": number})
        check({"$ref": "#/definitions/PriceQuoteVM"}, answer.json())


async def test_documented_save_and_delete_work_by_their_own_parameters(client: httpx.AsyncClient) -> None:
    spec = SPEC["definitions"]["UpdatePriceQuoteVM"]
    model = {"Patient": {"Id": 1, "Name": "A B"}, "Provider": {"Id": 2}, "TotalAmt": 1.5, "Duration": {"Minutes": 5}}
    assert set(spec["required"]) == set(model)
    saved = await client.post("/api/public/quotes", json=model)
    check({"$ref": "#/definitions/PriceQuoteVM"}, saved.json())
    deleted = await client.delete("/api/public/quotes", params={"quoteId": saved.json()["PriceQuoteId"]})
    assert deleted.status_code == 204
