"""What the demo's steps share: the running hushwire, both parties, what was seen and heard, and the figures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from hushwire.app.demo.packets import Look
from hushwire.app.demo.party import Heard, Party
from hushwire.app.demo.stack import DOMAIN, Api, Stack

# Numbers that the regulators keep free for films and books: nobody is ever called.
CALLER_ID: Final = "+493023125000"
ALLOWED_NUMBER: Final = "+442079460123"
FOREIGN_NUMBER: Final = "+33199001234"
HOME_NUMBER: Final = "+493023125111"

PROVISIONING: Final = """\
[[trunks]]
name = "carrier"
uri = "sip:{carrier};transport=udp"
srtp = "never"

[[orgs]]
slug = "acme"
name = "Acme"
home_country = "DE"
residency = "eu"
allowed_countries = ["DE", "GB"]
record = "all"
agent_srtp = "required"

[[orgs.agents]]
username = "anna"
role = "agent"
extension = "101"
caller_id = "{caller_id}"

[[orgs.agents]]
username = "ben"
role = "agent"
extension = "102"
caller_id = "{caller_id}"

[[orgs.numbers]]
number = "{caller_id}"
to = "anna"

[[orgs.api_keys]]
name = "demo"
role = "owner"
"""


class StepFailed(Exception):
    """A step's claim did not hold. `look_at` tells a person where to look."""

    def __init__(self, what: str, look_at: str) -> None:
        super().__init__(what)
        self.look_at = look_at


@dataclass(slots=True)
class Talk:
    """One call as both sides lived it."""

    agent_heard: Heard
    carrier_heard: Heard
    looks: dict[str, Look]
    api_call: dict[str, Any]
    seconds: float


@dataclass(slots=True)
class Scene:
    """The state of one demo run."""

    stack: Stack
    api: Api
    agent: Party
    carrier: Party
    agent_speech: NDArray[np.int16]
    carrier_speech: NDArray[np.int16]
    may_sniff: bool
    figures: dict[str, float | int | str] = field(default_factory=dict)
    talk: Talk | None = None
    recording_id: UUID | None = None
    org_id: UUID | None = None
    sealed_file: Path | None = None
    receipt: Path | None = None

    def uri(self, user: str) -> str:
        """Where the agent's softphone dials `user`."""
        return f"sip:{user}@acme.{DOMAIN}"

    def heard_talk(self) -> Talk:
        """The call of step `call`; fails the step if there was none."""
        if self.talk is None:
            raise StepFailed("there was no call to look at", "the step `call`")
        return self.talk

    def recording(self) -> UUID:
        if self.recording_id is None:
            raise StepFailed("there is no recording to look at", "the step `recording`")
        return self.recording_id

    def check(self, fact: object, what: str, look_at: str = "") -> None:
        """Fails the step unless `fact` holds."""
        if not fact:
            raise StepFailed(what, look_at or str(self.stack.log))
