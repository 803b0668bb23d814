"""All settings of the qbo-writer: built once in `main`, passed down. Waits are named by the posting protocol's letters."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from bookrelay.errors import Code, SettingsError
from bookrelay.settings import RealmId, ServiceSettings, split_commas
from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

API = {"sandbox": "https://sandbox-quickbooks.api.intuit.com", "production": "https://quickbooks.api.intuit.com"}
UI = {"sandbox": "https://app.sandbox.qbo.intuit.com", "production": "https://app.qbo.intuit.com"}
MAKE_A_KEY = 'generate one: python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


class Settings(ServiceSettings):
    """The writer's settings: companies, Intuit's addresses and credentials, policy, lease, waits, pace."""

    # Companies
    qbo_realm_ids: Annotated[tuple[RealmId, ...], NoDecode] = Field(
        default=(), description="Companies (realm ids) that this writer serves, comma-separated."
    )
    qbo_realm_id: RealmId | None = Field(default=None, description="A single company, instead of QBO_REALM_IDS.")
    qbo_environment: Literal["sandbox", "production"] = Field(default="sandbox", description="The QuickBooks environment.")
    company_policy_file: Path | None = Field(default=None, description="TOML file or directory; see docs/company-policy.md.")
    policy_check_seconds: float = Field(default=2, gt=0, description="How often to check whether the policy has changed.")
    qb_sync_mode: Literal["invoice_only", "dual"] = Field(default="dual", description="invoice_only skips purchase documents.")
    qb_auto_mark_bill_paid: bool = Field(default=False, description="Pay each posted bill with its own bill payment.")
    qbo_default_item_id: str | None = Field(default=None, description="Item (id or name) for lines without a mapping.")
    qb_default_expense_account: str | None = Field(default=None, description="Account (id or name) for unmapped bill lines.")
    qb_default_vendor_account: str | None = Field(default=None, description="Accounts-payable account (id or name) for bills.")
    qb_default_bank_account: str | None = Field(default=None, description="Bank account (id or name) from which bills are paid.")

    # Intuit's addresses
    qbo_base_url: str = Field(default="", description="API host; empty: the one of QBO_ENVIRONMENT.")
    qbo_ui_url: str = Field(default="", description="Host of links to documents; empty: the one of QBO_ENVIRONMENT.")
    qbo_authorize_url: str = Field(default="https://appcenter.intuit.com/connect/oauth2", description="Intuit's consent page.")
    qbo_token_url: str = Field(
        default="https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer", description="Intuit's token endpoint."
    )
    qbo_revoke_url: str = Field(
        default="https://developer.api.intuit.com/v2/oauth2/tokens/revoke", description="Intuit's revoke endpoint."
    )

    # OAuth
    qbo_client_id: str = Field(default="", description="The app's client id.")
    qbo_client_secret: SecretStr = Field(default=SecretStr(""), description="The app's client secret.")
    qbo_redirect_uri: str = Field(default="http://localhost:8765/callback", description="As registered in the app.")
    qbo_token_encryption_keys: SecretStr = Field(
        default=SecretStr(""), description="Fernet keys for tokens at rest, comma-separated; the first encrypts."
    )
    qbo_initial_refresh_token: SecretStr | None = Field(
        default=None, description="Initial refresh token; used once, if the single company has no tokens yet."
    )
    token_refresh_before_seconds: float = Field(default=300, gt=0, description="Refresh when less life than this is left.")
    token_warn_days: float = Field(default=14, gt=0, description="Warn this many days before a refresh token expires.")
    qbo_oauth_timeout_seconds: float = Field(default=20, gt=0, description="Time-out of a call to Intuit's token endpoint.")

    # Requests
    qbo_request_timeout_seconds: float = Field(
        default=125, gt=0, description="Time-out of a request; Intuit ends its own at 120 s."
    )
    qbo_connect_timeout_seconds: float = Field(default=10, gt=0, description="Time-out of the connection to QuickBooks.")

    # Lease
    lease_seconds: float = Field(default=10, gt=0, description="Lifetime of a company's lease.")
    lease_renew_seconds: float = Field(default=3, gt=0, description="How often the lease is renewed.")

    # The protocol's waits
    protocol_transit_seconds: float = Field(default=150, ge=0, description="X: the longest time from sending to effect.")
    protocol_staleness_seconds: float = Field(default=120, ge=0, description="S: the age from which look-ups show a document.")
    protocol_resend_window_seconds: float = Field(default=7200, ge=0, description="W: resend window if requestid is unproven.")
    protocol_resend_window_proven_seconds: float = Field(default=1800, ge=0, description="W if requestid is proven.")
    protocol_requestid_memory_seconds: float = Field(
        default=7200, ge=0, description="T: the age up to which the probe tests that QuickBooks remembers a requestid."
    )
    protocol_token_life_seconds: float = Field(default=3600, ge=0, description="B: the longest life of an access token.")

    # Pace
    pace_requests_per_minute: int = Field(default=500, ge=1, description="Requests per minute for each company.")
    pace_requests_per_second: int = Field(default=10, ge=1, description="Requests per second for each company.")
    pace_in_flight: int = Field(default=10, ge=1, description="Requests in flight for each company.")
    pace_batches_per_minute: int = Field(default=40, ge=0, description="Batch calls per minute for each company.")
    pace_batch_items: int = Field(default=30, ge=1, le=30, description="Items in a batch.")
    pace_margin_seconds: float = Field(default=0.2, ge=0, description="Margin for requests that bunch on the way.")
    pace_throttle_wait_seconds: float = Field(default=60, ge=0, description="How long a 429 pauses the company.")
    pace_persist_seconds: float = Field(default=5, ge=0, description="The greatest age of the stored pacing state.")
    pace_landing_seconds: float = Field(default=0.05, ge=0, description="How long a finished request still counts as in flight.")
    batch_threshold: int = Field(default=30, ge=1, description="Backlog size from which batches are used.")

    metrics_per_company: int = Field(
        default=100,
        ge=0,
        description="How many companies, the first of QBO_REALM_IDS, have metrics of their own; the others share.",
    )
    unserved_seconds: float = Field(
        default=60, gt=0, description="How long commands may wait for a company without a writer before that is published."
    )
    report_seconds: float = Field(default=5, gt=0, description="How often problems that need attention are checked.")

    # Feed, references, probe
    feed_seconds: float = Field(default=900, gt=0, description="How often the change feed is read.")
    feed_reads_per_run: int = Field(
        default=20, ge=1, description="Pages of 1,000 that one run reads if more changed than the change feed shows."
    )
    sweep_seconds: float = Field(default=86400, gt=0, description="How often the daily sweep runs.")
    log_keep_days: int = Field(default=400, ge=1, description="Age in days at which entries of the attempts log are pruned.")
    attempts_keep_days: int = Field(
        default=90, ge=1, description="Age in days at which ended attempts and their bodies are pruned; the log keeps the facts."
    )
    probe_seconds: float = Field(default=86400, gt=0, description="How often requestid is probed again.")
    references_max_age_seconds: float = Field(default=86400, gt=0, description="Age at which cached list entries are read again.")

    @field_validator("qbo_realm_ids", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        parts = split_commas(value)
        return tuple(dict.fromkeys(parts)) if isinstance(parts, tuple) else parts

    @field_validator("qbo_base_url", "qbo_ui_url", "qbo_authorize_url", "qbo_token_url", "qbo_revoke_url", "qbo_redirect_uri")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("an address must start with https:// (or http://)")
        return value

    @field_validator("qbo_base_url", "qbo_ui_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("qbo_token_encryption_keys")
    @classmethod
    def _fernet(cls, value: SecretStr) -> SecretStr:
        for number, key in enumerate(value.get_secret_value().split(","), 1):
            try:
                if value.get_secret_value():
                    Fernet(key.strip())
            except ValueError:  # the text may be an almost correct key: it is not repeated
                raise ValueError(f"key {number} is not a Fernet key (44 characters of base64); {MAKE_A_KEY}") from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _single_realm(cls, data: Any) -> Any:
        if isinstance(data, dict):
            single = data.get("qbo_realm_id") or data.get("QBO_REALM_ID")
            if single and not (data.get("qbo_realm_ids") or data.get("QBO_REALM_IDS")):
                data = {**data, "qbo_realm_ids": str(single)}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.lease_renew_seconds >= self.lease_seconds:
            raise ValueError("LEASE_RENEW_SECONDS must be less than LEASE_SECONDS")
        return self

    def require_companies(self) -> None:
        """Raise SettingsError unless there is a company to serve, with all settings of its connection. `auth` needs less."""
        needed = {
            "QBO_REALM_ID (or QBO_REALM_IDS)": bool(self.qbo_realm_ids),
            "QBO_CLIENT_ID": bool(self.qbo_client_id),
            "QBO_CLIENT_SECRET": bool(self.qbo_client_secret.get_secret_value()),
            "QBO_TOKEN_ENCRYPTION_KEYS": bool(self.qbo_token_encryption_keys.get_secret_value()),
        }
        missing = [f"{name} is missing" for name, there in needed.items() if not there]
        if not needed["QBO_TOKEN_ENCRYPTION_KEYS"]:
            missing[-1] += f" ({MAKE_A_KEY})"
        if missing:
            raise SettingsError("; ".join(missing) + ".", "See .env.example.", Code.VALIDATION)

    @property
    def api_url(self) -> str:
        """Host of the Accounting API."""
        return self.qbo_base_url or API[self.qbo_environment]

    @property
    def ui_url(self) -> str:
        """Host of the links to documents."""
        return self.qbo_ui_url or UI[self.qbo_environment]
