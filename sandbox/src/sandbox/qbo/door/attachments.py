"""Files: multipart upload as real clients write it, download links, metadata without content and the other way round."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from sandbox.qbo.company.schema import KINDS, UPLOAD_TYPES
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.control.webhooks import signature
from sandbox.qbo.control.world import World
from sandbox.qbo.documents import writes
from sandbox.qbo.rules.changes import bump
from sandbox.qbo.rules.faults import Fault, item_fault
from sandbox.qbo.rules.validation import parse_json

SIZE_MAX = 100 * 1024 * 1024


def parts_of(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """(headers, content) of each part; lines may end in CRLF or bare LF, a part may be base64. Raises Fault 1050, 6041."""
    found = re.search(r'boundary="?([^";,\s]+)"?', content_type)
    if not content_type.lower().startswith("multipart/") or not found:
        raise Fault("1050", value=content_type)
    mark = b"--" + found.group(1).encode()
    sections = re.split(rb"(?:^|\r?\n)" + re.escape(mark) + rb"(?:--)?[ \t]*(?:\r?\n|$)", body)
    parts = []
    for section in sections:
        if not section.strip(b"\r\n"):
            continue
        head, gap, content = _split_head(section)
        if not gap:
            continue
        headers = {}
        for line in re.split(rb"\r?\n", head):
            name, _, value = line.partition(b":")
            headers[name.strip().lower().decode("latin-1")] = value.strip().decode("utf-8", "replace")
        if headers.get("content-length", str(len(content))) != str(len(content)):
            raise Fault("6020")
        if headers.get("content-transfer-encoding", "").lower() == "base64":
            try:
                content = base64.b64decode(content)
            except binascii.Error:
                raise Fault("6041") from None
        parts.append((headers, content))
    return parts


def _split_head(section: bytes) -> tuple[bytes, bytes, bytes]:
    found = re.search(rb"\r?\n\r?\n", section)
    if not found:
        return section, b"", b""
    return section[: found.start()], found.group(), section[found.end() :]


def _disposition(headers: dict[str, str], key: str) -> str:
    found = re.search(rf'\b{key}="?([^";]*)"?', headers.get("content-disposition", ""))
    return found.group(1) if found else ""


def upload(company: Company, headers: dict[str, str], body: bytes, dress: Callable[[str, Doc], Doc]) -> list[dict[str, Any]]:
    """The AttachableResponse list: one answer for each pair of file_metadata_NN and file_content_NN."""
    pairs: dict[str, dict[str, tuple[dict[str, str], bytes]]] = {}
    for part_headers, content in parts_of(headers.get("content-type", ""), body):
        name = _disposition(part_headers, "name")
        kind, _, number = name.rpartition("_")
        slot = "metadata" if "metadata" in kind else "content"
        pairs.setdefault(number or name, {})[slot] = (part_headers, content)
    if not pairs:
        raise Fault("6020")
    answers: list[dict[str, Any]] = []
    for pair in pairs.values():
        try:
            answers.append({"Attachable": dress("Attachable", _store(company, pair))})
        except Fault as fault:
            answers.append({"Fault": item_fault(fault)})
    return answers


def _store(company: Company, pair: dict[str, tuple[dict[str, str], bytes]]) -> Doc:
    metadata: dict[str, Any] = {}
    if "metadata" in pair:
        parsed = parse_json(pair["metadata"][1].strip())
        if type(parsed) is not dict:
            raise Fault("6040")
        metadata = parsed
    if "content" not in pair:
        raise Fault("6041")
    headers, content = pair["content"]
    name = metadata.get("FileName") or _disposition(headers, "filename")
    if not name:
        raise Fault("2020", element="FileName")
    if str(name).rpartition(".")[2].lower() not in UPLOAD_TYPES or len(content) > SIZE_MAX:
        raise Fault("6030", value=name)
    content_type = metadata.get("ContentType") or headers.get("content-type") or "application/octet-stream"
    doc = writes.save(company, KINDS["Attachable"], {**metadata, "FileName": name, "ContentType": content_type})
    company.files[doc["Id"]] = content
    stored = {**doc, "Size": len(content), "FileAccessUri": f"/v3/company/{company.realm_id}/download/{doc['Id']}"}
    company.put("Attachable", stored, quiet=True)
    touch_parents(company, stored)
    return stored


def touch_parents(company: Company, doc: Doc) -> None:
    """An attachment changes the SyncToken of its document."""
    for reference in doc.get("AttachableRef", ()):
        target = reference.get("EntityRef") or {}
        parent = company.get(str(target.get("type")), str(target.get("value")))
        if parent is not None:
            company.put(str(target["type"]), bump(company, parent, dict(parent)))


def with_links(world: World, company: Company, doc: Doc) -> Doc:
    """An attachable as a reader sees it: with its short-lived link."""
    if doc["Id"] not in company.files:
        return doc
    return {
        **doc,
        "TempDownloadUri": f"{world.config.base_url}/files/{company.realm_id}/{doc['Id']}?sig={_sign(world, company, doc['Id'])}",
    }


def download_link(world: World, company: Company, doc_id: str) -> str:
    """Body of `GET /download/{id}`."""
    if not doc_id.isdigit():
        raise Fault("2030", element="Id", value=doc_id)
    doc = company.get("Attachable", doc_id)
    if doc is None or doc_id not in company.files:
        raise Fault("610")
    return str(with_links(world, company, doc)["TempDownloadUri"])


def fetch(world: World, realm_id: str, doc_id: str, signature: str) -> tuple[str, bytes] | None:
    """(content type, bytes) behind a link; None for a bad link."""
    company = world.companies.get(realm_id)
    if company is None or doc_id not in company.files or signature != _sign(world, company, doc_id):
        return None
    doc = company.get("Attachable", doc_id) or {}
    return str(doc.get("ContentType", "application/octet-stream")), company.files[doc_id]


def _sign(world: World, company: Company, doc_id: str) -> str:
    quarter = int(world.clock.now() // 900)  # links live for up to 15 minutes
    return re.sub(r"[^A-Za-z0-9]", "", signature(world.verifier_token, f"{company.realm_id}/{doc_id}/{quarter}".encode()))
