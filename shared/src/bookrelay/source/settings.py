"""The settings that every source has. A service whose settings are `SourceSettings` is a source: AsyncAPI says so, too."""

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
"""How a source is called in commands: part of each document's identity."""


class SourceSettings(ServiceSettings):
    """What every source needs: one source serves one company."""

    of_others: ClassVar[frozenset[str]] = frozenset({"QBO_REALM_IDS"})

    qbo_realm_id: RealmId = Field(description="The QuickBooks company (realm) that the source's documents belong to.")
