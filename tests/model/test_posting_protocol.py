"""The posting protocol as a model: numbers that repeat and change, as far as it is quick. `make model` checks all of it."""

import pytest
from posting_protocol import Configuration, numbered, run, without_a_rule

QUICK = {  # some seconds each; the others are larger, not different in kind
    "numbers: v1 n, v2 m, v3 n, look first, requestid ignored",
    "numbers: v1 n, v2 m, number checked, taken is rejected",
    "numbers: v1 n, v2 m, v3 m",
    "numbers: v1 n, v2 m, look first, QBO gives numbers of its own",
    "numbers: v1 n, retraction, v3 m, QBO numbers what is taken",
    "numbers: v1 n, void, v3 n",
}


def named(configurations: list[Configuration]) -> dict[str, Configuration]:
    return {c.name: c for c in configurations}


@pytest.mark.parametrize("name", sorted(QUICK))
def test_numbers_that_repeat_and_change_break_nothing(name: str) -> None:
    result = run(named(numbered())[name])
    assert result.fault == "", "\n".join(result.trace)


@pytest.mark.parametrize("name", named(without_a_rule()))
def test_a_protocol_without_one_rule_breaks_as_told(name: str) -> None:
    configuration = named(without_a_rule())[name]
    assert run(configuration).fault == configuration.expect
    assert configuration.expect
