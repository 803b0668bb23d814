"""Every topic, metric and setting is declared once, and only there."""

import ast
import re
from collections import defaultdict

import pytest
from bookrelay import metrics, topics
from bookrelay.company_metrics import CompanyCounter, CompanyGauge
from bookrelay.settings import ServiceSettings
from bookrelay_deploy.env_example import settings_classes
from sources import SANDBOX, SERVICES, SHARED, product, python_files, shown, texts, tree

TOPIC = re.compile("|".join(re.escape(topic.name.removesuffix(".v1")) + r"\.v\d" for topic in topics.TOPICS))
LIKE_A_TOPIC = re.compile(r"(?!bookrelay\.)[a-z][\w-]*(\.[\w-]+)+\.v\d+")  # types of events begin with bookrelay
# Not a setting: the switch by which a test makes the writer fail at a named place.
MAKERS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
READ_ENVIRONMENT = {SHARED / "settings.py", SERVICES["qbo-writer"] / "crashpoints.py"}


def test_no_topic_is_named_outside_topics() -> None:
    found = [
        shown(path, text)
        for path in [*product(), *python_files(SANDBOX)]
        if path != SHARED / "topics.py"
        for text in texts(tree(path))
        if TOPIC.search(text.value) or LIKE_A_TOPIC.fullmatch(text.value)
    ]
    assert found == []


def test_the_search_for_topics_finds_them() -> None:
    assert any(TOPIC.search(text.value) for text in texts(tree(SHARED / "topics.py")))
    assert all(LIKE_A_TOPIC.fullmatch(topic.name) for topic in topics.TOPICS)


def test_topics_have_different_names_and_carry_different_messages() -> None:
    names = [topic.name for topic in topics.all_topics()]
    assert len(names) == len(set(names))
    carried = [message for topic in topics.TOPICS for message in topic.carries]
    assert len(carried) == len(set(carried))


def test_no_consumer_group_reads_two_topics() -> None:
    """Two subscriptions in one group rebalance each other at every start."""
    groups = [group for _, group in topics.SUBSCRIPTIONS]
    assert len(groups) == len(set(groups))


def test_no_metric_is_made_outside_metrics() -> None:
    made = []
    for path in product():
        if path in (SHARED / "metrics.py", SHARED / "company_metrics.py"):  # the second wraps what the first makes
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module == "prometheus_client":
                made += [shown(path, node) for name in node.names if name.name in MAKERS]
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "prometheus_client":
                made.append(shown(path, node))
    assert made == []


def declared_metrics() -> set[str]:
    return {
        name for name in vars(metrics) if name.isupper() and name not in ("REGISTRY", "COMPANIES") and not name.startswith("_")
    }


def test_every_metric_is_used() -> None:
    """A metric that nothing moves shows a zero that is not true."""
    used = {
        node.attr
        for path in product()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] == "metrics"
    }
    assert declared_metrics() - used == set()


def test_labels_of_metrics_are_closed_sets() -> None:
    allowed = {
        "code", "end", "format", "group", "kind", "loop", "operation", "outcome", "partition", "realm", "service", "source",
        "state", "token", "topic", "version", "what",
    }  # fmt: skip
    for name in declared_metrics():
        metric = getattr(metrics, name)
        wrapped = {CompanyCounter: "_counter", CompanyGauge: "_gauge"}.get(type(metric))
        assert set((getattr(metric, wrapped) if wrapped else metric)._labelnames) <= allowed, name


def test_nobody_reads_the_environment_but_settings() -> None:
    found = [
        shown(path, node)
        for path in product()
        if path not in READ_ENVIRONMENT
        for node in ast.walk(tree(path))
        if ast.unparse(node) in {"os.environ", "os.getenv", "os.environb"}
    ]
    assert found == []


def test_settings_are_built_in_main_and_cli_only() -> None:
    found = [
        shown(path, node)
        for path in product()
        if path.name not in {"main.py", "cli.py", "auth_cli.py", "settings.py"}
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and re.search(r"Settings\.load$|Settings$", ast.unparse(node.func))
    ]
    assert found == []


def test_a_setting_of_two_services_is_declared_in_shared() -> None:
    owners: dict[str, list[str]] = defaultdict(list)
    for service, settings in settings_classes().items():
        for name in settings.model_fields:
            declaring = next(base for base in settings.__mro__ if name in getattr(base, "__annotations__", {}))
            if not declaring.__module__.startswith("bookrelay.") and name not in ServiceSettings.model_fields:
                owners[name].append(service)
    twice = {name: services for name, services in owners.items() if len(services) > 1}
    # The sources serve one company and must name it; the writer serves several, and takes one name as a short form.
    assert twice.pop("qbo_realm_id", []) in ([], ["emr-poller", "sheet-watcher", "qbo-writer"])
    assert twice == {}


@pytest.mark.parametrize("service", sorted(settings_classes()))
def test_every_setting_has_a_description_and_no_secret_is_shown(service: str) -> None:
    settings = settings_classes()[service]
    for name, field in settings.model_fields.items():
        assert field.description, f"{service}: {name} has no description"
        assert field.description.endswith((".", ")")), f"{service}: the description of {name} is no sentence"
        if re.search(r"secret|password|token(s)?$|encryption_key|subscription_key|database_url", name):
            assert "SecretStr" in str(field.annotation), f"{service}: {name} is a secret and would be logged"
    assert settings.model_config["frozen"]
