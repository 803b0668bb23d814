"""Which errors are transient, whatever library raises them, and any error as one line for logs and health checks."""

from importlib.util import find_spec

import httpx
from aiokafka.errors import KafkaError

from bookrelay.causes import cause_of
from bookrelay.errors import BookrelayError, TransientError

TRANSIENT: tuple[type[BaseException], ...] = (KafkaError, TransientError, httpx.TransportError, OSError, TimeoutError)
UNMIGRATED: tuple[type[BaseException], ...] = ()
if find_spec("asyncpg"):  # the extra `db`: a service without tables is installed without it
    from bookrelay.db import TRANSIENT_POSTGRES, UNMIGRATED_POSTGRES

    TRANSIENT, UNMIGRATED = (*TRANSIENT_POSTGRES, *TRANSIENT), UNMIGRATED_POSTGRES


def brief(error: BaseException) -> str:
    """Return an error as one short line."""
    if isinstance(error, (OSError, KafkaError)):
        return cause_of(error).text
    text = error.sentence() if isinstance(error, BookrelayError) else f"{type(error).__name__}: {error}"
    short = text.splitlines()[0][:300]
    return f"{short} (run `bookrelay-deploy migrate`)" if isinstance(error, UNMIGRATED) else short
