"""Both sides of each rule of the table, over HTTP, each in a company of its own; and that no topic is without a rule."""

from __future__ import annotations

from collections import Counter

import pytest

from .conftest import Books
from .refusals import REFUSALS
from .rules import RULES, TOPICS
from .rules.writing import Rule

ALL = RULES + REFUSALS
SIDES = [(rule, side) for rule in ALL for side in ("passes", "bites")]


def test_no_topic_is_without_rules_and_no_rule_is_half() -> None:
    assert {rule.topic for rule in RULES} == {rule.topic for rule in ALL} == set(TOPICS)
    assert not [name for name, times in Counter((rule.topic, rule.name) for rule in ALL).items() if times > 1]
    assert all(callable(rule.passes) and callable(rule.bites) and rule.passes is not rule.bites for rule in ALL)


@pytest.mark.parametrize(("rule", "side"), SIDES, ids=[f"{rule.topic}: {rule.name}: {side}" for rule, side in SIDES])
def test_a_rule(books: Books, rule: Rule, side: str) -> None:
    (rule.passes if side == "passes" else rule.bites)(books)
