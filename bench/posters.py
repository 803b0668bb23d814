"""Simpler posters for comparison: sequential, an unpaced pool of ten, and batches of thirty 1.5 s apart. No ledger, no requestid,
no lease: only how fast they are and how often they are refused."""

import asyncio
import json
import time
from typing import Any

import httpx

BATCH, PAUSE, POOL = 30, 1.5, 10


class Poster:
    """A client of one stand-in. `documents` and `refused` count what happened before `until`."""

    def __init__(self, greeting: dict[str, Any]) -> None:
        self.base = f"{greeting['base_url']}/v3/company/{greeting['realm_id']}"
        self.http = httpx.AsyncClient(
            timeout=130, trust_env=False, headers={"Authorization": f"Bearer {greeting['access_token']}"}
        )
        self.documents = self.refused = self.number = 0
        self.until = 0.0

    def body(self) -> dict[str, Any]:
        """The next invoice."""
        self.number += 1
        line = {"Amount": 150.25, "DetailType": "SalesItemLineDetail", "Description": "Procedure",
                "SalesItemLineDetail": {"ItemRef": {"value": "1"}}}  # fmt: skip
        return {"CustomerRef": {"value": "1"}, "DocNumber": f"N{self.number}", "TxnDate": "2026-06-01", "Line": [line]}

    async def one(self) -> None:
        """Post one invoice; a refused one is retried after a second."""
        body = self.body()
        while time.monotonic() < self.until:
            answer = await self.http.post(f"{self.base}/invoice?minorversion=75", json=body)
            if answer.status_code == 429:
                self.refused += 1
                await asyncio.sleep(1)
                continue
            self._count(int(answer.status_code == 200))
            return

    def _count(self, documents: int) -> None:
        if time.monotonic() < self.until:
            self.documents += documents

    async def sequential(self, seconds: float) -> None:
        """One after another."""
        self.until = time.monotonic() + seconds
        while time.monotonic() < self.until:
            await self.one()

    async def pool(self, seconds: float) -> None:
        """Ten at a time, without a pace."""
        self.until = time.monotonic() + seconds

        async def work() -> None:
            while time.monotonic() < self.until:
                await self.one()

        await asyncio.gather(*(work() for _ in range(POOL)))

    async def paced_batches(self, seconds: float) -> None:
        """4d.qbo's pacing: a batch of queries by number, then one of thirty creates, 1.5 s apart; 60 s after a 429."""
        self.until = time.monotonic() + seconds
        while time.monotonic() < self.until:
            bodies = [self.body() for _ in range(BATCH)]
            queries = [
                {"bId": str(i), "Query": f"select * from Invoice where DocNumber = '{body['DocNumber']}'"}
                for i, body in enumerate(bodies)
            ]
            await self._batch(queries)
            await asyncio.sleep(PAUSE)
            creates = [{"bId": str(i), "operation": "create", "Invoice": body} for i, body in enumerate(bodies)]
            replies = await self._batch(creates)
            self._count(sum("Invoice" in reply for reply in replies))
            await asyncio.sleep(PAUSE)

    async def _batch(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        while time.monotonic() < self.until:
            answer = await self.http.post(f"{self.base}/batch?minorversion=75", json={"BatchItemRequest": items})
            if answer.status_code != 429:
                return list(json.loads(answer.text).get("BatchItemResponse", []))
            self.refused += 1
            await asyncio.sleep(60)
        return []
