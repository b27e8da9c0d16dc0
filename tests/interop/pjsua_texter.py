"""PJSUA2 as a phone that texts: `python -m tests.interop.pjsua_texter`.

A line of JSON on standard input ({"to": ..., "text": ...}) is a text to send; what comes, and what became of one, it says in JSON lines.
It ends when its standard input does.
"""

import argparse
import json
import os
import select

import pjsua2 as pj


def say(**said: object) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


class Account(pj.Account):  # type: ignore[misc]
    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        say(event="registration", status=prm.code)

    def onInstantMessage(self, prm: pj.OnInstantMessageParam) -> None:
        say(event="text", sender=prm.fromUri, text=prm.msgBody, type=prm.contentType)

    def onInstantMessageStatus(self, prm: pj.OnInstantMessageStatusParam) -> None:
        say(event="status", to=prm.toUri, status=prm.code, reason=prm.reason)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("user", "host", "password", "proxy"):
        parser.add_argument("--" + name, required=True)
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
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_TCP, transport)
    endpoint.audDevManager().setNullDev()
    endpoint.libStart()
    account_config = pj.AccountConfig()
    account_config.idUri = f"sip:{asked.user}@{asked.host}"
    account_config.regConfig.registrarUri = f"sip:{asked.host}"
    account_config.sipConfig.proxies.append(f"sip:{asked.proxy};lr")
    account_config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", asked.user, 0, asked.password))
    account = Account()
    account.create(account_config)
    buddies, given = [], b""
    while True:
        endpoint.libHandleEvents(20)
        if select.select([0], [], [], 0)[0]:
            data = os.read(0, 65_536)
            if not data:
                break
            given += data
        while b"\n" in given:
            line, _, given = given.partition(b"\n")
            wanted = json.loads(line)
            buddy, buddy_config = pj.Buddy(), pj.BuddyConfig()
            buddy_config.uri = wanted["to"]
            buddy.create(account, buddy_config)
            message = pj.SendInstantMessageParam()
            message.content = wanted["text"]
            buddy.sendInstantMessage(message)
            buddies.append(buddy)  # it must live until the answer is there
    buddies.clear()
    del account
    endpoint.libDestroy()


if __name__ == "__main__":
    main()
