"""node-quickbooks and intuit-oauth from npm, unchanged, on the QuickBooks stand-in: node/*.js call them, this file judges."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from conformance_parts import Qbo

pytestmark = pytest.mark.node

HERE = Path(__file__).parent / "node"
LOCK = HERE / "package-lock.json"
Area = Callable[[str], Any]


def _give_up(reason: str) -> NoReturn:
    """Where Node cannot be had: a failure in CI, elsewhere a skip that says so."""
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(f"{reason}; in CI the Node clients must run")
    pytest.skip(f"{reason}: node-quickbooks and intuit-oauth (npm) were not run")


@pytest.fixture(scope="session")
def node() -> str:
    """The node program, with the locked packages installed beside the scripts."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if not program or not npm:
        _give_up("Node.js with npm is not on the PATH")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < 18:
        _give_up(f"Node.js 18 or newer is needed, this is {version}")
    stamp, wanted = HERE / "node_modules" / ".installed-from", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        try:
            done = subprocess.run(command, check=False, cwd=HERE, capture_output=True, text=True, timeout=150)
        except subprocess.TimeoutExpired:
            _give_up("npm ci took more than 150 s")
        if done.returncode:
            _give_up(f"npm ci failed: {(done.stderr or done.stdout).strip()[-300:]}")
        stamp.write_text(wanted)
    return program


@pytest.fixture
def area(qbo: Qbo, node: str) -> Area:
    """Run one script of node/ against the stand-in; returns what it found."""

    def run(name: str) -> Any:
        facts = json.dumps(qbo.facts)
        command = [node, f"{name}.js"]
        done = subprocess.run(command, check=False, cwd=HERE, input=facts, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_lock_file_names_no_other_registry() -> None:
    hosts = set(re.findall(r'"resolved": "(https?://[^/]+)', LOCK.read_text()))
    assert hosts <= {"https://registry.npmjs.org"}


def test_documents(area: Area) -> None:
    found = area("documents")
    named = {"Account", "Class", "Customer", "Department", "Employee", "Item", "PaymentMethod", "Term", "Vendor"}
    for kind, seen in found["around"].items():
        assert seen["same"], kind
        assert seen["token"] == ["0", "1"], kind
        assert seen["total"][0] == seen["total"][1], kind
        assert seen.get("note") == (None if kind in named | {"TimeActivity"} else "changed"), kind
    assert {kind for kind, seen in found["around"].items() if seen["gone"] is None} == named
    assert {seen["gone"] for kind, seen in found["around"].items() if kind not in named} == {"Deleted"}
    assert found["replayed"] is True
    sparse = found["sparse"]
    assert (sparse["DocNumber"], sparse["PrivateNote"], sparse["TotalAmt"], sparse["SyncToken"]) == ("N-2", "stays", 100, "1")
    refused = {name: (found[name]["status"], found[name]["code"]) for name in ("stale", "duplicate", "nothing", "wrapped")}
    assert refused == {"stale": (400, "5010"), "duplicate": (400, "6140"), "nothing": (400, "610"), "wrapped": (400, "2010")}
    assert found["allowed"]["DocNumber"] == "N-2"
    assert found["owed"] == 60
    assert (found["paymentVoid"]["TotalAmt"], found["paymentVoid"]["PrivateNote"][:6]) == (0, "Voided")
    assert (found["invoiceVoid"]["TotalAmt"], found["invoiceVoid"]["Balance"], found["invoiceVoid"]["LinkedTxn"]) == (0, 0, [])
    assert found["pdf"]["head"] == "%PDF-"
    assert found["sent"]["EmailStatus"] == "EmailSent"
    assert found["sent"]["BillEmail"]["Address"] == "pat@example.com"
    assert found["company"]["Country"] == "US"
    assert found["preferences"]["CustomTxnNumbers"] is True
    assert found["taxCode"]["TaxCodeId"]


def test_queries(area: Area) -> None:
    found = area("queries")
    assert len(found["kinds"]) == 33
    assert all(rows == changed for rows, changed in found["kinds"].values()), found["kinds"]
    filled = {kind for kind, (rows, _) in found["kinds"].items() if rows}
    assert {"Account", "CompanyInfo", "Customer", "CustomerType", "Item", "Preferences", "TaxAgency", "TaxCode", "Term"} <= filled
    assert all(found["special"].values()), found["special"]
    assert found["page"] == [f"Paged {n}" for n in range(20, 25)]
    assert found["down"] == ["Paged 24", "Paged 23"]
    assert found["all"] == 25
    assert found["count"] == {"totalCount": 25}
    assert found["in"] == ["Paged 03", "Paged 07"]
    assert found["text"] == ["Paged 11"]
    assert len(found["active"]) == 10
    assert found["none"] == {}
    assert (found["unknownField"]["status"], found["unknownField"]["code"]) == (400, "4001")
    assert (found["syntax"]["status"], found["syntax"]["code"]) == (400, "4000")


def test_batch_changes_reports_files(area: Area) -> None:
    found = area("bulk")
    first, second = found["first"], found["second"]
    assert set(first) == {"a", "b", "c", "d"}
    assert first["b"]["Fault"]["Error"][0]["code"] == "2040"
    assert len(first["d"]["QueryResponse"]["Term"]) == 4
    assert (second["void"]["Invoice"]["TotalAmt"], second["void"]["Invoice"]["PrivateNote"][:6]) == (0, "Voided")
    assert second["gone"]["Invoice"]["status"] == "Deleted"
    assert second["named"]["Customer"]["Notes"] == "called"
    assert second["count"]["QueryResponse"] == {"totalCount": 1}
    assert (found["tooMany"]["status"], found["tooMany"]["code"]) == (400, "1040")
    changed: dict[str, Any] = {}
    for part in found["changes"]:
        changed |= part
    assert "Bill" not in changed
    assert [c["DisplayName"] for c in changed["Customer"]] == ["Batched"]
    stubs = [i for i in changed["Invoice"] if i.get("status") == "Deleted"]
    assert [set(stub) - {"domain", "status", "Id", "MetaData"} for stub in stubs] == [set()]
    assert len(changed["Invoice"]) == len(found["changesText"][0]["Invoice"]) == 2
    assert found["tooLongAgo"]["status"] == 400
    assert len(found["reports"]) == 13
    for name, (title, start, columns, rows) in found["reports"].items():
        assert title, name
        assert columns >= 2, name
        assert rows, name
        assert start in (found["start"], None), name
    assert (found["plain"]["FileName"], found["plain"]["Size"]) == ("note.txt", 5)
    assert found["linked"]["AttachableRef"][0]["EntityRef"] == {"type": "Customer", "value": "1"}
    assert found["content"] == "a,b\r\n1,2\r\n"
    assert found["attached"] == [found["linked"]["Id"]]
    assert found["badFile"]["code"] == "6030"
    assert found["deleted"]["Attachable"]["status"] == "Deleted"


def test_oauth(area: Area, qbo: Qbo) -> None:
    found, base = area("oauth"), qbo.facts["base_url"]
    token = found["token"]
    assert (token["realmId"], token["state"], token["token_type"]) == (qbo.realm, "from node", "bearer")
    lives = (token["expires_in"], token["x_refresh_token_expires_in"], token["x_refresh_token_hard_expires_in"])
    assert lives == (3600, 8_640_000, 157_680_000)
    assert found["tid"] is True
    assert found["idToken"] is True
    assert found["userInfo"]["email"]
    assert found["company"]
    assert found["fault"]["type"] == "ValidationFault"
    assert found["fault"]["errors"][0]["code"] == "2010"
    assert found["refreshed"]["refresh_token"] == token["refresh_token"] == found["usingToken"]["refresh_token"]
    assert found["refreshed"]["access_token"] != token["access_token"]
    assert "x_refresh_token_hard_expires_in" not in found["usingToken"]
    for name in ("codeTwice", "afterwards", "afterRevoke"):
        assert (found[name]["error"], found[name]["tid"]) == ("invalid_grant", True), name
    assert found["badSecret"]["error"] == "invalid_client"
    assert found["revoked"] == 200
    assert found["discovered"] == [
        f"{base}/connect/oauth2",
        qbo.facts["token_url"],
        f"{base}/v1/openid_connect/userinfo",
        qbo.facts["revoke_url"],
    ]
    assert found["qbRefresh"]["token_type"] == "bearer"
    assert found["qbWorks"] == "1"
    assert found["noOpenId"]["status"] == 403
    assert found["qbRevoke"] == 200
    assert (found["dead"]["status"], found["dead"]["type"], found["dead"]["code"]) == (401, "AUTHENTICATION", "3200")
