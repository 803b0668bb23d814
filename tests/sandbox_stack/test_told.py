"""Who runs the stack is told when a process goes unasked, and not when it is stopped."""

import asyncio
import sys
from pathlib import Path

from sandbox.stack.processes import Supervisor

TALKER = "import sys, time; print('{\"here\": 1}', flush=True); time.sleep(600)"


async def test_a_killed_process_is_told_and_a_stopped_one_is_not(tmp_path: Path) -> None:
    supervisor, told = Supervisor(tmp_path), list[str]()
    supervisor.report = told.append
    try:
        process = await supervisor.start("talker", [sys.executable, "-c", TALKER], first_line=True)
        supervisor.kill("talker")
        async with asyncio.timeout(60):
            while not process.restarts:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await process.wait_ready()
    finally:
        await supervisor.stop_all()
    assert told == ["talker was ended by SIGKILL: restarting it"]


async def test_what_ends_with_everything_else_is_neither_told_nor_started_again(tmp_path: Path) -> None:
    supervisor, told = Supervisor(tmp_path), list[str]()
    supervisor.report = told.append
    try:
        process = await supervisor.start("talker", [sys.executable, "-c", TALKER], first_line=True)
        supervisor.expect_the_end()
        supervisor.kill("talker")
    finally:
        await supervisor.stop_all()
    assert (told, process.restarts, process.running) == ([], 0, False)
