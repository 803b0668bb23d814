"""Settings of the sheet watcher."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from bookrelay.errors import SettingsError
from bookrelay.settings import CommaSeparated, split_commas
from bookrelay.source.settings import SourceName, SourceSettings, ZoneName
from pydantic import Field, ValidationError, field_validator

from sheet_watcher.domain import Directions


class Settings(SourceSettings):
    """The settings of the sheet watcher. Each environment variable is the field's name in upper case."""

    sheets_spreadsheet_id: str = Field(min_length=1, description="The spreadsheet's id: the long part of its URL.")
    sheets_worksheet: str = Field(default="inv_tbl", min_length=1, description="The worksheet (tab) with the rows.")
    sheets_base_url: str = Field(
        default="https://sheets.googleapis.com", pattern=r"^https?://", description="Address of the Google Sheets API."
    )
    google_credentials_file: str = Field(min_length=1, description="JSON key file of the Google service account.")
    sheets_source: SourceName = Field(default="sheet", description="Name of this source in commands.")
    sheets_poll_seconds: float = Field(default=15, gt=0, description="Pause between polls of the sheet.")
    sheets_time_zone: ZoneName = Field(
        default="America/New_York", description="Time zone of the sheet, which determines the current day."
    )
    sheets_missing_seconds: float = Field(
        default=60, gt=0, description="How long a row must be missing from every read before its document is retracted."
    )
    sheets_retract_limit: int = Field(
        default=20, ge=0, description="If more rows than this disappear at once, nothing is retracted until the limit is raised."
    )
    sheets_requests_per_minute: int = Field(
        default=55, ge=1, le=300, description="Maximum reads, and writes, per minute; Google allows 60 of each."
    )
    sheets_timeout_seconds: float = Field(default=60, gt=0, description="Timeout of a request to Google.")
    qb_eligible_statuses: CommaSeparated = Field(
        default=("submitted", "pending"), min_length=1, description="Statuses whose rows become documents."
    )
    qb_directions_file: str | None = Field(
        default=None, description='JSON file {"money_in": [...], "money_out": [...], "aliases": {...}} for inv_from.'
    )

    _split = field_validator("qb_eligible_statuses", mode="before")(split_commas)

    @property
    def time_zone(self) -> ZoneInfo:
        """The sheet's time zone."""
        return ZoneInfo(self.sheets_time_zone)

    def directions(self) -> Directions:
        """Read the directions file; raise SettingsError if it is invalid."""
        example = 'Write {"money_in": ["ACD"], "money_out": ["VendorXYZ"]} into the file set in QB_DIRECTIONS_FILE.'
        if self.qb_directions_file is None:
            raise SettingsError("QB_DIRECTIONS_FILE is missing, so it is unknown which rows are money in or out.", example)
        content = read_json(self.qb_directions_file, "QB_DIRECTIONS_FILE")
        try:
            directions = Directions.model_validate(content)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the file"
            raise SettingsError(f"QB_DIRECTIONS_FILE is wrong at {where}: {error.errors()[0]['msg']}.", example) from None
        if problem := directions.problem():
            raise SettingsError(f"QB_DIRECTIONS_FILE is wrong: {problem}.", example)
        return directions

    def service_account(self) -> dict[str, Any]:
        """Read the service account's key file; raise SettingsError if it is invalid."""
        content = read_json(self.google_credentials_file, "GOOGLE_CREDENTIALS_FILE")
        lacking = {"client_email", "private_key", "token_uri"} - set(content if isinstance(content, dict) else ())
        if lacking:
            raise SettingsError(
                f"GOOGLE_CREDENTIALS_FILE lacks {', '.join(sorted(lacking))}.",
                "Download the service account's JSON key from the Google Cloud console.",
            )
        if "-----BEGIN" not in str(content["private_key"]):
            raise SettingsError(
                "GOOGLE_CREDENTIALS_FILE: its private_key is invalid.",
                "Download the service account's JSON key from the Google Cloud console, and do not edit the file.",
            )
        return dict(content)


def read_json(path: str, setting: str) -> Any:
    """Read a JSON file named by a setting; raise SettingsError."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{setting}: {path} cannot be read ({error.strerror}).", "Correct the path.") from None
    except ValueError:
        raise SettingsError(f"{setting}: {path} is not JSON.", "Correct the file.") from None
