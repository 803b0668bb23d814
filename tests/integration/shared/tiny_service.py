"""A service as small as one can be, for the tests of a service's life: one loop that counts its steps."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bookrelay import service, telemetry
from bookrelay.errors import TransientError
from bookrelay.kafka import Received, consume
from bookrelay.service import Service
from bookrelay.settings import ServiceSettings
from bookrelay.topics import EVENTS

log = telemetry.get_logger(__name__)


def build_app() -> Service:
    """Return the service. TINY says how it shall go wrong."""
    how = os.environ.get("TINY", "")

    async def prepare(app: Service) -> None:
        steps = 0

        async def step() -> float:
            nonlocal steps
            steps += 1
            log.info("step.begun", number=steps)
            if how == "slow":
                await asyncio.sleep(1.5)
            if how == "broken":
                raise RuntimeError("a bug")
            if how == "hanging":
                await asyncio.Event().wait()
            await app.pool.fetchval("SELECT 1")
            log.info("step.done", number=steps)
            return 0.05

        app.add_loop("counting", step, stall_seconds=0.5 if how == "hanging" else 300)

        async def cleanup() -> None:
            log.info("cleaned.up")

        app.add_cleanup(cleanup)

        async def received(records: Sequence[Received[Any]]) -> None:
            """While the file that TINY_FAILS_AT names is there, fail at the document whose key stands in it."""
            if _locked() in [record.message.data.source_key for record in records]:
                raise TransientError("the books are locked.", "Unlock them.")
            log.info("records.received", records=len(records), keys=[record.message.data.source_key for record in records])

        if how == "consuming":
            consume(app.broker, EVENTS, "tiny", received, app.publisher)

    return Service("tiny", ServiceSettings.load(), prepare)


def _locked() -> str | None:
    file = Path(os.environ.get("TINY_FAILS_AT", "/nowhere"))
    return file.read_text() if file.exists() else None


def main() -> None:
    """Run it."""
    service.main("tiny", build_app)
