"""Some companies have series of their own, all others are one: summed, or the worst of them."""

from bookrelay.company_metrics import Companies, CompanyCounter, CompanyGauge
from prometheus_client import CollectorRegistry, Counter, Gauge


def test_companies_beyond_the_chosen_ones_share_a_series() -> None:
    registry, companies = CollectorRegistry(), Companies()
    companies.choose(["1"])
    due = CompanyGauge(Gauge("due", "", ["realm"], registry=registry), companies, sum)
    lag = CompanyGauge(Gauge("lag", "", ["realm"], registry=registry), companies, max)
    halted = CompanyGauge(Gauge("halted", "", ["realm", "code"], registry=registry), companies, sum)
    requests = CompanyCounter(Counter("requests", "", ["realm", "outcome"], registry=registry), companies)
    for realm, value in (("1", 5), ("2", 7), ("3", 4), ("2", 6)):
        due.labels(realm).set(value)
        lag.labels(realm).set(value)
        halted.labels(realm, "QB001").set(1)
        requests.labels(realm, "ok").inc()
    assert registry.get_sample_value("due", {"realm": "1"}) == 5
    assert registry.get_sample_value("due", {"realm": "other"}) == 10
    assert registry.get_sample_value("lag", {"realm": "other"}) == 6
    assert registry.get_sample_value("halted", {"realm": "other", "code": "QB001"}) == 2
    assert registry.get_sample_value("requests_total", {"realm": "other", "outcome": "ok"}) == 3
    assert registry.get_sample_value("due", {"realm": "2"}) is None
    for realm in ("2", "3", "1"):
        halted.remove(realm, "QB001")
    assert [sample for family in halted.collect() for sample in family.samples] == []
    halted.labels("3", "QB001").set(1)
    assert registry.get_sample_value("halted", {"realm": "other", "code": "QB001"}) == 1


def test_until_companies_are_chosen_each_has_its_own() -> None:
    assert Companies().label("9") == "9"
