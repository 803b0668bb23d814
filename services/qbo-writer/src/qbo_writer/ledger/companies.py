"""What companies are, as it is kept across restarts: plan and preferences, as QuickBooks showed them."""

from dataclasses import dataclass
from typing import Any

from bookrelay.db import Pool


@dataclass(frozen=True)
class KeptCompany:
    """What is kept of a company (nothing: an empty `company`), and for how many seconds."""

    company: dict[str, Any]
    age: float | None


class CompanyRows:
    """Reads and writes `realms.company`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, realm: str) -> KeptCompany | None:
        """Return what is kept; None where the company has no row."""
        row = await self._pool.fetchrow(
            "SELECT company, extract(epoch FROM now() - (company->>'read_at')::timestamptz)::float8 AS age "
            "FROM qbo_writer.realms WHERE realm = $1",
            realm,
        )
        return KeptCompany(**row) if row is not None else None

    async def keep(self, realm: str, company: dict[str, Any]) -> None:
        """Keep what was read now."""
        await self._pool.execute(
            "INSERT INTO qbo_writer.realms AS r (realm, company) VALUES ($1, $2 || jsonb_build_object('read_at', now())) "
            "ON CONFLICT (realm) DO UPDATE SET company = r.company || excluded.company, updated_at = now()",
            realm,
            company,
        )
