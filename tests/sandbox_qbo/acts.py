"""What a test asks a company for, in a word each: requests, and what they are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from .conftest import Books

Act = Callable[[Books], httpx.Response]


def post(kind: str, body: Any, **params: Any) -> Act:
    return lambda books: books.post(kind.lower(), body, **params)


def get(path: str, **params: Any) -> Act:
    return lambda books: books.call("GET", path, params=params)


def query(text: str) -> Act:
    return get("query", query=text)


def edit(books: Books, kind: str, doc: dict[str, Any], **changes: Any) -> httpx.Response:
    return books.post(kind.lower(), {"Id": doc["Id"], "SyncToken": doc["SyncToken"], "sparse": True, **changes})


def delete(books: Books, kind: str, doc: dict[str, Any]) -> httpx.Response:
    now = books.get(kind, doc["Id"])
    return books.post(kind.lower(), {"Id": doc["Id"], "SyncToken": now["SyncToken"]}, operation="delete")


def void(books: Books, kind: str, doc: dict[str, Any]) -> httpx.Response:
    now = books.get(kind, doc["Id"])
    body = {"Id": doc["Id"], "SyncToken": now["SyncToken"], "sparse": True}
    if kind in ("Invoice", "Bill"):
        return books.post(kind.lower(), body, operation="void")
    return books.post(kind.lower(), body, operation="update", include="void")


def read(books: Books) -> httpx.Response:
    return books.call("GET", "companyinfo/1")


def multipart(*parts: tuple[str, str]) -> Act:
    """An upload of parts, each with its headers and its content."""

    def go(books: Books) -> httpx.Response:
        text = "".join(f"--XX\r\n{head}\r\n\r\n{content}\r\n" for head, content in parts) + "--XX--\r\n"
        headers = {"content-type": 'multipart/form-data; boundary="XX"'}
        return books.call("POST", "upload", content=text.encode(), headers=headers)

    return go


def metadata(**values: Any) -> tuple[str, str]:
    return 'Content-Disposition: form-data; name="file_metadata_01"\r\nContent-Type: application/json', json.dumps(values)


def file(name: str = "a.csv", content: str = "1,2", more: str = "") -> tuple[str, str]:
    return f'Content-Disposition: form-data; name="file_content_01"; filename="{name}"{more}', content


def linked(amount: Any, paid: dict[str, Any]) -> dict[str, Any]:
    return {"Amount": amount, "LinkedTxn": [{"TxnId": paid["Id"], "TxnType": "Payment", "TxnLineId": "0"}]}


def item(name: str, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Service", "IncomeAccountRef": {"value": "1"}, **more}


def discount(**detail: Any) -> dict[str, Any]:
    return {"DetailType": "DiscountLineDetail", "DiscountLineDetail": detail}


def batch(*items: dict[str, Any], **params: Any) -> Act:
    return lambda books: books.post("batch", {"BatchItemRequest": list(items)}, **params)


def inactive(books: Books, kind: str, **values: Any) -> str:
    made = books.make(kind, values)
    assert edit(books, kind, made, Active=False).status_code == 200
    return str(made["Id"])
