"""Attachments through python-quickbooks, whose multipart has bare LF and base64: file, note, links, download, change, delete."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from conformance_parts import Qbo
from quickbooks import QuickBooks
from quickbooks.exceptions import ObjectNotFoundException, QuickbooksException
from quickbooks.objects import Attachable, AttachableRef, Invoice
from quickbooks_objects import fill, invoice, ref

CONTENT = b"%PDF-1.4\n\x00\xff\r\n--not-the-boundary\n" + bytes(range(256))


def _file(name: str = "consent.pdf", kind: str = "application/pdf", **fields: object) -> Attachable:
    return fill(Attachable(), FileName=name, ContentType=kind, **fields)


def _to(document: Invoice) -> list[AttachableRef]:
    return [fill(AttachableRef(), EntityRef=ref(document.Id, "Invoice"))]


def test_file_from_bytes_is_linked_listed_and_downloaded(qbo: Qbo, qb: QuickBooks) -> None:
    owner = invoice(qb, 10)
    made = _file(AttachableRef=_to(owner), _FileBytes=CONTENT).save(qb=qb)
    assert (made.FileName, made.ContentType, made.Size) == ("consent.pdf", "application/pdf", len(CONTENT))
    assert Invoice.get(owner.Id, qb=qb).SyncToken == "1", "an attachment moves the SyncToken of what it hangs on"
    where = f"AttachableRef.EntityRef.Type = 'Invoice' AND AttachableRef.EntityRef.value = '{owner.Id}'"
    (found,) = Attachable.where(where, qb=qb)
    assert found.AttachableRef[0].EntityRef.value == owner.Id
    assert httpx.get(found.TempDownloadUri, trust_env=False).content == CONTENT
    link = qb.process_request("GET", f"{qb.api_url}/company/{qbo.realm}/download/{made.Id}", headers={}).text
    answer = httpx.get(link, trust_env=False)
    assert (answer.content, answer.headers["content-type"]) == (CONTENT, "application/pdf")


def test_file_from_a_path(tmp_path: Path, qb: QuickBooks) -> None:
    path = tmp_path / "lines.csv"
    path.write_bytes(b"a,b\r\n1,2\r\n")
    made = _file("lines.csv", "text/csv", _FilePath=str(path), Note="from the practice").save(qb=qb)
    assert (made.Size, made.Note) == (10, "from the practice")
    assert httpx.get(made.TempDownloadUri, trust_env=False).content == b"a,b\r\n1,2\r\n"


def test_note_without_a_file_is_changed_and_deleted(qb: QuickBooks) -> None:
    owner = invoice(qb, 10)
    made = fill(Attachable(), Note="call first", AttachableRef=_to(owner)).save(qb=qb)
    assert made.TempDownloadUri is None
    made.Note = "call later"
    changed = made.save(qb=qb)
    assert (changed.Note, changed.SyncToken, changed.AttachableRef[0].EntityRef.value) == ("call later", "1", owner.Id)
    assert changed.delete(qb=qb)["Attachable"]["status"] == "Deleted"
    with pytest.raises(ObjectNotFoundException):
        Attachable.get(made.Id, qb=qb)


def test_file_of_a_forbidden_type_is_answered_inside_the_list(qb: QuickBooks) -> None:
    with pytest.raises(KeyError, match="Attachable"):  # the library does not look for a Fault there
        _file("tool.exe", "application/octet-stream", _FileBytes=b"MZ").save(qb=qb)
    assert Attachable.count(qb=qb) == 0


def test_download_link_dies(qbo: Qbo, qb: QuickBooks) -> None:
    made = _file(_FileBytes=b"x").save(qb=qb)
    qbo.control("POST", "/clock", {"advance": 1800})
    assert httpx.get(made.TempDownloadUri, trust_env=False).status_code == 403
    assert urlsplit(Attachable.get(made.Id, qb=qb).TempDownloadUri).query != urlsplit(made.TempDownloadUri).query


def test_note_on_something_that_is_not_there_is_refused(qb: QuickBooks) -> None:
    nowhere = [fill(AttachableRef(), EntityRef=ref("99999", "Invoice"))]
    with pytest.raises(QuickbooksException) as refused:
        fill(Attachable(), Note="lost", AttachableRef=nowhere).save(qb=qb)
    assert refused.value.error_code in (610, 2500)
