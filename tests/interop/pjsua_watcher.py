"""PJSUA2 as a phone that subscribes to its messages and to a colleague's presence: `python -m tests.interop.pjsua_watcher`.

What it is told it says in JSON lines; it ends when its standard input does.
"""

import argparse
import json
import os
import select
import sys

import pjsua2 as pj


def say(**said: object) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


class Account(pj.Account):  # type: ignore[misc]
    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        say(event="registration", status=prm.code)

    def onMwiInfo(self, prm: pj.OnMwiInfoParam) -> None:
        say(event="messages", body=prm.rdata.wholeMsg.partition("\r\n\r\n")[2], state=prm.state)


class Buddy(pj.Buddy):  # type: ignore[misc]
    def onBuddyState(self) -> None:
        info = self.getInfo()
        say(
            event="presence",
            online=info.presStatus.status == pj.PJSUA_BUDDY_STATUS_ONLINE,
            busy=info.presStatus.activity == pj.PJRPID_ACTIVITY_BUSY,
            note=info.presStatus.note,
            state=info.subStateName,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("user", "host", "password", "proxy"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--buddy")
    parser.add_argument("--mwi", action="store_true")
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
    account_config.regConfig.registrarUri = f"sip:{asked.host}"
    account_config.sipConfig.proxies.append(f"sip:{asked.proxy};lr")
    account_config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", asked.user, 0, asked.password))
    account_config.mwiConfig.enabled = asked.mwi
    account = Account()
    account.create(account_config)
    buddy = Buddy()
    if asked.buddy:
        buddy_config = pj.BuddyConfig()
        buddy_config.uri = f"sip:{asked.buddy}@{asked.host}"
        buddy.create(account, buddy_config)
        buddy.subscribePresence(True)
    while True:
        endpoint.libHandleEvents(20)
        if select.select([0], [], [], 0)[0] and not sys.stdin.buffer.read1(1):
            break
    del buddy, account
    endpoint.libDestroy()


if __name__ == "__main__":
    main()
