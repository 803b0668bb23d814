"""Splits a refused read about several texts in halves until the text that QuickBooks refuses is alone."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from qbo_writer.domain import LookupFailed

READS_MOST = 24  # one poison text among thirty costs eleven reads; if everything is refused, reading stops here
Found = TypeVar("Found")


async def in_halves(
    ask: Callable[[Sequence[str]], Awaitable[list[Found]]], texts: Sequence[str]
) -> tuple[list[Found], dict[str, LookupFailed]]:
    """Return what `ask` finds for these texts, and the failure of each text that could not be read.

    Only a definite refusal is split: it may be about one text. After silence nothing more is asked now.
    """
    found: list[Found] = []
    failed: dict[str, LookupFailed] = {}
    parts, reads = [list(texts)], 0
    while parts:
        part, reads = parts.pop(0), reads + 1
        try:
            found += await ask(part)
        except LookupFailed as error:
            if not error.definite:
                failed |= dict.fromkeys((text for rest in (part, *parts) for text in rest), error)
                return found, failed
            if len(part) == 1 or reads + len(parts) + 2 > READS_MOST:
                failed |= dict.fromkeys(part, error)
            else:
                parts += [part[: len(part) // 2], part[len(part) // 2 :]]
    return found, failed
