"""Drive's change hints: a file's version and modification time, and channels that are notified of changes."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Spreadsheet
from sandbox.standin import Clock

LIFE_SECONDS = 86_400


def stamp(moment: datetime) -> str:
    """Drive's time: milliseconds and a Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@dataclass
class Channel:
    """A subscriber to changes."""

    id: str
    file: str
    resource: str
    address: str
    token: str | None
    expires: float
    sent: int = 0


@dataclass
class Drive:
    """Files as Drive sees them."""

    clock: Clock
    books: dict[str, Spreadsheet]
    channels: dict[str, Channel] = field(default_factory=dict)
    modified: dict[str, datetime] = field(default_factory=dict)
    _sending: set[asyncio.Task[None]] = field(default_factory=set)

    def changed(self, book: Spreadsheet) -> None:
        """Count a change, and notify the channels."""
        book.version += 1
        self.modified[book.id] = self.clock.now()
        for channel in list(self.channels.values()):
            if channel.file == book.id:
                self._tell(channel, "update")

    def file(self, book: Spreadsheet) -> dict[str, Any]:
        """The file resource."""
        return {
            "kind": "drive#file",
            "id": book.id,
            "name": book.title,
            "mimeType": "application/vnd.google-apps.spreadsheet",
            "version": str(book.version),
            "modifiedTime": stamp(self.modified.setdefault(book.id, self.clock.now())),
            "createdTime": stamp(self.modified[book.id]),
            "trashed": False,
        }

    def watch(self, book: Spreadsheet, body: dict[str, Any], origin: Callable[[], str]) -> dict[str, Any]:
        """Open a channel; it gets a `sync` immediately. Plain http is accepted only for this machine."""
        if not body.get("id") or body.get("type") != "web_hook":
            raise SheetsError("Required: id, and type web_hook", 400, "INVALID_ARGUMENT")
        if body["id"] in self.channels:
            raise SheetsError(f"Channel id {body['id']} not unique", 400, "INVALID_ARGUMENT")
        address = str(body.get("address", ""))
        if not address.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise SheetsError(f"WebHook callback must be HTTPS: {address}", 400, "INVALID_ARGUMENT")
        now = self.clock.now().timestamp()
        expires = min(int(body["expiration"]) / 1000, now + LIFE_SECONDS) if "expiration" in body else now + 3600
        channel = Channel(body["id"], book.id, uuid.uuid4().hex, address, body.get("token"), expires)
        self.channels[channel.id] = channel
        self._tell(channel, "sync")
        answer = {
            "kind": "api#channel",
            "id": channel.id,
            "resourceId": channel.resource,
            "resourceUri": f"{origin()}/drive/v3/files/{book.id}?alt=json",
            "expiration": str(int(expires * 1000)),
        }
        return answer | ({"token": channel.token} if channel.token else {})

    def stop(self, body: dict[str, Any]) -> None:
        """Close a channel."""
        channel = self.channels.get(body.get("id", ""))
        if channel is None or channel.resource != body.get("resourceId"):
            raise SheetsError(f"Channel '{body.get('id')}' not found for project", 404, "NOT_FOUND")
        del self.channels[channel.id]

    def _tell(self, channel: Channel, state: str) -> None:
        if channel.expires < self.clock.now().timestamp():
            self.channels.pop(channel.id, None)
            return
        channel.sent += 1
        headers = {
            "X-Goog-Channel-ID": channel.id,
            "X-Goog-Message-Number": str(channel.sent),
            "X-Goog-Resource-ID": channel.resource,
            "X-Goog-Resource-State": state,
            "X-Goog-Resource-URI": f"https://www.googleapis.com/drive/v3/files/{channel.file}?alt=json",
        }
        if channel.token:
            headers["X-Goog-Channel-Token"] = channel.token
        if state == "update":
            headers["X-Goog-Changed"] = "content"
        task = asyncio.get_running_loop().create_task(_post(channel.address, headers))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)


async def _post(address: str, headers: dict[str, str]) -> None:
    with contextlib.suppress(httpx.HTTPError):  # a notification is only a hint and is not repeated here
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            await client.post(address, headers=headers, content=b"")
