"""Work that is tried again: what is raised in the end, and what is never taken for a failure."""

import asyncio
from collections.abc import Callable

import pytest
from bookrelay.retrying import retrying


class Work:
    """Fails with each of `errors`, then returns 7, or what it is given."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.calls = list(errors), 0
        self.told: list[Exception] = []
        self.waits = asyncio.Event()

    async def __call__(self, result: int = 7) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return result

    async def failed(self, error: Exception) -> None:
        self.told.append(error)
        self.waits.set()


def passing(error: Exception) -> bool:
    return isinstance(error, OSError)


async def test_it_is_tried_until_it_succeeds_and_each_failure_is_told() -> None:
    errors = [OSError(str(number)) for number in range(5)]
    waits: list[float] = []
    work = Work(*errors)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    assert await retrying(work, passes=passing, failed=work.failed, first=0.2, most=1.0, sleep=sleep) == 7
    assert work.told == errors
    assert waits == [0.2, 0.4, 0.8, 1.0, 1.0]


async def test_what_a_lambda_returns_is_awaited() -> None:
    """tenacity by itself would take the coroutine for the result."""
    work = Work(OSError())
    assert await retrying(lambda: work(8), passes=passing, failed=work.failed, first=0.001, most=0.001) == 8
    assert work.calls == 2


async def test_the_last_error_is_raised_when_the_tries_are_used_up() -> None:
    last = OSError("last")
    work = Work(OSError("first"), last)
    with pytest.raises(OSError) as raised:
        await retrying(work, passes=passing, failed=work.failed, first=0.001, most=0.001, tries=2)
    assert raised.value is last
    assert [str(error) for error in work.told] == ["first"]  # no wait follows the last one


@pytest.mark.parametrize("seconds", [0, 5])
async def test_no_try_begins_after_the_time(seconds: float) -> None:
    work = Work(OSError("first"))
    with pytest.raises(OSError, match="first"):
        await retrying(work, passes=passing, failed=work.failed, first=10, most=10, seconds=seconds)
    assert (work.calls, work.told) == (1, [])
    assert await retrying(work, passes=passing, failed=work.failed, first=0.001, most=0.001, seconds=3600) == 7


async def test_another_error_is_raised_at_once() -> None:
    work = Work(ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        await retrying(work, passes=passing, failed=work.failed, first=9, most=9)
    assert (work.calls, work.told) == (1, [])


@pytest.mark.parametrize("passes", [passing, lambda _: True])
async def test_a_cancellation_is_no_failure(passes: Callable[[Exception], bool]) -> None:
    work = Work(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await retrying(work, passes=passes, failed=work.failed, first=9, most=9)
    assert (work.calls, work.told) == (1, [])


async def test_a_wait_is_cancelled() -> None:
    work = Work(OSError())
    task = asyncio.create_task(retrying(work, passes=passing, failed=work.failed, first=3600, most=3600))
    async with asyncio.timeout(10):
        await work.waits.wait()
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
