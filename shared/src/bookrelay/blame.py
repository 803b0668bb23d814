"""Whose fault an error is. The record's: it can never be handled as it is. The surroundings': it can be, later.

By the exception's class alone. An outage, a full disk or missing rights of a database are never a record's fault.
"""

import traceback
from decimal import DecimalException
from importlib.util import find_spec

import httpx
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from bookrelay.errors import PermanentError, TransientError

_OF_RECORD: tuple[type[BaseException], ...] = (
    PermanentError, ValidationError, UnicodeError, OverflowError, RecursionError, DecimalException,
)  # fmt: skip
_OF_SURROUNDINGS: tuple[type[BaseException], ...] = (
    TransientError, KafkaError, httpx.TransportError, OSError, TimeoutError, MemoryError,
)  # fmt: skip
_REFUSED_BY_POSTGRES: tuple[type[BaseException], ...] = ()
_TELLING: tuple[type[BaseException], ...] = ()
# Where pydantic's own words repeat what they found: a type of somebody's own, a sign of an id.
_WITHOUT_CONTENT = {
    "union_tag_invalid": "The type is not one that this topic carries",
    "uuid_parsing": "It is not a UUID",
}

if find_spec("asyncpg"):  # the extra `db`: a service without tables is installed without it
    import asyncpg

    _TELLING = (asyncpg.ProgramLimitExceededError,)  # "index row size 3040 exceeds ...": sizes and names of ours, no content
    _REFUSED_BY_POSTGRES = (
        asyncpg.DataError,  # class 22: characters, numbers and dates that it cannot hold; its client's checks, too
        asyncpg.NotNullViolationError,
        asyncpg.CheckViolationError,
        *_TELLING,
    )
    _OF_RECORD += _REFUSED_BY_POSTGRES
    _OF_SURROUNDINGS += (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def of_record(error: BaseException) -> bool:
    """Whether the record itself is the cause, so that trying again is useless."""
    return isinstance(error, _OF_RECORD)


def of_surroundings(error: BaseException) -> bool:
    """Whether the record is innocent. What is neither is a defect of ours, which one record or all of them may show."""
    return isinstance(error, _OF_SURROUNDINGS) and not of_record(error)


def reason(error: BaseException) -> str:
    """Say what is wrong with a record, for an operator, without repeating its content."""
    if isinstance(error, PermanentError):
        return error.sentence()
    if isinstance(error, ValidationError):
        return describe(error)
    name = type(error).__name__.removesuffix("Error")
    if isinstance(error, _TELLING):
        return f"Postgres cannot store it: {error}"
    if isinstance(error, _REFUSED_BY_POSTGRES):
        return f"Postgres cannot store it ({name}): a character, number or date that it does not take."
    return f"It cannot be handled ({name}): look for message.failed in the log."


def where(error: BaseException) -> str:
    """Say where an error arose, for developers: the last functions and lines, and nothing of what they worked on."""
    return " > ".join(f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:])


def describe(error: ValidationError) -> str:
    """Say what is wrong with a message without repeating its content."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    counted = "1 error" if error.error_count() == 1 else f"{error.error_count()} errors"
    return f"{counted}; first at {where[:200] or 'the message'}: {_WITHOUT_CONTENT.get(first['type'], first['msg'])}"
