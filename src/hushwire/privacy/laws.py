"""What each jurisdiction tag stands for: time zones, holiday calendar, consent to recording, notices to a regulator. With sources.

This is configuration that counsel reviews, not legal advice. Where a law names no figure ("without delay", "as soon as practicable")
the hours are our own, and `source` says so. Where two readings are possible the stricter one stands here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

UNION: Final = "EU"


class Consent(StrEnum):
    """Who has to agree before a call is recorded."""

    ONE_PARTY = "one-party"
    ALL_PARTY = "all-party"


@dataclass(frozen=True, slots=True)
class Law:
    """One jurisdiction. `zones` from east to west; `calendar`: a country of the library `holidays`, EU, or None (weekends only).

    `must_announce`: all parties have to be told, even where one party's consent is enough. `regulator_hours`: from becoming aware of a
    breach to the notice to `regulator`. `breach_source` and `consent_source`: where that is written.
    """

    tag: str
    zones: tuple[str, ...]
    calendar: str | None
    subdivision: str | None
    consent: Consent
    must_announce: bool
    consent_source: str
    regulator: str
    regulator_hours: int
    breach_source: str


ELSEWHERE: Final = Law(
    tag="elsewhere",
    # Wherever it is, its day begins and ends between these two.
    zones=("Etc/GMT-14", "Etc/GMT+12"),
    calendar=None,
    subdivision=None,
    consent=Consent.ALL_PARTY,
    must_announce=True,
    consent_source="unknown law: the strictest rule",
    regulator="",
    regulator_hours=72,
    breach_source="unknown law: ours",
)

_EPRIVACY: Final = "Directive 2002/58/EC art. 5(1): consent of the users concerned; GDPR art. 6, 13"
_GDPR_BREACH: Final = "GDPR art. 33(1): 72 hours"

# Member states of the Union and of the EEA: zone, and the state's own rule on recording where it is known for going beyond.
_STATES: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "AT": (("Europe/Vienna",), "StGB s. 120; ABGB s. 16"),
    "BE": (("Europe/Brussels",), "Penal Code art. 314bis; Act of 13 June 2005 art. 124, 128"),
    "BG": (("Europe/Sofia",), "Penal Code art. 339a"),
    "CY": (("Asia/Nicosia",), "Law 92(I)/1996"),
    "CZ": (("Europe/Prague",), "Civil Code s. 86"),
    "DE": (("Europe/Berlin",), "StGB s. 201(1); TDDDG s. 3"),
    "DK": (("Europe/Copenhagen",), "Penal Code s. 263; GDPR practice of Datatilsynet: consent"),
    "EE": (("Europe/Tallinn",), ""),
    "ES": (("Europe/Madrid", "Atlantic/Canary"), "Constitution art. 18(3)"),
    "FI": (("Europe/Helsinki",), "Act 917/2014 s. 136"),
    "FR": (("Europe/Paris",), "Penal Code art. 226-1"),
    "GR": (("Europe/Athens",), "Penal Code art. 370A; Law 3471/2006 art. 4"),
    "HR": (("Europe/Zagreb",), "Penal Code art. 143"),
    "HU": (("Europe/Budapest",), "Civil Code s. 2:48"),
    "IE": (("Europe/Dublin",), ""),
    "IS": (("Atlantic/Reykjavik",), "Act 70/2022: notice at the beginning of the call"),
    "IT": (("Europe/Rome",), "Privacy Code art. 122-132"),
    "LI": (("Europe/Vaduz",), "StGB s. 120"),
    "LT": (("Europe/Vilnius",), ""),
    "LU": (("Europe/Luxembourg",), "Act of 30 May 2005 art. 4"),
    "LV": (("Europe/Riga",), ""),
    "MT": (("Europe/Malta",), ""),
    "NL": (("Europe/Amsterdam",), ""),
    "NO": (("Europe/Oslo",), "Penal Code s. 205"),
    "PL": (("Europe/Warsaw",), "Telecommunications law art. 386"),
    "PT": (("Europe/Lisbon", "Atlantic/Azores"), "Penal Code art. 199; Law 41/2004 art. 4"),
    "RO": (("Europe/Bucharest",), ""),
    "SE": (("Europe/Stockholm",), ""),
    "SI": (("Europe/Ljubljana",), "Criminal Code art. 137"),
    "SK": (("Europe/Bratislava",), "Civil Code s. 11-12"),
}

# Zones, and where all parties must agree: the statute. One party's consent is the federal rule (18 U.S.C. s. 2511(2)(d)).
_EASTERN, _CENTRAL, _MOUNTAIN, _PACIFIC = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"
_AMERICAN: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "AK": (("America/Anchorage", "America/Adak"), ""),
    "AL": ((_CENTRAL,), ""),
    "AR": ((_CENTRAL,), ""),
    "AZ": (("America/Denver", "America/Phoenix"), ""),
    "CA": ((_PACIFIC,), "Cal. Penal Code s. 632, 632.7, 637.2"),
    "CO": ((_MOUNTAIN,), ""),
    "CT": ((_EASTERN,), "Conn. Gen. Stat. s. 52-570d"),
    "DC": ((_EASTERN,), ""),
    "DE": ((_EASTERN,), "11 Del. Code s. 1335(a)(4)"),
    "FL": ((_EASTERN, _CENTRAL), "Fla. Stat. s. 934.03(2)(d)"),
    "GA": ((_EASTERN,), ""),
    "HI": (("Pacific/Honolulu",), ""),
    "IA": ((_CENTRAL,), ""),
    "ID": (("America/Boise", _PACIFIC), ""),
    "IL": ((_CENTRAL,), "720 ILCS 5/14-2"),
    "IN": ((_EASTERN, _CENTRAL), ""),
    "KS": ((_CENTRAL, _MOUNTAIN), ""),
    "KY": ((_EASTERN, _CENTRAL), ""),
    "LA": ((_CENTRAL,), ""),
    "MA": ((_EASTERN,), "Mass. Gen. Laws ch. 272 s. 99"),
    "MD": ((_EASTERN,), "Md. Code, Cts. & Jud. Proc. s. 10-402(c)(3)"),
    "ME": ((_EASTERN,), ""),
    "MI": ((_EASTERN, _CENTRAL), "MCL 750.539c"),
    "MN": ((_CENTRAL,), ""),
    "MO": ((_CENTRAL,), ""),
    "MS": ((_CENTRAL,), ""),
    "MT": ((_MOUNTAIN,), "Mont. Code s. 45-8-213(1)(c)"),
    "NC": ((_EASTERN,), ""),
    "ND": ((_CENTRAL, _MOUNTAIN), ""),
    "NE": ((_CENTRAL, _MOUNTAIN), ""),
    "NH": ((_EASTERN,), "RSA 570-A:2"),
    "NJ": ((_EASTERN,), ""),
    "NM": ((_MOUNTAIN,), ""),
    "NV": ((_PACIFIC,), "NRS 200.620; Lane v. Allstate, 114 Nev. 1176 (1998)"),
    "NY": ((_EASTERN,), ""),
    "OH": ((_EASTERN,), ""),
    "OK": ((_CENTRAL,), ""),
    "OR": ((_MOUNTAIN, _PACIFIC), "ORS 165.540(1)(c): conversations; taken for calls too"),
    "PA": ((_EASTERN,), "18 Pa. C.S. s. 5704(4)"),
    "RI": ((_EASTERN,), ""),
    "SC": ((_EASTERN,), ""),
    "SD": ((_CENTRAL, _MOUNTAIN), ""),
    "TN": ((_EASTERN, _CENTRAL), ""),
    "TX": ((_CENTRAL, _MOUNTAIN), ""),
    "UT": ((_MOUNTAIN,), ""),
    "VA": ((_EASTERN,), ""),
    "VT": ((_EASTERN,), "no statute: taken as all-party"),
    "WA": ((_PACIFIC,), "RCW 9.73.030"),
    "WI": ((_CENTRAL,), ""),
    "WV": ((_EASTERN,), ""),
    "WY": ((_MOUNTAIN,), ""),
}
_ONE_PARTY_US: Final = "18 U.S.C. s. 2511(2)(d)"
_SOONER: Final[Mapping[str, tuple[int, str]]] = {
    "CA": (15 * 24, "Cal. Civ. Code s. 1798.82 as amended by SB 446 (2025): Attorney General within 15 days of notifying residents"),
}

_AUSTRALIAN: Final[Mapping[str, str]] = {
    "ACT": "Australia/Sydney",
    "NSW": "Australia/Sydney",
    "NT": "Australia/Darwin",
    "QLD": "Australia/Brisbane",
    "SA": "Australia/Adelaide",
    "TAS": "Australia/Hobart",
    "VIC": "Australia/Melbourne",
    "WA": "Australia/Perth",
}


def _european() -> Iterator[Law]:
    for tag, (zones, source) in {UNION: (("Asia/Nicosia", "Atlantic/Azores"), ""), **_STATES}.items():
        yield Law(
            tag=tag,
            zones=zones,
            calendar=tag,
            subdivision=None,
            consent=Consent.ALL_PARTY,
            must_announce=True,
            consent_source="; ".join(filter(None, (source, _EPRIVACY))),
            regulator="the supervisory authority (GDPR art. 55, 56)",
            regulator_hours=72,
            breach_source=_GDPR_BREACH,
        )


def _american() -> Iterator[Law]:
    shortest = "no general federal duty; of the states' laws the shorter ones, such as Fla. Stat. s. 501.171(3): 30 days"
    yield Law(
        tag="US",
        # Which state is unknown: the calls may reach any.
        zones=(_EASTERN, "Pacific/Honolulu"),
        calendar="US",
        subdivision=None,
        consent=Consent.ALL_PARTY,
        must_announce=True,
        consent_source=f"{_ONE_PARTY_US}, but all-party states may be concerned: name the state to have its own rule",
        regulator="the attorneys general of the states concerned",
        regulator_hours=15 * 24,
        breach_source=_SOONER["CA"][1],
    )
    for state, (zones, source) in _AMERICAN.items():
        hours, breach = _SOONER.get(state, (30 * 24, shortest))
        yield Law(
            tag=f"US-{state}",
            zones=zones,
            calendar="US",
            subdivision=state,
            consent=Consent.ALL_PARTY if source else Consent.ONE_PARTY,
            must_announce=bool(source),
            consent_source=source or _ONE_PARTY_US,
            regulator="the attorney general of the state",
            regulator_hours=hours,
            breach_source=breach,
        )


def _australian() -> Iterator[Law]:
    places: dict[str, tuple[tuple[str, ...], str | None]] = {"AU": (("Australia/Sydney", "Australia/Brisbane", "Australia/Perth"), None)}
    places |= {f"AU-{state}": ((zone,), state) for state, zone in _AUSTRALIAN.items()}
    for tag, (zones, subdivision) in places.items():
        yield Law(
            tag=tag,
            zones=zones,
            calendar="AU",
            subdivision=subdivision,
            consent=Consent.ALL_PARTY,
            must_announce=True,
            consent_source="Telecommunications (Interception and Access) Act 1979 s. 6, 7: with the parties' knowledge; APP 5",
            regulator="Office of the Australian Information Commissioner",
            regulator_hours=72,
            breach_source="Privacy Act 1988 s. 26WH, 26WK: as soon as practicable, assessed within 30 days; 72 hours is ours",
        )


_OTHERS: Final = (
    Law(
        "UK",
        ("Europe/London",),
        "GB",
        None,
        Consent.ONE_PARTY,
        True,
        "Investigatory Powers (Interception by Businesses etc.) Regulations 2018 (SI 2018/356) reg. 3, 4: every reasonable effort to tell"
        " the parties; UK GDPR art. 13",
        "Information Commissioner's Office",
        72,
        "UK GDPR art. 33(1): 72 hours",
    ),
    Law(
        "CH",
        ("Europe/Zurich",),
        "CH",
        None,
        Consent.ALL_PARTY,
        True,
        "StGB art. 179bis, 179ter",
        "Federal Data Protection and Information Commissioner",
        72,
        "FADP art. 24(1): as soon as possible; 72 hours is ours",
    ),
    Law(
        "SG",
        ("Asia/Singapore",),
        "SG",
        None,
        Consent.ALL_PARTY,
        True,
        "PDPA 2012 s. 13, 14, 15A, 20: consent and notification of purposes",
        "Personal Data Protection Commission",
        72,
        "PDPA 2012 s. 26D(1): 3 calendar days after assessment",
    ),
    Law(
        "CA",
        ("America/St_Johns", "America/Vancouver"),
        "CA",
        None,
        Consent.ONE_PARTY,
        True,
        "Criminal Code s. 184(2)(a); PIPEDA sch. 1, 4.3",
        "Office of the Privacy Commissioner",
        72,
        "PIPEDA s. 10.1(2): as soon as feasible; 72 hours is ours",
    ),
    Law(
        "NZ",
        ("Pacific/Auckland",),
        "NZ",
        None,
        Consent.ONE_PARTY,
        True,
        "Crimes Act 1961 s. 216A, 216B; Privacy Act 2020 s. 22, IPP 3",
        "Office of the Privacy Commissioner",
        72,
        "Privacy Act 2020 s. 114: as soon as practicable (guidance: 72 hours)",
    ),
    Law(
        "HK",
        ("Asia/Hong_Kong",),
        "HK",
        None,
        Consent.ONE_PARTY,
        True,
        "PDPO (Cap. 486) DPP 1",
        "Privacy Commissioner for Personal Data",
        72,
        "no duty by statute; 72 hours is ours",
    ),
    Law(
        "JP",
        ("Asia/Tokyo",),
        "JP",
        None,
        Consent.ONE_PARTY,
        True,
        "APPI art. 21",
        "Personal Information Protection Commission",
        72,
        "APPI art. 26, Enforcement Rules art. 8: promptly (guidelines: 3 to 5 days)",
    ),
    Law(
        "IN",
        ("Asia/Kolkata",),
        "IN",
        None,
        Consent.ALL_PARTY,
        True,
        "DPDP Act 2023 s. 5, 6: notice and consent",
        "Data Protection Board; CERT-In",
        6,
        "CERT-In Directions of 28 April 2022 (ii): 6 hours",
    ),
    Law(
        "BR",
        ("America/Noronha", "America/Sao_Paulo", "America/Rio_Branco"),
        "BR",
        None,
        Consent.ONE_PARTY,
        True,
        "STF RE 583.937; LGPD art. 9",
        "Autoridade Nacional de Proteção de Dados",
        72,
        "LGPD art. 48; Resolution CD/ANPD 15/2024 art. 6: 3 business days",
    ),
    Law(
        "ZA",
        ("Africa/Johannesburg",),
        "ZA",
        None,
        Consent.ONE_PARTY,
        True,
        "RICA (Act 70 of 2002) s. 4, 6; POPIA s. 18",
        "Information Regulator",
        72,
        "POPIA s. 22(2): as soon as reasonably possible; 72 hours is ours",
    ),
)

LAWS: Final[Mapping[str, Law]] = {law.tag: law for law in (*_european(), *_american(), *_australian(), *_OTHERS)}
"""By tag."""

EUROPEAN: Final = frozenset({UNION, "UK", "CH", *_STATES})
"""Where the agreement speaks of European data protection law: the Union, the EEA, the United Kingdom and Switzerland."""
