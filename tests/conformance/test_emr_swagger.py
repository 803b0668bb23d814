"""The EMR stand-in, as a process, driven by the vendor's own Swagger file: every operation with the parameters and the body that
the file describes, every answer in its shape. What 2025 added and answers of all kinds of quotes are in tests/sandbox_emr."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from conformance_parts import StandIn

SPEC: dict[str, Any] = json.loads((Path(__file__).parents[1] / "sandbox_emr" / "4d-emr-public-api.json").read_text())
OPERATIONS = [(path, verb) for path, verbs in SPEC["paths"].items() for verb in verbs]
UNSENT = {"client-id", "client-secret"}  # headers: the client has them
ADDED = {"PriceQuoteListVM": {"Patient"}}  # on list rows since 2025, see the reference
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _net_time(value: object) -> bool:
    """.NET prints up to seven digits of a second."""
    return not isinstance(value, str) or bool(datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value)))


@FORMATS.checks("int32")
def _int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


def shape(node: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Swagger 2.0 as JSON Schema: no property that is not described; null wherever .NET may print one."""
    if "$ref" in node:
        return {"anyOf": [{"type": "null"}, {"$ref": node["$ref"]}]}
    if node["type"] == "object":
        properties = {key: shape(value) for key, value in node["properties"].items()} | {key: {} for key in ADDED.get(name, ())}
        return {**node, "additionalProperties": False, "properties": properties}
    if node["type"] == "array":
        return {"type": ["array", "null"], "items": shape(node["items"])}
    return {**node, "type": [node["type"], "null"]}


DEFINITIONS = {name: shape(node, name) for name, node in SPEC["definitions"].items()}


def check(schema: dict[str, Any], answer: Any) -> None:
    """Validate; a schema of the top is never null."""
    validator = jsonschema.Draft4Validator({**shape(schema), "definitions": DEFINITIONS}, format_checker=FORMATS)
    assert answer is not None
    validator.validate(answer)


def filled(node: dict[str, Any], name: str = "") -> Any:
    """A value for a schema, with every property that it describes."""
    if "$ref" in node:
        return filled(SPEC["definitions"][node["$ref"].rpartition("/")[2]])
    if node["type"] == "object":
        return {key: filled(value, key) for key, value in node["properties"].items() if key != "PriceQuoteId"}
    if node["type"] == "array":
        return [filled(node["items"]), filled(node["items"])]
    return {"integer": 7, "number": 12.5, "boolean": True, "string": f"text of {name}"}[node["type"]]


MODEL: dict[str, Any] = filled({"$ref": "#/definitions/UpdatePriceQuoteVM"})
REQUIRED: list[str] = SPEC["definitions"]["UpdatePriceQuoteVM"]["required"]


@pytest.fixture
def practice(emr: StandIn) -> httpx.Client:
    """A client with the credentials that the file asks for."""
    headers = {name: emr.facts["headers"][name] for name in UNSENT}
    emr.control("POST", "/settings", {"subscription": False})  # the gateway's third header is not in the file
    return httpx.Client(base_url=emr.facts["base_url"].removesuffix("/api/public"), headers=headers, trust_env=False)


def _schema(path: str, verb: str) -> dict[str, Any]:
    schema: dict[str, Any] = SPEC["paths"][path][verb]["responses"]["200"]["schema"]
    return schema


@pytest.mark.parametrize(("path", "verb"), OPERATIONS)
def test_operation_answers_as_described(practice: httpx.Client, path: str, verb: str) -> None:
    known = practice.post("/api/public/quotes", json=MODEL).json()
    values = {"patientId": known["Patient"]["Id"], "quoteId": known["PriceQuoteId"], "facilitiLocationId": 1}
    operation = SPEC["paths"][path][verb]
    query = {p["name"]: values[p["name"]] for p in operation["parameters"] if p["in"] == "query" and p["name"] in values}
    body = {"json": MODEL} if any(p["in"] == "body" for p in operation["parameters"]) else {}
    response = practice.request(verb.upper(), path, params=query, **body)
    (status,) = operation["responses"]
    assert response.status_code == int(status)
    if status == "204":
        assert response.content == b""
    else:
        assert response.headers["content-type"].partition(";")[0] in operation["produces"]
        assert response.json()
        check(operation["responses"][status]["schema"], response.json())


@pytest.mark.parametrize(
    ("path", "verb", "name"),
    [
        (path, verb, p["name"])
        for path, verb in OPERATIONS
        for p in SPEC["paths"][path][verb]["parameters"]
        if p["required"] and p["in"] != "body"
    ],
)
def test_operation_refuses_without_a_required_parameter(practice: httpx.Client, path: str, verb: str, name: str) -> None:
    where = {p["name"]: p["in"] for p in SPEC["paths"][path][verb]["parameters"]}
    query = {n: 1 for n, place in where.items() if place == "query" and n not in (name, "externalId")}
    if where[name] == "header":
        del practice.headers[name]
    response = practice.request(verb.upper(), path, params=query)
    assert response.status_code == (401 if where[name] == "header" else 400)


@pytest.mark.parametrize("name", REQUIRED)
def test_save_refuses_without_a_required_property(practice: httpx.Client, name: str) -> None:
    response = practice.post("/api/public/quotes", json={k: v for k, v in MODEL.items() if k != name})
    assert response.status_code == 400


def test_save_keeps_all_that_the_file_describes_and_updates_by_either_id(practice: httpx.Client) -> None:
    schema = _schema("/api/public/quotes", "post")
    made = practice.post("/api/public/quotes", json=MODEL).json()
    check(schema, made)
    assert {name: made[name] for name in MODEL} == MODEL
    by_external = practice.post("/api/public/quotes", json=MODEL | {"TotalAmt": 99.5}).json()
    check(schema, by_external)
    by_id = practice.post("/api/public/quotes", json=MODEL | {"PriceQuoteId": made["PriceQuoteId"], "Note": "by id"}).json()
    check(schema, by_id)
    assert {made["PriceQuoteId"]} == {by_external["PriceQuoteId"], by_id["PriceQuoteId"]}
    assert made["Version"] < by_external["Version"] < by_id["Version"]
    assert by_external["TotalAmt"] == 99.5
    assert by_id["Note"] == "by id"
    for query in ({"quoteId": made["PriceQuoteId"]}, {"externalId": MODEL["ExternalId"]}):
        read = practice.get("/api/public/quotes", params=query).json()
        check(_schema("/api/public/quotes", "get"), read)
        assert read == by_id


def test_delete_by_external_id_is_final(practice: httpx.Client) -> None:
    made = practice.post("/api/public/quotes", json=MODEL).json()
    query = {"externalId": MODEL["ExternalId"]}
    assert practice.delete("/api/public/quotes", params=query).status_code == 204
    assert practice.get("/api/public/quotes", params=query).status_code == 404
    assert practice.delete("/api/public/quotes", params=query).status_code == 404
    listed = practice.get("/api/public/quotes/list", params={"patientId": made["Patient"]["Id"]})
    assert listed.json() == []


def test_the_check_itself_refuses_what_is_not_described(practice: httpx.Client) -> None:
    made = practice.post("/api/public/quotes", json=MODEL).json()
    for wrong in (
        {"Surprise": 1},
        {"TotalAmt": "12"},
        {"Version": 2**31},
        {"ModifiedDate": "yesterday"},
        {"Duration": {"Hours": 1}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            check({"$ref": "#/definitions/PriceQuoteVM"}, made | wrong)
