"""What the tests of all ways out run against: one organisation, three agents, and a carrier by UDP."""

import sys

from hushwire.app.demo.stack import DOMAIN

HOST = f"acme.{DOMAIN}"
SALES = "600"
ATTACKER = (sys.executable, "-m", "tests.redteam.pjsua_attacker")
"""PJSUA2 in a process of its own: whoever lacks it can still play all else."""
PROVISIONING = (
    """\
[[trunks]]
name = "carrier"
uri = "sip:127.0.0.1:{carrier};transport=udp"
srtp = "never"

[[orgs]]
slug = "acme"
name = "Acme"
home_country = "DE"
residency = "eu"
allowed_countries = ["DE", "GB"]
record = "none"
agent_srtp = "optional"
limits = "off"
"""
    + "".join(
        f"""
[[orgs.agents]]
username = "{user}"
role = "agent"
extension = "{extension}"
caller_id = "+49302312500{n}"
sip_password = "{user}'s secret"
"""
        for n, (user, extension) in enumerate((("anna", "101"), ("ben", "102"), ("carl", "103")))
    )
    + f"""
[[orgs.groups]]
name = "sales"
extension = "{SALES}"
members = ["ben"]
follows_forwarding = true

[[orgs.api_keys]]
name = "owner"
role = "owner"
"""
)
MORE = """\
[features]
transfer_by_keys = "*2"

[limits]
requests_per_second = 10000
requests_per_second_per_credential = 10000
texts_per_minute = 10000
"""


def whole(text: str) -> str:
    """A trick as a URI."""
    return text.format(host=HOST) if text.split(":")[0] in ("sip", "sips", "tel", "urn", "http") else f"sip:{text.format(host=HOST)}@{HOST}"
