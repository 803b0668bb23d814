"""The settings of every source. A service whose settings are `SourceSettings` is a source, also in AsyncAPI."""

from typing import Annotated, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from bookrelay.settings import RealmId, ServiceSettings


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{value!r} is not a time zone; write it like America/New_York") from None
    return value


ZoneName = Annotated[str, AfterValidator(_known_zone)]
"""A time zone's name, as in the IANA database."""

SourceName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
"""A source's name in commands: part of each document's identity."""


class SourceSettings(ServiceSettings):
    """The settings of every source: one source serves one company."""

    of_others: ClassVar[frozenset[str]] = frozenset({"QBO_REALM_IDS"})

    qbo_realm_id: RealmId = Field(description="QuickBooks company (realm) of the source's documents.")
