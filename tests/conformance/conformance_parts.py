"""A stand-in in a process of its own, and how python-quickbooks and intuit-oauth, which we did not write, are pointed at it."""

import json
import signal
import subprocess
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from intuitlib.client import AuthClient
from quickbooks import QuickBooks

REDIRECT = "http://localhost:8000/callback"


class StandIn:
    """One stand-in process: the facts of its first line, its control API, its end."""

    def __init__(self, module: str, *options: str) -> None:
        command = [sys.executable, "-m", module, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.facts: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.http = httpx.Client(timeout=10, trust_env=False)

    def control(self, method: str, path: str, order: Any = None) -> Any:
        """One call of the control API, which must succeed."""
        response = self.http.request(method, self.facts["control_url"] + path, json=order)
        assert response.status_code == 200, response.text
        return response.json()

    def close(self) -> None:
        """SIGTERM must end it with status 0."""
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        assert self.process.stdout
        self.process.stdout.close()


class Qbo(StandIn):
    """The QuickBooks stand-in and the Python clients."""

    def __init__(self) -> None:
        super().__init__("sandbox.qbo", "--port", "0", "--no-limits")
        self.realm: str = self.facts["realm_id"]

    def auth(self, **tokens: Any) -> AuthClient:
        """intuit-oauth; it takes a discovery address where it usually takes 'sandbox'."""
        facts = self.facts
        # Intuit's own constant ends in a slash
        return AuthClient(facts["client_id"], facts["client_secret"], REDIRECT, facts["discovery_url"] + "/", **tokens)

    def consent(self, url: str, decision: str = "approve") -> dict[str, str]:
        """A person opens the authorize address and decides; returns the parameters of the redirect back to the app."""
        page = self.http.get(url)
        assert page.status_code == 200, page.text
        assert "<form method=post" in page.text
        answer = self.http.post(url, data={"decision": decision, "realm_id": self.realm})
        assert answer.status_code == 302
        assert answer.headers["location"].startswith(REDIRECT + "?")
        return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}

    def client(self, **options: Any) -> QuickBooks:
        """python-quickbooks with the stand-in's first tokens; its hosts are class attributes."""
        hosts = dict.fromkeys(("sandbox_api_url_v3", "api_url_v3"), f"{self.facts['base_url']}/v3")
        here = type("HereQuickBooks", (QuickBooks,), hosts)
        auth = self.auth(access_token=self.facts["access_token"], refresh_token=self.facts["refresh_token"])
        client: QuickBooks = here(auth_client=auth, company_id=self.realm, minorversion=75, **options)
        return client

    def check(self) -> None:
        """No client may have met a bug of ours, nor left books that do not balance."""
        assert self.control("GET", "/counters")["internal_errors"] == 0
        assert self.control("GET", "/invariants") == {"ok": True, "broken": {self.realm: []}, "books": True}
