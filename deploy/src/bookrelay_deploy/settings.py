"""Settings of `bookrelay-deploy`: where Postgres and Kafka are, and how topics are configured."""

from bookrelay.errors import SettingsError
from bookrelay.settings import ServiceSettings
from pydantic import Field, SecretStr


class DeploySettings(ServiceSettings):
    """The settings of the deploy commands. DATABASE_URL may be absent for commands that use only Kafka."""

    database_url: SecretStr = Field(default=SecretStr(""), description="Postgres; its user must be allowed to create schemas.")
    deploy_wait_seconds: float = Field(
        default=60, gt=0, description="How long migrate and topics wait for Postgres or Kafka before giving up."
    )
    kafka_replication_factor: int = Field(
        default=1, ge=1, le=9, description="Replicas of each topic: 1 for a single broker, 3 in production."
    )
    kafka_min_insync_replicas: int = Field(
        default=0, ge=0, le=9, description="min.insync.replicas; 0: one less than the replication factor, at least 1."
    )

    def postgres_dsn(self) -> str:
        """Return the database's address; raise SettingsError if it is missing."""
        if not self.database_url.get_secret_value():
            raise SettingsError("DATABASE_URL is missing.", "Write postgresql://user:password@host:5432/name.")
        return super().postgres_dsn()

    def min_insync(self) -> int:
        """Return min.insync.replicas: two of three, so that one broker may fail without losing acknowledged records."""
        return self.kafka_min_insync_replicas or max(1, self.kafka_replication_factor - 1)
