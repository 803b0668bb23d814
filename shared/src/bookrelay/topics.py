"""Every Kafka topic, declared once: name, message types, and how it is provisioned."""

from dataclasses import dataclass

from bookrelay import limits, messages

PARTITIONS = 6
DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class Topic:
    """A topic. `carries` are its message types; retention is in milliseconds, -1 for ever."""

    name: str
    carries: tuple[type[messages.AnyMessage], ...]
    description: str
    partitions: int = PARTITIONS
    retention_ms: int = 90 * DAY_MS

    def dead_letters(self, group: str) -> "Topic":
        """Return the dead-letter topic of a consumer group: `<topic>.<group>.dlt`."""
        return Topic(
            f"{self.name}.{group}.dlt",
            self.carries,
            f"Records of {self.name} that {group} could not handle, unchanged.",
            1,
            365 * DAY_MS,
        )

    def config(self) -> dict[str, str]:
        """Return the topic's Kafka settings."""
        return {
            "retention.ms": str(self.retention_ms),
            "cleanup.policy": "delete",
            "min.insync.replicas": "1",
            "max.message.bytes": str(limits.TOPIC_BYTES),
        }


COMMANDS = Topic("billing.commands.v1", messages.COMMANDS, "Desired state of documents in the books.", retention_ms=365 * DAY_MS)
EVENTS = Topic("billing.events.v1", messages.EVENTS, "The outcome of each command.", retention_ms=365 * DAY_MS)
WEBHOOKS = Topic("intuit.webhooks.v1", messages.NOTIFICATIONS, "Intuit's notifications, verified, one record for each entity.")
CHANGES = Topic("books.changes.v1", messages.CHANGES, "Changes in the books, read back from QuickBooks.")

TOPICS = (COMMANDS, EVENTS, WEBHOOKS, CHANGES)

# Consumer groups: one for each (service, topic) pair that reads.
WRITER_GROUP = "qbo-writer"
# A separate group: two subscriptions in one group would trigger each other's rebalance at every start.
WRITER_NOTICES_GROUP = "qbo-writer-notices"
SHEET_GROUP = "sheet-watcher"
SUBSCRIPTIONS: tuple[tuple[Topic, str], ...] = (
    (COMMANDS, WRITER_GROUP),
    (EVENTS, SHEET_GROUP),
    (WEBHOOKS, WRITER_NOTICES_GROUP),
)

# Who publishes what. Not listed: the sources, which all publish commands and rejection events, redriven dead letters, and the
# dead-letter topics.
GATEWAY = "webhook-gateway"
PUBLICATIONS: tuple[tuple[Topic, str], ...] = (
    (EVENTS, WRITER_GROUP),
    (CHANGES, WRITER_GROUP),
    (WEBHOOKS, GATEWAY),
)

# Who has a dead-letter topic: every consumer group, and the gateway, for individual records of a delivery that it cannot read.
DEAD_LETTERS: tuple[tuple[Topic, str], ...] = (*SUBSCRIPTIONS, (WEBHOOKS, GATEWAY))


def all_topics() -> tuple[Topic, ...]:
    """Return every topic that must exist before a service starts, dead-letter topics included."""
    return TOPICS + tuple(topic.dead_letters(group) for topic, group in DEAD_LETTERS)
