"""The company's policy: what a file says, and what it says to who wrote it wrongly."""

import re
from pathlib import Path

import pytest
from bookrelay.errors import SettingsError
from qbo_writer import kinds
from qbo_writer.policy import Defaults, Policy, Target

EXAMPLE = Path(__file__).parents[3] / "docs" / "company-policy.md"


def load(tmp_path: Path, text: str) -> Policy:
    file = tmp_path / "policy.toml"
    file.write_text(text, "utf-8")
    return Policy.load(file)


def test_no_file_gives_careful_defaults() -> None:
    policy = Policy.load(None)
    assert (policy.retract, policy.changed_by_person, policy.update_paid) == ("void", "hold", "hold")
    assert policy.kinds == kinds.OPTIONAL


def test_documented_example_is_a_policy(tmp_path: Path) -> None:
    text = EXAMPLE.read_text("utf-8").split("```toml\n", 1)[1].split("```", 1)[0]
    policy = load(tmp_path, text)
    assert policy.items
    assert policy.prefixes
    named = set(Policy.model_fields) - {"defaults"}
    shown = {name for name in named if f"\n{name} =" in text or f"\n# {name} =" in text or f"[{name}]" in text}
    assert shown == named, "every key is shown"
    shown = text.split("\n[defaults]\n")[1].split("\n\n")[0]
    assert all(f"{field.alias or name} =" in shown for name, field in Defaults.model_fields.items())


def test_short_and_long_targets_and_names_in_any_case(tmp_path: Path) -> None:
    policy = load(tmp_path, '[items]\n" Procedure " = "Services"\n[accounts]\nrent = { id = "5" }\n[defaults]\nclass = "Main"')
    assert policy.items["procedure"].name == "Services"
    assert policy.accounts["rent"] == Target(id="5")
    assert policy.defaults.class_name == Target(name="Main")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("retract = 'burn'", "retract"),
        ("retrakt = 'void'", "retrakt: unknown key"),
        ("[items]\nx = { id = 5 }", "items.(entry 1)"),
        ("[items]\nx = { id = '5', name = 'y' }", "either id or name"),
        ("[prefixes]\nemr = 'too-long'", "1 to 6 capital letters"),
        ("[prefixes]\na = 'Q'\nb = 'Q'", "same prefix"),
        ("kinds = ['receipt']", "kinds.0"),
        ("[custom_fields]\na = 1\nb = 1", "same number"),
        ("not toml", "is not TOML"),
    ],
)
def test_a_wrong_file_names_file_key_and_remedy(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, text)
    assert says in error.value.reason
    assert "policy.toml" in error.value.reason
    assert error.value.fix
    assert "\n" not in error.value.sentence()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[customers]\nacme = 'Acme'\n'Maria Lopez' = { idd = '5' }",
            r"customers\.\(entry 2\): unknown key; an entry has id",
        ),
        ("[customers]\nacme = 'Acme'\nmaria.lopez = 'Maria Lopez'", r"customers\.\(entry 2\): unknown key; an entry has id"),
        ("[vendors]\n'  MARIA   Lopez' = { id = 'Maria-Lopez' }", r"vendors\.\(entry 1\)\.id: String should match"),
        ("[items]\na = 'b'\n'Revision (Lopez)' = { id = '5', tax_code = 7 }", r"items\.\(entry 2\)\.tax_code: "),
        ("[customers]\n'Maria Lopez' = 5", r"customers\.\(entry 1\): "),
        ("'Maria Lopez' = '5'", r"\(key 1\): unknown key"),
        ("[defaults]\n'Maria Lopez' = '5'", r"defaults\.\(key 1\): unknown key"),
        ("[customers.'Maria Lopez']\n[customers.'Maria Lopez']", r"Cannot declare \(a name\) twice \(at line 2"),
        ("[customers]\na = { 'Maria Lopez' = 1, 'Maria Lopez' = 2 }", r"Duplicate inline table key \(a name\) \(at line 2"),
    ],
)
def test_a_wrong_file_s_sentence_names_nobody(tmp_path: Path, text: str, says: str) -> None:
    """It goes to the log, to the lists of problems and to /health/ready; the keys of mappings are names of patients."""
    with pytest.raises(SettingsError) as error:
        load(tmp_path, text)
    sentence = error.value.sentence().casefold()
    assert "maria" not in sentence
    assert "lopez" not in sentence
    assert re.search(says, error.value.reason)


def test_missing_or_binary_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        Policy.load(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="UTF-8"):
        Policy.load(tmp_path / "binary.toml")


def test_a_directory_holds_one_policy_for_each_company(tmp_path: Path) -> None:
    (tmp_path / "default.toml").write_text("retract = 'delete'")
    (tmp_path / "93414.toml").write_text("update_paid = 'update'")
    policy = Policy.load(tmp_path)
    assert (policy.for_realm("93414").retract, policy.for_realm("93414").update_paid) == ("void", "update")
    assert policy.for_realm("1").retract == "delete"
