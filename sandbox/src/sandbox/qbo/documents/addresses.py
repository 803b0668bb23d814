"""The server's changes to addresses: each gets an Id, Country becomes the three-letter ISO code."""

from __future__ import annotations

from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.company.store import Company, Doc

# ISO 3166-1: two letters, three letters, and the names that people write. Other texts are kept unchanged.
_COUNTRIES = """
AE ARE United Arab Emirates|AR ARG Argentina|AT AUT Austria|AU AUS Australia|BE BEL Belgium|BR BRA Brazil|CA CAN Canada
CH CHE Switzerland|CL CHL Chile|CN CHN China|CO COL Colombia|CR CRI Costa Rica|CZ CZE Czechia|DE DEU Germany|DK DNK Denmark
DO DOM Dominican Republic|EG EGY Egypt|ES ESP Spain|FI FIN Finland|FR FRA France|GB GBR United Kingdom|GR GRC Greece
HK HKG Hong Kong|HU HUN Hungary|ID IDN Indonesia|IE IRL Ireland|IL ISR Israel|IN IND India|IT ITA Italy|JM JAM Jamaica
JP JPN Japan|KE KEN Kenya|KR KOR South Korea|LU LUX Luxembourg|MX MEX Mexico|MY MYS Malaysia|NG NGA Nigeria|NL NLD Netherlands
NO NOR Norway|NZ NZL New Zealand|PA PAN Panama|PE PER Peru|PH PHL Philippines|PK PAK Pakistan|PL POL Poland|PR PRI Puerto Rico
PT PRT Portugal|RO ROU Romania|RU RUS Russia|SA SAU Saudi Arabia|SE SWE Sweden|SG SGP Singapore|TH THA Thailand|TR TUR Turkey
TW TWN Taiwan|UA UKR Ukraine|US USA United States|VN VNM Vietnam|ZA ZAF South Africa
"""
_CODES: dict[str, str] = {"u.s.": "USA", "u.s.a.": "USA", "united states of america": "USA", "uk": "GBR", "great britain": "GBR"}
for _entry in _COUNTRIES.replace("\n", "|").split("|"):
    if _entry:
        _two, _three, _name = _entry.split(" ", 2)
        _CODES |= {_two.lower(): _three, _three.lower(): _three, _name.lower(): _three}

_FIELDS: dict[str, tuple[str, ...]] = {
    kind: tuple(name for name, spec in entity.props.items() if spec.lstrip("!") == "obj:Address")
    for kind, entity in KINDS.items()
}


def settle_addresses(company: Company, kind: str, doc: Doc, old: Doc | None) -> None:
    """Ids and country codes for the addresses of a document that is about to be stored."""
    for name in _FIELDS[kind]:
        address = doc.get(name)
        if not address or "Id" in address:
            continue
        known = (old or {}).get(name) or {}
        new = {"Id": known.get("Id") or _next(company), **address}
        country = _CODES.get(str(address.get("Country", "")).strip().lower())
        if country:
            new["Country"] = country
        doc[name] = new


def _next(company: Company) -> str:
    number = company.sequences.get("Address", 100)
    company.sequences["Address"] = number + 1
    return str(number)
