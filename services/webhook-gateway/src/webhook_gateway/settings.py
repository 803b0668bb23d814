"""The gateway's settings."""

from typing import Annotated

from bookrelay.settings import ServiceSettings, split_commas
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

OWN_PATHS = ("/health/live", "/health/ready", "/metrics")


class Settings(ServiceSettings):
    """The settings of the gateway. It has no tables, so DATABASE_URL is not used."""

    database_url: SecretStr = Field(default=SecretStr(""), description="Not used by the gateway: it has no tables.")
    qbo_webhook_verifier_tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        min_length=1,
        description="Verifier tokens from Intuit's developer portal, comma separated; two during a rotation.",
    )
    webhook_path: str = Field(
        default="/webhooks/intuit", pattern=r"^/[A-Za-z0-9/_-]+$", description="Path of the endpoint that Intuit posts to."
    )
    webhook_max_bytes: int = Field(
        default=1_000_000, ge=1_000, le=100_000_000, description="Size limit of a delivery; a larger one gets 413."
    )
    webhook_deadline_seconds: float = Field(
        default=2.5, gt=0, lt=3, description="Respond with 503 after this time: Intuit waits 3 s and then counts a failure."
    )

    _split = field_validator("qbo_webhook_verifier_tokens", mode="before")(split_commas)

    @field_validator("webhook_path")
    @classmethod
    def _not_one_of_the_service(cls, path: str) -> str:
        if path.rstrip("/") in OWN_PATHS:  # the service would respond there itself, and no webhook would ever arrive
            raise ValueError(f"{path} is reserved by the service; use another path, like /webhooks/intuit")
        return path
