"""Google Sheets: read a whole worksheet, write cells RAW, append columns. Service-account tokens are fetched in a thread.

The error class says what to do next: PausedError (an operator is needed), ThrottledError (wait that long), TransientError.
"""

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import google.auth.exceptions
import httpx
from bookrelay import money
from bookrelay.errors import BookrelayError, Code, TransientError
from bookrelay.source.answers import retry_after
from bookrelay.source.errors import PausedError, ThrottledError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from sheet_watcher.domain import Cell, CellWrite
from sheet_watcher.layout import a1, quoted
from sheet_watcher.settings import Settings

SCOPE = "https://www.googleapis.com/auth/spreadsheets"
LONGEST_BACKOFF_SECONDS = 64.0  # Google's recommendation for truncated exponential backoff


class Quota:
    """A token bucket that never exceeds `per_minute` in any minute, bursts included."""

    def __init__(self, per_minute: int) -> None:
        self._burst = max(1, per_minute // 8)
        self._rate = max(1, per_minute - self._burst) / 60
        self._tokens, self._at = float(self._burst), time.monotonic()
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Wait until one more request is allowed."""
        async with self._lock:
            while True:
                now = time.monotonic()
                self._tokens = min(float(self._burst), self._tokens + (now - self._at) * self._rate)
                self._at = now
                if self._tokens >= 1:
                    self._tokens -= 1
                    return
                await asyncio.sleep((1 - self._tokens) / self._rate)


class SheetsClient:
    """One worksheet of one spreadsheet."""

    def __init__(self, settings: Settings, account: Mapping[str, Any]) -> None:
        self._worksheet = settings.sheets_worksheet
        self._path = f"/v4/spreadsheets/{quote(settings.sheets_spreadsheet_id, safe='')}"
        self._account = str(account["client_email"])
        try:
            make: Any = Credentials.from_service_account_info
            self._credentials: Any = make(dict(account), scopes=[SCOPE])
        except (ValueError, google.auth.exceptions.GoogleAuthError):
            raise PausedError(
                "The private key in GOOGLE_CREDENTIALS_FILE cannot be read.", "Download the key file again.", Code.OAUTH_FAILED
            ) from None
        self._refreshing = asyncio.Lock()
        self._reads, self._writes = Quota(settings.sheets_requests_per_minute), Quota(settings.sheets_requests_per_minute)
        self._throttled = 0  # consecutive 429 responses
        self._http = httpx.AsyncClient(
            base_url=settings.sheets_base_url.rstrip("/"), timeout=httpx.Timeout(settings.sheets_timeout_seconds, connect=10)
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def read(self, *, dates_as_shown: bool = False) -> list[list[Cell]]:
        """Return all values as ragged rows: numbers as int or Decimal, dates as serial numbers, or as displayed."""
        await self._reads.take()
        answer = await self._call(
            "GET",
            f"{self._path}/values:batchGet",
            params={
                "ranges": quoted(self._worksheet), "valueRenderOption": "UNFORMATTED_VALUE",
                "dateTimeRenderOption": "FORMATTED_STRING" if dates_as_shown else "SERIAL_NUMBER", "majorDimension": "ROWS",
            },
        )  # fmt: skip
        ranges = answer.get("valueRanges")
        if not isinstance(ranges, list) or len(ranges) != 1 or not isinstance(ranges[0], dict):
            raise TransientError("Google Sheets' response to a read is not a single range.")
        return [list(row) for row in ranges[0].get("values", [])]

    async def write(self, writes: Sequence[CellWrite]) -> None:
        """Write runs of cells in one atomic request, RAW, so that text starting with "=" stays text."""
        await self._writes.take()
        data = [{"range": a1(self._worksheet, w), "majorDimension": "ROWS", "values": [list(w.values)]} for w in writes]
        await self._call("POST", f"{self._path}/values:batchUpdate", body={"valueInputOption": "RAW", "data": data})

    async def append_columns(self, header_row: int, first: int, names: Sequence[str]) -> None:
        """Write headers into columns from index `first` on, widening the grid if necessary."""
        await self._reads.take()
        answer = await self._call("GET", self._path, params={"fields": "sheets.properties"})
        sheets = [sheet.get("properties", {}) for sheet in answer.get("sheets", [])]
        mine = next((p for p in sheets if p.get("title", "").casefold() == self._worksheet.casefold()), None)
        if mine is None:
            raise PausedError(f"There is no worksheet {self._worksheet!r}.", "Correct SHEETS_WORKSHEET.", Code.VALIDATION)
        lacking = first + len(names) - int(mine.get("gridProperties", {}).get("columnCount", 0))
        if lacking > 0:
            append = {"appendDimension": {"sheetId": mine.get("sheetId", 0), "dimension": "COLUMNS", "length": lacking}}
            await self._writes.take()
            await self._call("POST", f"{self._path}:batchUpdate", body={"requests": [append]})
        await self.write([CellWrite(header_row, first, tuple(names))])

    async def _call(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        response = await self._send(method, path, params, body, await self._token())
        if response.status_code == 401:  # the token was revoked or has just expired: retry once with a new one
            response = await self._send(method, path, params, body, await self._token(renew=True))
        if response.status_code == 429:
            self._throttled += 1
            raise ThrottledError("Google Sheets", retry_after(response.headers.get("retry-after")) or self._backoff())
        self._throttled = 0
        if response.status_code >= 400:
            raise self._error(response)
        try:
            answer = money.loads(response.content)
        except (json.JSONDecodeError, UnicodeDecodeError):
            answer = None
        if not isinstance(answer, dict):
            raise TransientError("Google Sheets' response is not a JSON object.")
        return answer

    async def _send(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Mapping[str, Any] | None, token: str
    ) -> httpx.Response:
        try:
            return await self._http.request(method, path, params=params, json=body, headers={"Authorization": f"Bearer {token}"})
        except httpx.TransportError as error:
            raise TransientError(f"Google Sheets cannot be reached ({type(error).__name__}).") from None

    def _backoff(self) -> float:
        return min(2.0 ** min(self._throttled, 6), LONGEST_BACKOFF_SECONDS) + random.random()  # noqa: S311 (jitter)

    def _error(self, response: httpx.Response) -> BookrelayError:
        status = response.status_code
        if status >= 500 or status == 408:
            return TransientError(f"Google Sheets returned {status}.")
        fixes = {
            400: f"Check that the worksheet {self._worksheet!r} exists (SHEETS_WORKSHEET).",
            401: "Check GOOGLE_CREDENTIALS_FILE: the service account may be disabled.",
            403: f"Share the spreadsheet with {self._account} as an editor, and enable the Google Sheets API.",
            404: "Check SHEETS_SPREADSHEET_ID: it is the long part of the spreadsheet's URL.",
        }
        code = Code.OAUTH_FAILED if status in (401, 403) else Code.VALIDATION
        return PausedError(f"Google Sheets returned {status} ({_message(response)}).", fixes.get(status, ""), code)

    async def _token(self, *, renew: bool = False) -> str:
        async with self._refreshing:
            if renew or not self._credentials.valid:
                try:
                    await asyncio.to_thread(self._credentials.refresh, partial(Request(), timeout=20))
                except google.auth.exceptions.RefreshError as error:
                    raise PausedError(
                        f"Google refuses the service account: {str(error.args[0])[:200]}.",
                        "Check GOOGLE_CREDENTIALS_FILE and this machine's clock.",
                        Code.OAUTH_FAILED,
                    ) from None
                except google.auth.exceptions.GoogleAuthError as error:
                    raise TransientError(f"Google's token endpoint cannot be reached ({type(error).__name__}).") from None
            return str(self._credentials.token)


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return "no reason given"
