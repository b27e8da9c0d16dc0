"""PJSUA2 as a thief with an agent's password that calls one number after the other: `python -m tests.interop.pjsua_thief`.

How each call ended it says as a JSON line, with the Reason header of the answer; it never registers.
"""

import argparse
import json
import os
import re
import time

import pjsua2 as pj

PATIENCE_S = 5.0


class Attempt(pj.Call):  # type: ignore[misc]
    """One call, until it is over."""

    reason: str | None = None
    is_over = False
    status = 0

    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            said = re.search(r"^Reason:\s*(.*?)\r?$", prm.e.body.tsxState.src.rdata.wholeMsg, re.MULTILINE | re.IGNORECASE)
            self.reason = None if said is None else said[1]
            self.status, self.is_over = info.lastStatusCode, True


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("user", "host", "password", "proxy"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("numbers", nargs="+")
    asked = parser.parse_args()
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = config.logConfig.consoleLevel = 0
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.audDevManager().setNullDev()
    endpoint.libStart()
    account_config = pj.AccountConfig()
    account_config.idUri = f"sip:{asked.user}@{asked.host}"
    account_config.sipConfig.proxies.append(f"sip:{asked.proxy};lr")
    account_config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", asked.user, 0, asked.password))
    account = pj.Account()
    account.create(account_config)
    for number in asked.numbers:
        attempt, end = Attempt(account), time.monotonic() + PATIENCE_S
        attempt.makeCall(f"sip:{number}@{asked.host}", pj.CallOpParam(True))
        while not attempt.is_over and time.monotonic() < end:
            endpoint.libHandleEvents(5)
        os.write(1, json.dumps({"status": attempt.status, "reason": attempt.reason}).encode() + b"\n")
        del attempt
    del account
    endpoint.libDestroy()


if __name__ == "__main__":
    main()
