"""The Sheets stand-in in a process of its own, with the clients that others wrote."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gspread
import httpx
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2.service_account import Credentials
from googleapiclient.discovery import build

SCOPES = ["https://www.googleapis.com/auth/spreadsheets", "https://www.googleapis.com/auth/drive"]


class RedirectedSession(AuthorizedSession):
    """gspread names Google's addresses in its code: send them to the stand-in."""

    base_url = ""

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        for google in ("https://sheets.googleapis.com", "https://www.googleapis.com"):
            url = url.replace(google, self.base_url)
        return super().request(method, url, *args, **kwargs)


class Google:
    """A running stand-in and its clients."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "sandbox.main", "sheets", "--rows", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.facts = json.loads(self.process.stdout.readline())
        self.id: str = self.facts["spreadsheet_id"]
        self.control_http = httpx.Client(base_url=self.facts["control_url"], timeout=60)
        self.credentials = Credentials.from_service_account_file(self.facts["credentials_file"], scopes=SCOPES)
        self.account = json.loads(Path(self.facts["credentials_file"]).read_text())
        session = RedirectedSession(self.credentials)
        session.base_url = self.facts["base_url"]
        self.gspread = gspread.Client(self.credentials, session=session)
        base = self.facts["base_url"]
        as_here: dict[str, Any] = {"credentials": self.credentials, "static_discovery": True}
        self.sheets = build("sheets", "v4", **as_here, client_options={"api_endpoint": base})
        self.drive = build("drive", "v3", **as_here, client_options={"api_endpoint": f"{base}/drive/v3/"})
        self.values = self.sheets.spreadsheets().values()

    def control(self, method: str, path: str, order: Any = None) -> Any:
        response = self.control_http.request(method, path, json=order)
        assert response.status_code == 200, response.text
        return response.json()

    def batch(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        return (
            self.sheets.spreadsheets().batchUpdate(spreadsheetId=self.id, body={"requests": list(requests)}).execute()["replies"]
        )

    def http(self) -> httpx.Client:
        self.credentials.refresh(Request())  # an earlier test may have ended the token
        headers = {"Authorization": f"Bearer {self.credentials.token}"}
        return httpx.Client(base_url=self.facts["base_url"], headers=headers, timeout=60)

    def close(self) -> None:
        self.control_http.close()
        self.sheets.close()
        self.drive.close()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        assert self.process.stdout
        self.process.stdout.close()
        assert not Path(self.facts["credentials_file"]).exists()
