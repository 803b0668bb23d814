"""All stores of the ledger. Any writer may record; everything else is one transaction under the locked lease row."""

from bookrelay.db import Pool

from qbo_writer.ledger.attempts import Attempts
from qbo_writer.ledger.commands import Commands
from qbo_writer.ledger.commits import Commits, Learns
from qbo_writer.ledger.dependents import Dependents
from qbo_writer.ledger.feed import Feed
from qbo_writer.ledger.merges import Merges
from qbo_writer.ledger.realms import Realms
from qbo_writer.ledger.sweeps import Sweeps
from qbo_writer.ledger.work import Work


class Ledger:
    """The writer's inbox and state."""

    def __init__(self, pool: Pool, learner: Learns | None = None) -> None:
        self.commands = Commands(pool)
        self.attempts = Attempts(pool)
        self.commits = Commits(pool, learner)
        self.dependents = Dependents(pool)
        self.feed = Feed(pool, learner)
        self.sweeps = Sweeps(pool)
        self.realms = Realms(pool)
        self.merges = Merges(pool)
        self.work = Work(pool)
