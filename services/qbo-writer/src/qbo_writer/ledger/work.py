"""One look for all companies of a process: which of them have something to do now. Reads by indexes, a row for each of these."""

from datetime import datetime

from bookrelay.db import Pool
from bookrelay.messages import Priority

COMMIT_SECONDS = 30.0  # so long a transaction may take that tells a company's row something

# Companies with rows of a kind, by skipping along a partial index from one company to the next.
_SKIPPING = """
{name}(realm) AS (
  (SELECT realm FROM qbo_writer.{table} WHERE {which} ORDER BY realm LIMIT 1)
  UNION ALL
  SELECT (SELECT t.realm FROM qbo_writer.{table} t WHERE {which} AND t.realm > {name}.realm ORDER BY t.realm LIMIT 1)
  FROM {name} WHERE {name}.realm IS NOT NULL)"""


def _skipping(**kinds: str) -> str:
    return ",".join(_SKIPPING.format(name=name, table=_TABLES[name], which=which) for name, which in kinds.items())


_TABLES = {"due": "commands", "waiting": "commands", "unresolved": "attempts"}
# The first of each priority, by the index that claims: a backlog is not read.
_FIRST_DUE = (
    f"SELECT 1 FROM generate_series(0, {len(Priority) - 1}) AS p(priority) CROSS JOIN LATERAL (SELECT c.due_at "  # noqa: S608
    "FROM qbo_writer.commands c WHERE c.realm = due.realm AND c.state = 'due' AND c.priority = p.priority "
    "ORDER BY c.due_at LIMIT 1) first WHERE first.due_at <= clock_timestamp()"
)
_LOOK = f"""
WITH RECURSIVE {_skipping(due="state = 'due'", waiting="state = 'waiting'", unresolved="state <> 'resolved'")}
SELECT realm, NULL::timestamptz AS told_at FROM due WHERE EXISTS ({_FIRST_DUE})
UNION ALL SELECT w.realm, NULL FROM waiting w WHERE EXISTS (SELECT 1 FROM qbo_writer.commands c
  WHERE c.realm = w.realm AND c.state = 'waiting' AND c.due_at <= clock_timestamp())
UNION ALL SELECT u.realm, NULL FROM unresolved u WHERE EXISTS (SELECT 1 FROM qbo_writer.attempts a
  WHERE a.realm = u.realm AND a.state <> 'resolved' AND a.due_at <= clock_timestamp())
UNION ALL SELECT realm, told_at FROM qbo_writer.realms WHERE told_at > clock_timestamp() - make_interval(secs => $1)
"""  # noqa: S608

# The first of each by its partial index. In EXISTS, Postgres ignores the order, and reads a backlog.
_UNFINISHED = """
SELECT COALESCE(
  (SELECT true FROM qbo_writer.attempts WHERE realm = $1 AND state <> 'resolved' ORDER BY due_at LIMIT 1),
  (SELECT true FROM qbo_writer.commands WHERE realm = $1 AND state = 'due' ORDER BY priority, due_at LIMIT 1),
  (SELECT true FROM qbo_writer.commands WHERE realm = $1 AND state IN ('waiting', 'received') ORDER BY state, due_at LIMIT 1),
  false)
"""


class Work:
    """Which companies have something to do."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def look(self, seconds: float) -> tuple[set[str], dict[str, datetime]]:
        """Return the companies with something due now, and those whose row was changed lately for its holder to see, and when.

        `seconds`: how long ago the look before was.
        """
        rows = await self._pool.fetch(_LOOK, seconds + COMMIT_SECONDS)
        work = {row["realm"] for row in rows if row["told_at"] is None and row["realm"]}
        return work, {row["realm"]: row["told_at"] for row in rows if row["told_at"] is not None}

    async def is_unfinished(self, realm: str) -> bool:
        """Return whether a company has a command or an attempt that is not at its end."""
        found: bool = await self._pool.fetchval(_UNFINISHED, realm)
        return found
