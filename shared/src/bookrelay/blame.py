"""What an error is due to: the record, which can never be handled as it is, or the environment, where a retry may succeed.

Decided by the exception's class alone. An outage, a full disk or missing database privileges are never a record's fault.
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
_WITH_SAFE_TEXT: tuple[type[BaseException], ...] = ()
# Replaces pydantic's messages that quote the content: an unknown type, a character of an id.
_WITHOUT_CONTENT = {
    "union_tag_invalid": "This topic does not carry messages of this type",
    "uuid_parsing": "It is not a UUID",
}

if find_spec("asyncpg"):  # the extra `db`: a service without tables is installed without it
    import asyncpg

    _WITH_SAFE_TEXT = (
        asyncpg.ProgramLimitExceededError,
    )  # "index row size 3040 exceeds ...": sizes and our own names, no content
    _REFUSED_BY_POSTGRES = (
        asyncpg.DataError,  # class 22: characters, numbers and dates that it cannot store; also raised by the client's own checks
        asyncpg.NotNullViolationError,
        asyncpg.CheckViolationError,
        *_WITH_SAFE_TEXT,
    )
    _OF_RECORD += _REFUSED_BY_POSTGRES
    _OF_SURROUNDINGS += (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def of_record(error: BaseException) -> bool:
    """Whether the record itself is the cause, so that a retry is useless."""
    return isinstance(error, _OF_RECORD)


def of_surroundings(error: BaseException) -> bool:
    """Whether the environment is the cause. An error of neither kind is a bug of ours, triggered by one record or by all."""
    return isinstance(error, _OF_SURROUNDINGS) and not of_record(error)


def reason(error: BaseException) -> str:
    """Describe to an operator what is wrong with a record, without quoting its content."""
    if isinstance(error, PermanentError):
        return error.sentence()
    if isinstance(error, ValidationError):
        return describe(error)
    name = type(error).__name__.removesuffix("Error")
    if isinstance(error, _WITH_SAFE_TEXT):
        return f"Postgres cannot store it: {error}"
    if isinstance(error, _REFUSED_BY_POSTGRES):
        return f"Postgres cannot store it ({name}): it contains a character, number or date outside Postgres' range."
    return f"Handling it failed ({name}): see message.failed in the log."


def where(error: BaseException) -> str:
    """Return where an error was raised, for developers: the last functions and lines, without any data."""
    return " > ".join(f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:])


def describe(error: ValidationError) -> str:
    """Describe what is wrong with a message, without quoting its content."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    counted = "1 error" if error.error_count() == 1 else f"{error.error_count()} errors"
    return f"{counted}; first at {where[:200] or 'the message'}: {_WITHOUT_CONTENT.get(first['type'], first['msg'])}"
