"""Limits of messages and their parts, defined once: the models enforce them, the schemas document them, producers check them
before publishing. Exceeding one affects a single document, which is dead-lettered or parked; the others continue."""

from datetime import date

# A record: key, value and headers. Brokers accept 1,048,588 bytes by default (max.message.bytes), including framing.
RECORD_BYTES = 1_000_000
TOPIC_BYTES = 1_048_588
FRAMING_BYTES = 100  # around one record: lengths, offsets, the batch's header
LETTER_HEADER_BYTES = 20_000  # of a dead letter's original headers, all together; if they are larger, they are dropped
LETTER_BYTES = 900_000  # of the value that a dead letter keeps; a longer one is truncated, with SHA-256 and size in the headers

# The business key of a document. Postgres indexes rows of at most 2,704 bytes, and a character has up to four.
REALM = SOURCE = 100
SOURCE_KEY = 400
IDENTIFIER = 1000  # any other

NAME = 500  # QuickBooks: a full name, "Parent:Child"
TEXT = DESCRIPTION = 4000  # QuickBooks: the description of a line
MEMO = 2000
EMAIL = 100
SHORT = 100  # codes, numbers, tokens of QuickBooks'
URL = 2000
LINES = 750  # QuickBooks: lines of one document
CUSTOM_FIELDS = 50

SHOWN = 500  # one side of a difference, as a person sees it
DIFFERENCES = 100

LARGEST_VERSION = 9 * 10**18  # Postgres' bigint ends at 9.22e18, so there is room to count further
LARGEST_COUNT = 2_000_000_000  # Postgres' integer
DIGITS = 28  # of a quantity, before and after the decimal point, zeros included

EARLIEST, LATEST = date(1900, 1, 1), date(2199, 12, 31)  # of every date and time


def record_bytes(key: bytes | None, value: bytes | None, headers: dict[str, str]) -> int:
    """Return how many bytes of a broker's limit a record uses."""
    named = sum(len(name.encode()) + len(text) + 10 for name, text in headers.items())
    return len(key or b"") + len(value or b"") + named + FRAMING_BYTES
