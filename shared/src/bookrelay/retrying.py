"""A piece of work that is tried again with growing waits, by tenacity. ADR 17 says which loops are no such thing, and stay.

Not for hot paths: 70 µs for each call, also where nothing fails.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_any,
    stop_before_delay,
    wait_exponential,
)

T = TypeVar("T")


async def retrying(
    work: Callable[[], Awaitable[T]],
    *,
    passes: Callable[[Exception], bool],
    failed: Callable[[Exception], Awaitable[None]],
    first: float,
    most: float,
    tries: float = float("inf"),
    seconds: float = float("inf"),
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Return what `work` returns, tried again while `passes` says so of its error; `failed` is called before each wait.

    Waits `first` seconds, then twice as long each time, at most `most`. After so many `tries`, or where the next one would begin
    later than `seconds` after the first, the last error is raised.
    """

    async def once() -> T:  # tenacity awaits what is declared `async` only, and `work` may be a lambda
        return await work()

    async def told(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, Exception)
        await failed(error)

    again = AsyncRetrying(
        # A cancellation is no failure; tenacity catches it, too.
        retry=retry_if_exception(lambda error: isinstance(error, Exception) and passes(error)),
        wait=wait_exponential(first, max=most),
        stop=stop_any(stop_after_attempt(tries), stop_before_delay(seconds)),  # type: ignore[arg-type]
        before_sleep=told,
        sleep=sleep,
        reraise=True,
    )
    result: T = await again(once)
    return result
