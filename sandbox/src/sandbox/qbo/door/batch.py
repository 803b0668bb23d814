"""`POST /batch`: independent items, answers shuffled, faults inside items, HTTP 200."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from sandbox.qbo.books.reports.catalogue import report
from sandbox.qbo.company.schema import KINDS, Entity
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.documents import query, writes
from sandbox.qbo.documents.cdc import change_data
from sandbox.qbo.rules.changes import Options
from sandbox.qbo.rules.faults import Fault, item_fault

BATCH_MAX = 30
ITEM_KEYS = frozenset({"bId", "operation", "optionsData", "Query", "CDCQuery", "ReportQuery"})
_KINDS_FOLDED = {kind.lower(): entity for kind, entity in KINDS.items()}


def items_of(body: Any) -> list[Any]:
    """The items of a batch body; raises Fault 2010, 2020 or 1040."""
    if type(body) is not dict:
        raise Fault("2010", detail="Property Name:failed to parse json object; the request body is no object")
    unknown = next((key for key in body if key != "BatchItemRequest"), None)
    if unknown:
        raise Fault("2010", element=unknown)
    items = body.get("BatchItemRequest")
    if type(items) is not list or not items:
        raise Fault("2020", element="BatchItemRequest")
    if len(items) > BATCH_MAX:
        raise Fault("1040", value=len(items))
    return items


def check_ids(items: list[Any], with_requestid: bool) -> None:
    """bIds are there, differ, and have at most 10 characters where the batch has a requestid."""
    seen = set()
    for item in items:
        if type(item) is not dict:
            raise Fault("2010", detail="Property Name:failed to parse json object; a batch item is no object")
        b_id = item.get("bId")
        if b_id is None or b_id == "":
            raise Fault("2020", element="bId")
        b_id = str(b_id)
        if with_requestid and len(b_id) > 10:
            raise Fault("2130", element="bId", value=len(b_id), limit=10)
        if b_id in seen:
            raise Fault("2600", element="Equal bIds", detail=f"bId {b_id} is used twice.")
        seen.add(b_id)


def reads_and_writes(items: list[Any]) -> tuple[int, int]:
    """How many items are metered reads, how many are writes."""
    reads = sum(1 for item in items if type(item) is dict and ("Query" in item or "CDCQuery" in item or "ReportQuery" in item))
    return reads, len(items) - reads


def run_item(company: Company, item: Any, *, sort_by_id: bool, dress: Callable[[str, Doc], Doc]) -> dict[str, Any]:
    """Answer of one item, with its bId."""
    b_id = str(item["bId"])
    try:
        return {**_run(company, item, sort_by_id, dress), "bId": b_id}
    except Fault as fault:
        return {"Fault": item_fault(fault), "bId": b_id}


def _run(company: Company, item: dict[str, Any], sort_by_id: bool, dress: Callable[[str, Doc], Doc]) -> dict[str, Any]:
    if "Query" in item:
        if type(item["Query"]) is not str:
            raise Fault("2120", element="Query", value=item["Query"])
        return {"QueryResponse": query.run(company, item["Query"], sort_by_id=sort_by_id, dress=dress)}
    if "CDCQuery" in item:
        asked = item["CDCQuery"]
        if type(asked) is not dict:
            raise Fault("2120", element="CDCQuery", value=asked)
        return {
            "CDCResponse": change_data(
                company,
                str(asked.get("Entities", asked.get("entities", ""))),
                str(asked.get("ChangedSince", asked.get("changedSince", ""))),
                dress,
            )
        }
    if "ReportQuery" in item:
        return {"Report": _report(company, item["ReportQuery"])}
    names = [key for key in item if key not in ITEM_KEYS]
    if len(names) != 1:
        raise (
            Fault("2020", element="BatchItemRequest entity")
            if not names
            else Fault("2600", element=" and ".join(map(str, names)))
        )
    entity = _KINDS_FOLDED.get(names[0].lower())
    if entity is None:
        raise Fault("2010", element=names[0])
    doc = write(company, entity, str(item.get("operation") or "create"), item[names[0]], options_of(item.get("optionsData")))
    return {entity.kind: dress(entity.kind, doc) if "MetaData" in doc else doc}


def _report(company: Company, asked: Any) -> dict[str, Any]:
    """A report by its address: `/reports/ProfitAndLoss?start_date=...`, or only the name with its parameters."""
    if type(asked) is not str:
        raise Fault("2120", element="ReportQuery", value=asked)
    path, _, query_text = asked.partition("?")
    return report(company, path.strip("/").removeprefix("reports/"), dict(parse_qsl(query_text)))


def options_of(data: Any) -> Options:
    """`optionsData` of an item, or the `include` of a URL: words separated by commas."""
    return Options(include=frozenset(part.strip().lower() for part in str(data or "").split(",") if part.strip()))


def write(company: Company, entity: Entity, operation: str, body: Any, options: Options) -> Doc:
    """One write by its operation word, as single requests and batch items both spell it."""
    operation = operation.lower()
    if operation == "delete":
        return writes.delete(company, entity, body, options)
    if operation == "void":
        if entity.void == "include":  # a sparse update with include=void
            raise Fault("500", detail=f"Operation void is not supported for {entity.kind}.")
        return writes.void(company, entity, body, options)
    if operation == "update":
        if "void" in options.include:
            return writes.void(company, entity, body, options)
        if type(body) is dict and not body.get("Id"):
            raise Fault("2020", element="Id")
        return writes.save(company, entity, body, options)
    if operation == "create":
        return writes.save(company, entity, body, options)
    raise Fault("500", detail=f"Operation {operation} is not supported.")
