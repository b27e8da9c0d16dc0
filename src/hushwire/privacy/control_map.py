"""Controls of ISO/IEC 27001:2022 Annex A and outcomes of NIST CSF 2.0, each with the clauses whose controls and evidence meet it.

A map for whoever audits: it says where to look. It claims no certificate.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Mapped:
    """One control. `clauses`: ids of `clause_table`."""

    iso: str
    title: str
    nist: tuple[str, ...]
    clauses: tuple[str, ...]


CONTROLS: Final = (
    Mapped("A.5.14", "Information transfer", ("PR.DS-02",), ("encryption", "location", "integrations")),
    Mapped("A.5.15", "Access control", ("PR.AA-05",), ("permissions", "purpose-limitation")),
    Mapped("A.5.16", "Identity management", ("PR.AA-01",), ("accounts", "credentials")),
    Mapped("A.5.17", "Authentication information", ("PR.AA-03",), ("credentials", "mfa")),
    Mapped("A.5.19", "Information security in supplier relationships", ("GV.SC-07",), ("sub-processors", "objection")),
    Mapped("A.5.24", "Incident management planning and preparation", ("RS.MA-01",), ("breach",)),
    Mapped("A.5.26", "Response to information security incidents", ("RS.CO-02",), ("breach",)),
    Mapped("A.5.28", "Collection of evidence", ("RS.AN-03",), ("audit-log", "breach")),
    Mapped("A.5.31", "Legal, statutory, regulatory and contractual requirements", ("GV.OC-03",), ("laws", "regulator")),
    Mapped("A.5.33", "Protection of records", ("PR.DS-01",), ("audit-log", "holds")),
    Mapped("A.5.34", "Privacy and protection of PII", ("GV.OC-03",), ("data-subject-notice", "access", "rectify", "delete", "restrict")),
    Mapped("A.5.35", "Independent review of information security", ("ID.IM-02",), ("audit-rights",)),
    Mapped("A.6.6", "Confidentiality or non-disclosure agreements", ("GV.RR-04",), ("confidentiality",)),
    Mapped("A.8.2", "Privileged access rights", ("PR.AA-05",), ("permissions", "audit-rights")),
    Mapped("A.8.3", "Information access restriction", ("PR.AA-05",), ("purpose-limitation", "restrict")),
    Mapped("A.8.5", "Secure authentication", ("PR.AA-03",), ("credentials", "mfa")),
    Mapped("A.8.7", "Protection against malware", ("DE.CM-09",), ("antivirus",)),
    Mapped("A.8.10", "Information deletion", ("PR.DS-01",), ("delete", "retention", "account-deletion")),
    Mapped("A.8.11", "Data masking", ("PR.DS-10",), ("monitoring", "statistics")),
    Mapped("A.8.13", "Information backup", ("PR.DS-11",), ("backup",)),
    Mapped("A.8.14", "Redundancy of information processing facilities", ("PR.IR-04",), ("backup",)),
    Mapped("A.8.15", "Logging", ("PR.PS-04",), ("audit-log", "permissions")),
    Mapped("A.8.16", "Monitoring activities", ("DE.CM-01",), ("monitoring", "audit-log")),
    Mapped("A.8.20", "Networks security", ("PR.IR-01",), ("firewall", "voice-security")),
    Mapped("A.8.24", "Use of cryptography", ("PR.DS-01", "PR.DS-02"), ("encryption",)),
)
