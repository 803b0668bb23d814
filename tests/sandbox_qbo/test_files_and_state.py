"""Attachments, PDF, send, pay link, tax service, reports' gate, snapshot and restore, the process as a command."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from .bodies import bill, invoice, line, payment
from .conftest import Books, StandIn, code_of


def multipart(parts: list[tuple[str, bytes]], newline: bytes = b"\r\n") -> tuple[bytes, dict[str, str]]:
    body = b""
    for head, content in parts:
        body += b"--XX" + newline + newline.join(part.encode() for part in head.split("\n")) + newline * 2 + content + newline
    return body + b"--XX--" + newline, {"content-type": 'multipart/form-data; boundary="XX"'}


def test_upload_download_and_parent_token(books: Books) -> None:
    made = books.make("Invoice", invoice())
    metadata = json.dumps(
        {
            "FileName": "a.pdf",
            "ContentType": "application/pdf",
            "AttachableRef": [{"EntityRef": {"type": "Invoice", "value": made["Id"]}}],
        }
    ).encode()
    content = b"%PDF-1.4\n\x00\xff binary\r\n\r\nmore"
    for newline in (b"\r\n", b"\n"):
        body, headers = multipart(
            [
                ('Content-Disposition: form-data; name="file_metadata_01"\nContent-Type: application/json', metadata),
                (
                    'Content-Disposition: form-data; name="file_content_01"; filename="a.pdf"\n'
                    "Content-Type: application/pdf\nContent-Transfer-Encoding: base64",
                    base64.b64encode(content),
                ),
            ],
            newline,
        )
        answer = books.call("POST", "upload", content=body, headers=headers)
        stored = answer.json()["AttachableResponse"][0]["Attachable"]
        assert (stored["FileName"], stored["Size"]) == ("a.pdf", len(content))
        link = books.call("GET", f"download/{stored['Id']}").text
        assert httpx.get(link).content == content
        assert httpx.get(link.replace("sig=", "sig=x")).status_code == 403
    assert books.get("Invoice", made["Id"])["SyncToken"] == "2"
    body, headers = multipart([('Content-Disposition: form-data; name="file_content_01"; filename="b.csv"', b"1,2")])
    alone = books.call("POST", "upload", content=body, headers=headers).json()["AttachableResponse"][0]["Attachable"]
    later = books.make(
        "Attachable", {**alone, "Note": "later", "AttachableRef": [{"EntityRef": {"type": "Invoice", "value": made["Id"]}}]}
    )
    assert later["Note"] == "later"
    found = books.query(f"select * from Attachable where AttachableRef.EntityRef.value = '{made['Id']}'")
    assert len(found["Attachable"]) == 3
    note = books.make("Attachable", {"Note": "only a note"})
    assert books.post("attachable", {"Id": note["Id"], "SyncToken": "0"}, operation="delete").status_code == 200


def test_upload_refuses(books: Books) -> None:
    body, headers = multipart([('Content-Disposition: form-data; name="file_content_01"; filename="b.exe"', b"MZ")])
    assert "6030" in books.call("POST", "upload", content=body, headers=headers).text
    body, headers = multipart([('Content-Disposition: form-data; name="file_metadata_01"', b"[1]")])
    assert "6040" in books.call("POST", "upload", content=body, headers=headers).text
    body, headers = multipart([('Content-Disposition: form-data; name="file_metadata_01"', b'{"FileName": "a.pdf"}')])
    assert "6041" in books.call("POST", "upload", content=body, headers=headers).text
    assert code_of(books.call("POST", "upload", content=b"x", headers={"content-type": "text/plain"})) == "1050"
    assert (
        code_of(books.post("attachable", {"Note": "x", "AttachableRef": [{"EntityRef": {"type": "Gadget", "value": "1"}}]}))
        == "6050"
    )


def test_pdf_send_and_pay_link(books: Books) -> None:
    made = books.make("Invoice", invoice(BillEmail={"Address": "a@example.com"}))
    answer = books.call("GET", f"invoice/{made['Id']}/pdf", headers={"accept": "application/pdf"})
    assert (answer.headers["content-type"], answer.content[:5], answer.content[-6:]) == ("application/pdf", b"%PDF-", b"%%EOF\n")
    sent = books.call(
        "POST",
        f"invoice/{made['Id']}/send",
        params={"sendTo": "b@example.com"},
        headers={"content-type": "application/octet-stream"},
    )
    doc = sent.json()["Invoice"]
    assert (doc["EmailStatus"], doc["BillEmail"]["Address"], doc["DeliveryInfo"]["DeliveryType"]) == (
        "EmailSent",
        "b@example.com",
        "Email",
    )
    assert code_of(books.call("POST", f"invoice/{made['Id']}/send", params={"sendTo": "nobody"})) == "2210"
    bare = books.make("Invoice", invoice())
    assert code_of(books.call("POST", f"invoice/{bare['Id']}/send")) == "6420"
    owed = books.make("Bill", bill())
    assert code_of(books.call("GET", f"bill/{owed['Id']}/pdf")) == "500"
    assert "InvoiceLink" not in books.call("GET", f"invoice/{made['Id']}", params={"include": "invoiceLink"}).json()["Invoice"]
    books.set(online_payments=True)
    assert books.call("GET", f"invoice/{made['Id']}", params={"include": "invoiceLink"}).json()["Invoice"]["InvoiceLink"]
    assert "InvoiceLink" not in books.get("Invoice", made["Id"])
    for _ in range(39):
        books.call("POST", f"invoice/{made['Id']}/send")
    assert books.call("POST", f"invoice/{made['Id']}/send").status_code == 429


def test_tax_code_through_the_tax_service(books: Books) -> None:
    body = {
        "TaxCode": "City",
        "TaxRateDetails": [{"TaxRateName": "City rate", "RateValue": "5.5", "TaxAgencyId": "1", "TaxApplicableOn": "Sales"}],
    }
    answer = books.post("taxservice/taxcode", body)
    assert answer.status_code == 200, answer.text
    code = answer.json()["TaxCodeId"]
    made = books.make("Invoice", invoice(line(200, TaxCodeRef={"value": "TAX"}), TxnTaxDetail={"TxnTaxCodeRef": {"value": code}}))
    assert made["TxnTaxDetail"]["TotalTax"] == 11
    assert code_of(books.post("taxservice/taxcode", {"TaxCode": "x"})) == "2020"


def test_xml_for_those_who_ask(books: Books) -> None:
    answer = books.call("GET", "companyinfo/1", headers={"accept": "application/xml"})
    assert answer.headers["content-type"].startswith("application/xml")
    assert "<CompanyInfo>" in answer.text


def test_snapshot_and_restore(tmp_path: Path) -> None:
    own = StandIn(limits=False)
    try:
        books = Books(own)
        made = books.post("invoice", invoice(DocNumber="S1"), requestid="keep")
        books.make("Payment", payment(30, ("Invoice", made.json()["Invoice"]["Id"], 30)))
        own.control("POST", "snapshot", {"file": str(tmp_path / "state")})
        books.make("Invoice", invoice(DocNumber="S2"))
        own.control("POST", "restore", {"file": str(tmp_path / "state")})
        assert books.query("select count(*) from Invoice") == {"totalCount": 1}
        assert books.post("invoice", invoice(), requestid="keep").content == made.content
        assert code_of(books.post("invoice", invoice(DocNumber="S1"))) == "6140"
        assert books.get("Customer", "1")["Balance"] == 70
        assert own.control("GET", "invariants")["ok"]
        assert own.control("POST", "reset")["realm_id"] == own.greeting["realm_id"]
        assert own.app.world.internal_errors == 0
    finally:
        own.stop()


def test_the_command_says_first_where_it_is_and_keeps_state(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sandbox.qbo",
        "--port",
        "0",
        "--seed",
        "3",
        "--no-limits",
        "--state-file",
        str(tmp_path / "state"),
    ]
    names = []
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            greeting = json.loads(process.stdout.readline())
            wanted = {
                "base_url",
                "control_url",
                "token_url",
                "revoke_url",
                "authorize_url",
                "discovery_url",
                "realm_id",
                "client_id",
                "client_secret",
                "access_token",
                "refresh_token",
                "webhook_verifier_token",
            }
            assert wanted <= set(greeting)
            url = f"{greeting['base_url']}/v3/company/{greeting['realm_id']}"
            headers = {"authorization": f"Bearer {greeting['access_token']}"}
            names.append(
                httpx.get(f"{url}/query", params={"query": "select * from Customer"}, headers=headers).json()["QueryResponse"][
                    "Customer"
                ]
            )
            httpx.post(f"{url}/customer", json={"DisplayName": "kept"}, headers=headers)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            assert process.returncode == 0
    assert len(names[1]) == len(names[0]) + 1
    taken = greeting["base_url"].rpartition(":")[2]
    listener = httpx.URL(greeting["base_url"]).port
    assert str(listener) == taken


def test_answers_do_not_wait_for_acknowledgements(standin: StandIn) -> None:
    """asyncio switches Nagle off only where the socket names its protocol: without it every answer took 40 ms."""
    assert standin.listener.proto == socket.IPPROTO_TCP


def test_a_taken_port_gets_a_reason(standin: StandIn) -> None:
    port = standin.greeting["base_url"].rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.qbo", "--port", port], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_control_api_loads_reads_and_refuses(books: Books, standin: StandIn) -> None:
    loaded = standin.control(
        "POST", "entities", {"realm": books.realm, "entities": {"Customer": [{"DisplayName": "Loaded", "Id": "9001"}]}}
    )
    assert loaded["created"] == {"Customer": ["9001"]}
    assert books.get("Customer", "9001")["DisplayName"] == "Loaded"
    shown = standin.control("GET", "books/Customer", realm=books.realm)
    assert any(doc["Id"] == "9001" for doc in shown)
    assert "Account" in standin.control("GET", "books", realm=books.realm)
    assert standin.control("GET", "health")["status"] == "ok"
    assert "error" in standin.control("GET", "nothing", status=404)
    assert "error" in standin.control("POST", "companies", {"plan": "free"}, status=400)
    assert "error" in standin.control("POST", "modes", {"colour": 1}, status=400)
    assert "error" in standin.control("POST", "person", {}, status=400)
