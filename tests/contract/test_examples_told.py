"""An example that no longer fits its message ends the AsyncAPI check with a sentence and status 1, no traceback."""

import pytest
from bookrelay import messages as m
from bookrelay_deploy import asyncapi
from bookrelay_deploy.examples import examples


def test_an_example_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(asyncapi, "examples", lambda: {"x": m.Party.model_validate({"name": 5})})
    assert asyncapi.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("The example of Party does not fit its message at name:")
    assert said.count("\n") == 1


def test_a_message_without_example_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    known = examples()
    lost = next(iter(known))
    monkeypatch.setattr(asyncapi, "examples", lambda: {type_: shown for type_, shown in known.items() if type_ != lost})
    assert asyncapi.main(["--check"]) == 1
    assert f"{lost}: there is no example." in capsys.readouterr().err
