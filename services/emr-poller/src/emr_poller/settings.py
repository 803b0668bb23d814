"""Settings of the EMR poller."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from bookrelay.source.settings import SourceName, SourceSettings, ZoneName
from pydantic import Field, SecretStr, field_validator


class Settings(SourceSettings):
    """The settings of the EMR poller. Each environment variable is the field's name in upper case."""

    emr_base_url: str = Field(
        default="https://api.4d-emr.com/api/public", pattern=r"^https?://", description="Address of the 4D EMR API."
    )
    emr_client_id: str = Field(min_length=1, description="client-id of the practice's integration in 4D.")
    emr_client_secret: SecretStr = Field(min_length=1, description="client-secret of the practice's integration in 4D.")
    emr_subscription_key: SecretStr | None = Field(default=None, description="subscription-key, if the API gateway requires one.")
    emr_source: SourceName = Field(default="4d-emr", description="Name of this source in commands.")
    emr_start_from: datetime | None = Field(
        default=None,
        description="First start only: read quotes modified since then, like 2026-01-01T00:00:00Z; default: the last 24 hours.",
    )
    emr_poll_seconds: float = Field(default=60, gt=0, description="Pause between two polls.")
    emr_overlap_seconds: float = Field(default=300, ge=0, description="How far before the cursor each poll starts.")
    emr_detail_concurrency: int = Field(default=4, ge=1, le=32, description="Quote details read concurrently.")
    emr_timeout_seconds: float = Field(default=30, gt=0, description="Timeout of a request.")
    emr_paused_seconds: float = Field(default=60, gt=0, description="Pause between polls while the EMR refuses access.")
    emr_retry_seconds: float = Field(default=60, gt=0, description="Pause before a parked quote is retried; doubles each time.")
    emr_time_zone: ZoneName = Field(
        default="America/New_York", description="The practice's time zone, which determines an invoice's date."
    )

    @field_validator("emr_client_id", "emr_client_secret", "emr_subscription_key")
    @classmethod
    def _fits_a_header(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value or ""
        if not (text.isascii() and text.isprintable() and " " not in text):
            raise ValueError("it contains a character that is invalid in HTTP headers, such as a blank; copy it again from 4D")
        return value

    @field_validator("emr_start_from")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @property
    def time_zone(self) -> ZoneInfo:
        """The practice's time zone."""
        return ZoneInfo(self.emr_time_zone)
