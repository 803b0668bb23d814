"""Found by the crash points: one loop failed while another one's `wait_for` swallowed its cancellation; up and dead."""

import asyncio
import contextlib

import pytest
from bookrelay.service import Service
from bookrelay.settings import ServiceSettings

pytestmark = pytest.mark.kafka


async def test_a_loop_that_swallows_its_cancellation_does_not_keep_a_failed_service_up(kafka_bootstrap: str) -> None:
    settings = ServiceSettings.load(
        {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap}
    )
    waiting = asyncio.Event()

    async def prepare(app: Service) -> None:
        async def deaf() -> float:
            waiting.set()
            with contextlib.suppress(asyncio.CancelledError):  # as asyncio.wait_for does when its result is there already
                await asyncio.sleep(3600)
            return 0.01

        async def failing() -> float:
            await waiting.wait()
            raise RuntimeError("a bug")

        app.add_loop("deaf", deaf)
        app.add_loop("failing", failing)

    with pytest.raises(BaseExceptionGroup) as raised:
        await asyncio.wait_for(Service("tiny", settings, prepare, needs_database=False).run(), 60)
    assert raised.group_contains(RuntimeError, match="a bug")
