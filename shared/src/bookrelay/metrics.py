"""Every Prometheus metric, declared once. Labels have a closed set of values: never a key, an id or a person's name.

A company (`realm`) is a label for METRICS_PER_COMPANY companies; all others are "other" together.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bookrelay.company_metrics import Companies, CompanyCounter, CompanyGauge, Together

REGISTRY = CollectorRegistry(auto_describe=True)
COMPANIES = Companies()

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str) -> Histogram:
    return Histogram(name, text, labels, registry=REGISTRY, buckets=_SECONDS)


def _company_counter(name: str, text: str, *labels: str) -> CompanyCounter:
    return CompanyCounter(_counter(name, text, "realm", *labels), COMPANIES)


def _company_gauge(together: Together, name: str, text: str, *labels: str) -> CompanyGauge:
    return CompanyGauge(_gauge(name, text, "realm", *labels), COMPANIES, together)


# Every service
SERVICE_INFO = _gauge("bookrelay_service_info", "1, with the service's name and version", "service", "version")
SERVICE_READY = _gauge("bookrelay_service_ready", "1 while the service is ready, else 0")
LOOP_LAST_SUCCESS = _gauge("bookrelay_loop_last_success_timestamp_seconds", "When a loop last finished a unit of work", "loop")
LOOP_FAILURES = _counter("bookrelay_loop_failures_total", "Failed units of work of a loop", "loop")
MESSAGES_PUBLISHED = _counter("bookrelay_messages_published_total", "Messages acknowledged by the broker", "topic")
MESSAGES_CONSUMED = _counter("bookrelay_messages_consumed_total", "Messages handled and acknowledged", "topic", "group")
MESSAGES_DEAD_LETTERED = _counter(
    "bookrelay_messages_dead_lettered_total", "Messages sent to a dead-letter topic", "topic", "group"
)
CONSUMER_OLDEST_AGE = _gauge(
    "bookrelay_consumer_oldest_age_seconds", "Age of the oldest record of the last batch", "topic", "group"
)
CONSUMER_RETRIES = _counter("bookrelay_consumer_retries_total", "Batches retried after a failure", "topic", "group")
CONSUMER_BLOCKED_OFFSET = _gauge(
    "bookrelay_consumer_blocked_offset", "Offset of the record that blocks a consumer; no series while none does",
    "topic", "group", "partition",
)  # fmt: skip
CONSUMER_BLOCKED_SINCE = _gauge(
    "bookrelay_consumer_blocked_since_timestamp_seconds", "Since when a record blocks a consumer", "topic", "group",
    "partition",
)  # fmt: skip
OUTBOX_PENDING = _gauge("bookrelay_outbox_pending", "Events committed and not yet published")
OUTBOX_PARKED = _gauge("bookrelay_outbox_parked", "Events that the broker refused, parked with a reason")
OUTBOX_OLDEST_AGE = _gauge("bookrelay_outbox_oldest_age_seconds", "Age of the oldest event that is not yet published")

# Sources
SOURCE_DOCUMENTS = _counter("bookrelay_source_documents_total", "Documents read from a source", "source", "outcome")
SOURCE_POLL_SECONDS = _histogram("bookrelay_source_poll_seconds", "Duration of one poll", "source")
SOURCE_CURSOR_AGE = _gauge("bookrelay_source_cursor_age_seconds", "How far the cursor lags behind the current time", "source")
SHEET_WRITE_BACKS = _counter("bookrelay_sheet_write_backs_total", "Rows written back", "outcome")

# qbo-writer
COMMANDS_RECORDED = _counter("bookrelay_commands_recorded_total", "Commands recorded in the ledger", "outcome")
COMMANDS_ENDED = _company_counter("bookrelay_commands_ended_total", "Commands by final state", "kind", "end")
COMMANDS_DUE = _company_gauge(sum, "bookrelay_commands_due", "Commands waiting to be posted")
COMMANDS_OLDEST_DUE_AGE = _company_gauge(max, "bookrelay_commands_oldest_due_age_seconds", "Age of the oldest due command")
COMMAND_SECONDS = _histogram("bookrelay_command_seconds", "From recording a command to its final state", "kind")
ATTEMPTS_OPEN = _company_gauge(sum, "bookrelay_attempts_open", "Open attempts by state", "state")
ATTEMPT_TRANSITIONS = _company_counter(
    "bookrelay_attempt_transitions_total", "Transitions of attempts: rows of the posting protocol's table", "what"
)
DOCUMENTS_HELD = _company_gauge(sum, "bookrelay_documents_held", "Documents on hold")
QBO_REQUESTS = _company_counter("qbo_requests_total", "Requests sent to QuickBooks", "operation", "outcome")
QBO_REQUEST_SECONDS = _histogram("qbo_request_seconds", "Duration of a request to QuickBooks", "operation")
QBO_METERED_READS = _company_counter("qbo_metered_reads_total", "Reads that Intuit meters", "operation")
QBO_THROTTLED = _company_counter("qbo_throttled_total", "Responses with status 429 or fault 3001")
QBO_PACE = _company_gauge(min, "qbo_pace_share", "Share of the allowed rate that the pacer currently uses")
QBO_FEED_POSITION = _company_gauge(
    min, "qbo_feed_position_timestamp_seconds", "Time up to which changes in QuickBooks have been read"
)
QBO_FEED_LAG = _company_gauge(max, "qbo_feed_lag_seconds", "How far the change feed lags behind")
QBO_FEED_PAGING = _company_gauge(
    sum, "qbo_feed_entities_paging", "Entities with more changes than the feed returns, read page by page instead"
)
QBO_FEED_GAPS = _company_counter(
    "qbo_feed_gaps_total", "Times the feed may have missed deletions; the sweep finds those of our documents"
)
LEASE_HELD = _company_gauge(sum, "qbo_lease_held", "1 while this process holds the company's lease")
LEASE_TOKEN = _company_gauge(max, "qbo_lease_fencing_token", "The fencing token of the lease held")
TOKEN_EXPIRES = _company_gauge(min, "qbo_token_expires_timestamp_seconds", "When a token expires", "token")
TOKEN_REFRESHES = _company_counter("qbo_token_refreshes_total", "Refreshes of the access token", "outcome")
REALM_HALTED = _company_gauge(sum, "qbo_realm_halted", "1 while posting for the company is halted", "code")
REALM_UNSERVED = _gauge("qbo_realm_unserved_commands", "Commands waiting for a company that no writer serves", "realm")
POLICY_LOADED = _gauge("qbo_policy_loaded_timestamp_seconds", "When the current company policy was read")
POLICY_WRONG = _gauge("qbo_policy_wrong", "1 while the policy on disk is invalid and the previous one stays in force")
PROBLEMS = _gauge("qbo_problems", "Problems that need a person, by kind, as listed by `qbo-writer status`", "what")
DISCREPANCIES = _company_gauge(sum, "qbo_discrepancies_open", "Open discrepancies between the books and the ledger", "kind")
SWEPT = _company_gauge(min, "qbo_swept_timestamp_seconds", "When books and ledger were last compared")

# webhook-gateway
WEBHOOK_DELIVERIES = _counter("bookrelay_webhook_deliveries_total", "Webhook deliveries by outcome", "outcome")
WEBHOOK_NOTIFICATIONS = _counter("bookrelay_webhook_notifications_total", "Notifications republished", "format")
WEBHOOK_SECONDS = _histogram("bookrelay_webhook_seconds", "From the request to its answer")
