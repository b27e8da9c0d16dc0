"""PJSUA2 as an agent's phone, or a carrier, that means ill: the demo's softphone with what an honest one never does.

`policy` may say where calls are redirected (`redirect`), `message` texts to any URI, and `keys` are pressed at a quick hand's pace:
`python -P -m tests.redteam.pjsua_attacker`.
"""

import os
from typing import Any

import pjsua2 as pj

from hushwire.app.demo import softphone


class Account(softphone.PhoneAccount):
    """Tells what becomes of its texts."""

    def onInstantMessageStatus(self, prm: Any) -> None:
        self.phone.say({"event": "texted", "status": int(prm.code), "to": prm.toUri})


class Attacker(softphone.Phone):
    """The phone."""

    def __init__(self, reader: int, writer: int) -> None:
        super().__init__(reader, writer)
        self._buddies: list[Any] = []

    def do_message(self, command: dict[str, Any]) -> None:
        """A text to whatever URI."""
        buddy, config = pj.Buddy(), pj.BuddyConfig()
        config.uri, config.subscribe = command["to"], False
        assert self._account is not None
        buddy.create(self._account, config)
        self._buddies.append(buddy)  # its answer comes to it
        param = pj.SendInstantMessageParam()
        param.content = command["text"]
        buddy.sendInstantMessage(param)

    def do_keys(self, command: dict[str, Any]) -> None:
        param = pj.CallSendDtmfParam()
        param.method = pj.PJSUA_DTMF_METHOD_RFC2833
        param.duration = int(command.get("duration_ms", 60))
        param.digits = command["digits"]
        self._calls[command["call"]].sendDtmf(param)

    def _answer(self, call: Any, status: int) -> None:
        param = pj.CallOpParam(True)
        param.statusCode = status
        if status in (301, 302):
            header = pj.SipHeader()
            header.hName, header.hValue = "Contact", self._policy["redirect"]
            param.txOption.headers.append(header)
        call.answer(param)


if __name__ == "__main__":
    softphone.PhoneAccount = Account  # type: ignore[misc]
    # PJSUA2 prints to standard output: the answers get a descriptor of their own.
    writer = os.dup(1)
    os.dup2(2, 1)
    Attacker(0, writer).run()
