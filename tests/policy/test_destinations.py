"""A table of destinations: what is dialled where, under which list, and what the verdict must be.

One row: home country | allowed countries | destination | expected. Expected is `allow <number> <country>`, `deny <reason>`,
`emergency <number>` or `malformed <reason>`. Behind the list: `class=`, `prefix=`, `team=`, `agent=`, `short=`, `hours=`,
`except=`, `risk=`, `free=` (of a risk) and `by=` (the channel); `AT:sms`, `AT:ended` and so on name a country or class on terms.
"""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from hushwire.policy.model import Allow, AllowContact, Channel, Deny, Emergency, Malformed, Verdict
from hushwire.policy.numbers import plans_of
from hushwire.policy.risk import Risk, RiskKind, RiskPack
from hushwire.policy.rules import ExceptionKind, Level, NumberException, Rules, Term, Ways, Window
from tests.policy.rules import NOW, judged, rules

TERMS = {
    "calls": Term(Ways.CALLS),
    "sms": Term(Ways.SMS),
    "ended": Term(until=NOW),
    "running": Term(until=NOW + timedelta(days=1)),
    "open": Term(windows=(Window(frozenset({NOW.isoweekday()}), 0, 60),)),
    "closed": Term(windows=(Window(frozenset({NOW.isoweekday()}), 60, 1440),)),
}

TABLE = r"""
# Home dialling: national prefix, international prefix, +, in many countries.
DE | DE | 030123456 | allow +4930123456 DE
DE | DE | +4930123456 | allow +4930123456 DE
DE | DE | 004930123456 | allow +4930123456 DE
DE | DE | 015112345678 | allow +4915112345678 DE
DE | AT | 030123456 | deny country
DE | AT | 0043720123456 | allow +43720123456 AT
DE | AT | +4312345678 | allow +4312345678 AT
AT | AT | 0720123456 | allow +43720123456 AT
FR | FR | 0142685300 | allow +33142685300 FR
FR | FR | +33142685300 | allow +33142685300 FR
FR | GB | 00442079460000 | allow +442079460000 GB
GB | GB | 02079460000 | allow +442079460000 GB
GB | US | 0012125550123 | allow +12125550123 US
US | US | 2125550123 | allow +12125550123 US
US | US | 12125550123 | allow +12125550123 US
US | DE | 0114930123456 | allow +4930123456 DE
US | DE | 004930123456 | deny invalid
CA | CA | 6045550123 | allow +16045550123 CA
CA | CA | 2125550123 | deny country
AU | DE | 00114930123456 | allow +4930123456 DE
AU | AU | 0236618300 | allow +61236618300 AU
JP | DE | 0104930123456 | allow +4930123456 DE
JP | JP | 0312345678 | allow +81312345678 JP
RU | DE | 8104930123456 | allow +4930123456 DE
RU | RU | 89161234567 | allow +79161234567 RU
SG | SG | 61234567 | allow +6561234567 SG
SG | DE | 0014930123456 | allow +4930123456 DE
HK | HK | 21234567 | allow +85221234567 HK
BR | BR | 01123456789 | allow +551123456789 BR
BR | BR | 0151123456789 | allow +551123456789 BR
MX | MX | 5512345678 | allow +525512345678 MX
IT | IT | 0236618300 | allow +390236618300 IT
IT | IT | 236618300 | deny invalid
ES | ES | 810123456 | allow +34810123456 ES
PL | PL | 123456789 | allow +48123456789 PL
CZ | CZ | 212345678 | allow +420212345678 CZ
SE | SE | 08123456 | allow +468123456 SE
NL | NL | 0101234567 | allow +31101234567 NL
BE | BE | 012345678 | allow +3212345678 BE
CH | CH | 0212345678 | allow +41212345678 CH
DK | DK | 32123456 | allow +4532123456 DK
IN | IN | 01123456789 | allow +911123456789 IN
KE | KE | 0202012345 | allow +254202012345 KE
ZA | ZA | 0101234567 | allow +27101234567 ZA
NG | NG | 018040123 | deny incomplete
AR | AR | 01123456789 | allow +541123456789 AR
NZ | NZ | 032345678 | allow +6432345678 NZ
IL | IL | 021234567 | allow +97221234567 IL
TR | TR | 02123456789 | allow +902123456789 TR
UA | UA | 0311234567 | allow +380311234567 UA
EG | EG | 0234567890 | allow +20234567890 EG
KR | KR | 022123456 | allow +8222123456 KR
CN | CN | 01012345678 | allow +861012345678 CN
IE | GB | 00442079460000 | allow +442079460000 GB
FI | DE | 004930123456 | allow +4930123456 DE
FI | DE | 9904930123456 | allow +4930123456 DE
DE | DE | +49(0)30123456 | allow +4930123456 DE
DE | DE | +49-30-12.34.56 | allow +4930123456 DE
DE | DE | (030)123456 | allow +4930123456 DE

# The outside prefix is optional.
DE | DE prefix=0 | 0030123456 | allow +4930123456 DE
DE | DE prefix=0 | 030123456 | allow +4930123456 DE
DE | AT prefix=0 | 0004312345678 | allow +4312345678 AT
US | US prefix=9 | 912125550123 | allow +12125550123 US
US | US prefix=9 | 92125550123 | allow +12125550123 US
US | US prefix=9 | 2125550123 | allow +12125550123 US
US | US | 912125550123 | deny invalid
US | DE prefix=9 | 90114930123456 | allow +4930123456 DE

# Emergency: exact, before everything, also with an empty list.
DE | - | 112 | emergency 112
DE | - | 110 | emergency 110
DE | - | 911 | emergency 911
DE | - | 999 | deny incomplete
DE | - | 000 | deny incomplete
GB | - | 999 | emergency 999
GB | - | 112 | emergency 112
GB | - | 911 | emergency 911
AU | - | 000 | emergency 000
AU | - | 112 | emergency 112
AU | - | 999 | deny incomplete
US | - | 911 | emergency 911
US | - | 112 | emergency 112
US | - | 110 | deny incomplete
US | - | 000 | deny incomplete
JP | - | 119 | emergency 119
JP | - | 110 | emergency 110
FR | - | 15 | emergency 15
FR | - | 18 | emergency 18
BR | - | 190 | emergency 190
CH | - | 117 | emergency 117
NZ | - | 111 | emergency 111
ZA | - | 10111 | emergency 10111
CN | - | 120 | emergency 120
KR | - | 119 | emergency 119
US | US | 9112 | deny short-code
US | US | 91112 | deny short-code
US | US | +911 | deny incomplete
US | US | 9-1-1 | deny short-code
US | US | 0911 | deny incomplete
DE | DE | 1122 | deny invalid
DE | DE | 0112 | deny invalid
DE | DE | +112 | deny incomplete
DE | DE | 00112 | deny incomplete
DE | DE | +49112 | deny incomplete
DE | DE | 1,1,2 | malformed post-dial
DE | - | 112;ext=5 | malformed post-dial
DE | - | sip:112@pbx.test | emergency 112
DE | - | sip:%31%31%32@pbx.test | emergency 112
DE | - | sip:112@evil.test | deny host
DE | - | tel:112 | emergency 112
DE | - | tel:112;phone-context=+49 | emergency 112
DE | - | urn:service:sos | emergency 112
US | - | urn:service:sos | emergency 112
DE | - | URN:SERVICE:SOS.FIRE | emergency 112
DE | - | urn:service:sos.poison | deny service
DE | - | urn:service:counseling | deny service
DE | - | urn:isbn:0451450523 | deny scheme
DE | - | urn:service: | malformed grammar
US | prefix=9 | 9911 | emergency 911

# Territory, not calling code.
US | US | +17875550123 | deny country
US | PR | +17875550123 | allow +17875550123 PR
US | US | +18095550123 | deny country
US | DO | +18095550123 | allow +18095550123 DO
US | US | +18765550123 | deny country
US | US | +12423456789 | deny country
US | US | +12465550123 | deny invalid
US | US | +16495551234 | deny invalid
US | TC | +16497121234 | allow +16497121234 TC
US | US | +12844961234 | deny country
US | VG | +12844961234 | allow +12844961234 VG
US | US | +16715551234 | deny country
US | GU | +16715551234 | allow +16715551234 GU
US | US | +13406421234 | deny country
US | US | +16846221234 | deny country
US | US | +16045550123 | deny country
US | US CA | +16045550123 | allow +16045550123 CA
US | CA | +12125550123 | deny country
GB | GB | +441534456789 | deny country
GB | JE | +441534456789 | allow +441534456789 JE
GB | GB | +441481256789 | deny country
GB | GG | +441481256789 | allow +441481256789 GG
GB | GB | +441624756789 | deny country
GB | IM | +441624756789 | allow +441624756789 IM
GB | GB | +447911123456 | deny country
GB | GG | +447911123456 | allow +447911123456 GG
GB | GB | +447797712345 | deny country
GB | GB | 07400123456 | allow +447400123456 GB
DE | RS | +38328012345 | deny country
DE | XK | +38328012345 | allow +38328012345 XK
DE | XK | +38344123456 | allow +38344123456 XK
DE | RU | +77011234567 | deny country
DE | KZ | +77011234567 | allow +77011234567 KZ
DE | KZ | +79161234567 | deny country
DE | IT | +390669812345 | deny country
DE | VA | +390669812345 | allow +390669812345 VA
DE | IT | +390236618300 | allow +390236618300 IT
DE | IT | +393331234567 | deny several-countries
DE | IT VA | +393331234567 | allow +393331234567 IT
DE | AU | +61412345678 | deny several-countries
DE | AU CC | +61412345678 | deny several-countries
DE | AU CC CX | +61412345678 | allow +61412345678 AU
DE | AU | +61891621234 | deny country
DE | NO | +4740612345 | deny several-countries
DE | NO SJ | +4740612345 | allow +4740612345 NO
DE | NO | +4779123456 | deny country
DE | FI | +358401234567 | deny several-countries
DE | FI AX | +358401234567 | allow +358401234567 FI
DE | MA | +212612345678 | deny several-countries
DE | MA EH | +212612345678 | allow +212612345678 MA
DE | FR | +590690001234 | deny several-countries
DE | GP BL MF | +590690001234 | allow +590690001234 GP
DE | GP | +590590271234 | deny several-countries
DE | CW | +5997151234 | deny country
DE | BQ | +5997151234 | allow +5997151234 BQ
DE | CW | +59994351234 | allow +59994351234 CW
DE | FR | +262692123456 | deny country
DE | RE | +262692123456 | allow +262692123456 RE
DE | YT | +262269601234 | allow +262269601234 YT
DE | FR | +594594101234 | deny country
DE | CN | +85221234567 | deny country
DE | CN | +85328212345 | deny country
DE | DK | +299321000 | deny country
DE | DK | +298201234 | deny country
DE | ES | +35020012345 | deny country
DE | IL | +97222234567 | allow +97222234567 IL
DE | PS | +97022234567 | allow +97022234567 PS
DE | SH | +29022158 | allow +29022158 SH
DE | SH | +2908999 | deny country
DE | AC | +24762889 | allow +24762889 AC

# Unassigned, invalid, too short, too long.
DE | GB | +447700900123 | deny invalid
DE | US | +15555550123 | deny invalid
DE | US | +12121234567 | deny invalid
DE | DE | +490 | deny incomplete
DE | DE | +49 | deny incomplete
DE | DE | +4930 | deny incomplete
DE | DE | 0 | deny incomplete
DE | DE | 00 | deny incomplete
DE | DE | +0049301234567 | deny invalid
DE | DE | +9991234567 | deny invalid
DE | DE | +2101234567 | deny invalid
DE | DE | +493012345678901234567890 | deny invalid
DE | DE | 99999999999999999999999999999999999999999 | deny invalid
DE | DE | 115 | deny short-code
US | US | 411 | deny short-code
GB | GB | 118118 | deny short-code
GB | GB | 101 | deny short-code

# Classes.
DE | DE | 09001234567 | deny class
DE | DE class=premium | 09001234567 | allow +499001234567 DE
DE | AT class=premium | 09001234567 | deny country
US | US | +19005551234 | deny several-countries
GB | GB GG | +448701234567 | deny class
DE | DE | 01801234567 | deny class
DE | DE class=shared-cost | 01801234567 | allow +491801234567 DE
DE | DE | 070012345678 | deny class
GB | GB GG JE IM | 07640123456 | deny class
GB | GB GG JE IM class=pager | 07640123456 | allow +447640123456 GB
GB | GB GG JE IM | 07012345678 | deny class
GB | GB GG JE IM class=personal | 07012345678 | allow +447012345678 GB
DE | DE | +881612345678 | deny class
DE | class=satellite | +881612345678 | allow +881612345678 -
DE | DE | +870773123456 | deny class
DE | class=satellite | +870773123456 | allow +870773123456 -
DE | DE | +883510000000000 | deny class
DE | class=global | +883510000000000 | allow +883510000000000 -
DE | class=global | +881612345678 | deny class
DE | DE | +80012345678 | deny class
DE | class=uifn | +80012345678 | allow +80012345678 -
DE | DE | +979123456789 | deny class
DE | class=premium | +979123456789 | allow +979123456789 -
DE | DE | +878101234567890 | deny class
DE | DE | +80812345678 | deny class
DE | DE | 08001234567 | allow +498001234567 DE
DE | AT | 08001234567 | deny country
US | US | 8005551234 | allow +18005551234 US
CA | CA | 8005551234 | allow +18005551234 CA
DE | US | +18005551234 | allow +18005551234 US
DE | CA | +18005551234 | deny country
GB | GB | 03001234567 | allow +443001234567 GB
DE | GB | +443457404040 | allow +443457404040 GB
DE | GG | +443001234567 | deny country
GB | GB | 08001111111 | allow +448001111111 GB
AU | AU | 1800123456 | allow +611800123456 AU

# Characters.
DE | DE | 030 123456 | malformed characters
DE | DE | \u0020030123456 | malformed characters
DE | DE | 030123456\u0020 | malformed characters
DE | DE | 030\t123456 | malformed characters
DE | DE | 030123456\n | malformed characters
DE | DE | 030123456\r\nTo: x | malformed characters
DE | DE | \u0000 | malformed characters
DE | DE | 030123456\u0000 | malformed characters
DE | DE | +49\u200b30123456 | malformed characters
DE | DE | \ufeff+4930123456 | malformed characters
DE | DE | \u202e+4930123456 | malformed characters
DE | DE | ＋4930123456 | malformed characters
DE | DE | +49３0123456 | malformed characters
DE | DE | +٤٩٣٠١٢٣٤٥٦ | malformed characters
DE | DE | 030‐123456 | malformed characters
DE | DE | 030\u00a0123456 | malformed characters
DE | DE | \ud800 | malformed characters
US | US | 1800FLOWERS | malformed letters
US | US | +1212555O123 | malformed letters
DE | DE | anna | malformed letters
DE | DE | 0x1E | malformed letters
DE | DE | 030123456p5 | malformed letters
DE | DE | 030123456w5 | malformed letters
DE | DE | 030123456,5 | malformed post-dial
DE | DE | 030123456,,5 | malformed post-dial
DE | DE | 030123456;ext=5 | malformed post-dial
DE | DE | 030123456;EXT=5 | malformed post-dial
DE | DE | 030123456;isub=5 | malformed post-dial
DE | DE | 030123456;postd=p5 | malformed post-dial
DE | DE | 030123456;foo=bar | malformed parameter
DE | DE | 030123456;cic=1;cic=2 | malformed parameter
DE | DE | 030123456; | malformed parameter
DE | DE | 030123456;cic= | malformed parameter
DE | DE | ++4930123456 | malformed grammar
DE | DE | +49+30123456 | malformed grammar
DE | DE | + | malformed grammar
DE | DE | +() | malformed grammar
DE | DE | -- | malformed grammar
DE | DE | 030123456@pbx.test | malformed characters
DE | DE | 030/123456 | malformed characters
DE | DE | 030123456? | malformed characters
DE | DE | 030123456%00 | malformed characters
DE | DE | 030123456%0d%0a | malformed characters
DE | DE | 030123456%20 | malformed characters
DE | DE | 030123456%2C5 | malformed post-dial
DE | DE | 030123456%3Bext=5 | malformed letters
DE | DE | %2B4930123456 | allow +4930123456 DE
DE | DE | %252B4930123456 | malformed characters
DE | DE | +4930123456% | malformed characters
DE | DE | +4930123456%e2%80%8b | malformed characters
DE | DE | <sip:+4930123456@pbx.test> | malformed grammar
DE | DE | "x" <sip:+4930123456@pbx.test> | malformed characters
DE | DE | <+4930123456> | malformed grammar
DE | DE | 030:123456 | malformed grammar
DE | DE | :030123456 | malformed grammar
DE | DE | *31#030123456 | deny feature-code
DE | DE | **21*030123456# | deny feature-code
DE | DE | +4930123456#5 | malformed grammar
DE | DE | *43 | deny feature-code

# What a URI carries besides its number never changes it.
DE | DE | +4930123456;rn=+19005551234;npdi | allow +4930123456 DE
DE | DE | +4930123456;cic=+1-6789 | allow +4930123456 DE
DE | DE | +4930123456;tgrp=cheap;trunk-context=carrier.test | allow +4930123456 DE
DE | DE | sip:+4930123456@pbx.test | allow +4930123456 DE
DE | DE | sips:+4930123456@pbx.test | allow +4930123456 DE
DE | DE | SIP:+4930123456@PBX.test | allow +4930123456 DE
DE | DE | sip:+4930123456@acme.pbx.test | allow +4930123456 DE
DE | DE | sip:+4930123456@pbx.test. | allow +4930123456 DE
DE | DE | sip:+4930123456@pbx.test:5060;user=phone;transport=tcp | allow +4930123456 DE
DE | DE | sip:+4930123456@192.0.2.1 | allow +4930123456 DE
DE | DE | sip:+4930123456@192.0.2.1:5061 | allow +4930123456 DE
DE | DE | sip:+4930123456@[2001:db8::1]:5060 | allow +4930123456 DE
DE | DE | sip:+4930123456@[2001:DB8:0:0:0:0:0:1] | allow +4930123456 DE
DE | DE | sip:+4930123456@[::ffff:192.0.2.1] | allow +4930123456 DE
DE | DE | sip:+4930123456@pbx.test;maddr=203.0.113.9 | allow +4930123456 DE
DE | DE | sip:+4930123456@pbx.test?Route=%3Csip:evil.test%3E | allow +4930123456 DE
DE | DE | sip:+4930123456;rn=+1900;npdi@pbx.test | allow +4930123456 DE
DE | DE | sip:030123456;phone-context=pbx.test@pbx.test | allow +4930123456 DE
DE | DE | sip:030123456;phone-context=evil.test@pbx.test | deny host
DE | GB | sip:02079460000;phone-context=+44@pbx.test | allow +442079460000 GB
DE | DE | sip:02079460000;phone-context=+44@pbx.test | deny country
DE | DE | +4930123456;phone-context=+1 | malformed parameter
DE | DE | sip:+4930123456@pbx.test;foo=bar | malformed parameter
DE | DE | sip:+4930123456@pbx.test;ext=5 | malformed post-dial
DE | DE | sip:+4930123456;ext=5@pbx.test | malformed post-dial
DE | DE | sip:+4930123456@pbx.test;method=MESSAGE | deny method
DE | DE | sip:+4930123456@pbx.test:5080 | deny host
DE | DE | sip:+4930123456@192.0.2.1:5080 | deny host
DE | DE | sip:+4930123456@192.0.2.2 | deny host
DE | DE | sip:+4930123456@other.pbx.test | deny host
DE | DE | sip:+4930123456@evil.test | deny host
DE | DE | sip:anna@evil.test | deny host
DE | DE | sip:+4930123456@pbx.test.evil.test | deny host
DE | DE | sip:+4930123456@127.0.0.1 | deny host
DE | DE | sip:+4930123456:secret@pbx.test | deny password
DE | DE | sip:pbx.test | deny no-number
DE | DE | sip:anna@pbx.test | malformed letters
DE | DE | sip:@pbx.test | malformed grammar
DE | DE | sip: | malformed grammar
DE | DE | sip:+4930123456@ | malformed grammar
DE | DE | sip:+4930123456@pbx.test@evil.test | malformed grammar
DE | DE | sip:+4930123456@pbx.test:99999 | malformed grammar
DE | DE | sip:+4930123456@[2001:db8::1 | malformed grammar
DE | DE | sip:+49%0030123456@pbx.test | malformed characters
DE | DE | sip:+4930#1@pbx.test | malformed grammar
DE | DE | sip:*31%23030123456@pbx.test | deny feature-code
DE | DE | tel:+4930123456 | allow +4930123456 DE
DE | DE | TEL:+49-30-123456 | allow +4930123456 DE
DE | DE | tel:+4930123456;phone-context=+49 | malformed parameter
DE | DE | tel:030123456 | malformed context-missing
DE | DE | tel:030123456;phone-context=+49 | allow +4930123456 DE
DE | DE | tel:030123456;phone-context=pbx.test | allow +4930123456 DE
DE | DE | tel:123456;phone-context=+49-30 | allow +4930123456 DE
DE | DE | tel:030123456;phone-context=evil.test | deny host
DE | DE | tel:+4930123456;ext=5 | malformed post-dial
DE | DE | tel:+4930123456;m-required=1 | malformed parameter
DE | DE | tel:%2B4930123456 | malformed grammar
DE | DE | tel:+49301234A6 | malformed letters
DE | DE | tel: | malformed empty
DE | DE | https://evil.test/ | deny scheme
DE | DE | mailto:a@evil.test | deny scheme
DE | DE | h323:030123456 | deny scheme
DE | DE | javascript:alert(1) | deny scheme

# More homes: what is dialled there nationally, and abroad from there with its own international prefix.
PT | PT | 912345271 | allow +351912345271 PT
PT | DE | 912345271 | deny country
PT | DE | 004930271828 | allow +4930271828 DE
GR | GR | 6912345271 | allow +306912345271 GR
GR | DE | 6912345271 | deny country
GR | DE | 004930271828 | allow +4930271828 DE
RO | RO | 0712034271 | allow +40712034271 RO
RO | DE | 0712034271 | deny country
RO | DE | 004930271828 | allow +4930271828 DE
HU | HU | 06201234271 | allow +36201234271 HU
HU | DE | 06201234271 | deny country
HU | DE | 004930271828 | allow +4930271828 DE
NO | NO SJ | 40612271 | allow +4740612271 NO
NO | NO | 40612271 | deny several-countries
NO | DE | 004930271828 | allow +4930271828 DE
TH | TH | 0812345271 | allow +66812345271 TH
TH | DE | 0812345271 | deny country
TH | DE | 0014930271828 | allow +4930271828 DE
VN | VN | 0912345271 | allow +84912345271 VN
VN | DE | 0912345271 | deny country
VN | DE | 004930271828 | allow +4930271828 DE
MY | MY | 0123456271 | allow +60123456271 MY
MY | DE | 0123456271 | deny country
MY | DE | 004930271828 | allow +4930271828 DE
PH | PH | 09051234271 | allow +639051234271 PH
PH | DE | 09051234271 | deny country
PH | DE | 004930271828 | allow +4930271828 DE
ID | ID | 0812345271 | allow +62812345271 ID
ID | DE | 0812345271 | deny country
ID | DE | 0084930271828 | allow +4930271828 DE
SA | SA | 0512345271 | allow +966512345271 SA
SA | DE | 0512345271 | deny country
SA | DE | 004930271828 | allow +4930271828 DE
AE | AE | 0501234271 | allow +971501234271 AE
AE | DE | 0501234271 | deny country
AE | DE | 004930271828 | allow +4930271828 DE
PK | PK | 03012345271 | allow +923012345271 PK
PK | DE | 03012345271 | deny country
PK | DE | 004930271828 | allow +4930271828 DE
LK | LK | 0712345271 | allow +94712345271 LK
LK | DE | 0712345271 | deny country
LK | DE | 004930271828 | allow +4930271828 DE
CL | CL | 221234271 | allow +56221234271 CL
CL | DE | 221234271 | deny country
CL | DE | 004930271828 | allow +4930271828 DE
CO | CO | 3211234271 | allow +573211234271 CO
CO | DE | 3211234271 | deny country
CO | DE | 0054930271828 | allow +4930271828 DE
PE | PE | 912345271 | allow +51912345271 PE
PE | DE | 912345271 | deny country
PE | DE | 004930271828 | allow +4930271828 DE
UY | UY | 094231271 | allow +59894231271 UY
UY | DE | 094231271 | deny country
UY | DE | 004930271828 | allow +4930271828 DE
JM | JM | 8762101271 | allow +18762101271 JM
JM | DE | 8762101271 | deny country
JM | DE | 0114930271828 | allow +4930271828 DE
PR | PR | 7872345271 | allow +17872345271 PR
PR | DE | 7872345271 | deny country
PR | DE | 0114930271828 | allow +4930271828 DE
GG | GG | 07781123271 | allow +447781123271 GG
GG | DE | 07781123271 | deny country
GG | DE | 004930271828 | allow +4930271828 DE
KZ | KZ | 87710009271 | allow +77710009271 KZ
KZ | DE | 87710009271 | deny country
KZ | DE | 8104930271828 | allow +4930271828 DE
LU | LU | 628123271 | allow +352628123271 LU
LU | DE | 628123271 | deny country
LU | DE | 004930271828 | allow +4930271828 DE
IS | IS | 6111271 | allow +3546111271 IS
IS | DE | 6111271 | deny country
IS | DE | 004930271828 | allow +4930271828 DE
MC | MC | 0612345271 | allow +377612345271 MC
MC | DE | 0612345271 | deny country
MC | DE | 004930271828 | allow +4930271828 DE
SK | SK | 0912123271 | allow +421912123271 SK
SK | DE | 0912123271 | deny country
SK | DE | 004930271828 | allow +4930271828 DE
BG | BG | 043012271 | allow +35943012271 BG
BG | DE | 043012271 | deny country
BG | DE | 004930271828 | allow +4930271828 DE
HR | HR | 0921234271 | allow +385921234271 HR
HR | DE | 0921234271 | deny country
HR | DE | 004930271828 | allow +4930271828 DE
RS | RS | 0601234271 | allow +381601234271 RS
RS | DE | 0601234271 | deny country
RS | DE | 004930271828 | allow +4930271828 DE
TN | TN | 20123271 | allow +21620123271 TN
TN | DE | 20123271 | deny country
TN | DE | 004930271828 | allow +4930271828 DE

# Terms: calls or messages only, ended, closed at this hour; NOW is a Thursday at midnight, UTC.
DE | AT:sms | +4312345678 | deny way
DE | AT:sms by=sms | +4312345678 | allow +4312345678 AT
DE | AT:sms by=message | +4312345678 | allow +4312345678 AT
DE | AT:calls by=sms | +4312345678 | deny way
DE | AT:calls by=message | 004312345678 | deny way
DE | AT:calls | 004312345678 | allow +4312345678 AT
DE | AT:calls by=forward | +4312345678 | allow +4312345678 AT
DE | AT:ended | +4312345678 | deny expired
DE | AT:running | +4312345678 | allow +4312345678 AT
DE | AT:closed | +4312345678 | deny hours
DE | AT:open | +4312345678 | allow +4312345678 AT
DE | AT:closed DE | 030123456 | allow +4930123456 DE
DE | DE hours=closed | 030123456 | deny hours
DE | DE hours=open | 030123456 | allow +4930123456 DE
DE | DE hours=closed | 112 | emergency 112
DE | DE:ended | 110 | emergency 110
DE | DE class=premium premium:ended | 09001234567 | deny expired
DE | DE class=premium premium:sms | 09001234567 | deny way
DE | DE class=premium premium:running | 09001234567 | allow +499001234567 DE
IT | IT:ended VA | 0236618300 | deny expired
AU | AU CC:sms CX | 0412345678 | deny way
US | US CA:sms | 8005551234 | allow +18005551234 US

# Teams and agents narrow, and never widen.
DE | DE AT team=DE | +4312345678 | deny country
DE | DE AT team=DE | 030123456 | allow +4930123456 DE
DE | DE team=DE,AT | +4312345678 | deny country
DE | DE AT agent=AT | 030123456 | deny country
DE | DE AT team=DE agent=AT | 030123456 | deny country
DE | DE AT team=DE agent=AT | +4312345678 | deny country
DE | DE AT team=DE,AT agent=AT | +4312345678 | allow +4312345678 AT
DE | DE agent=- | 030123456 | deny country
DE | DE agent=- | 112 | emergency 112
AU | AU CC CX team=AU | 0412345678 | deny several-countries

# Short codes: listed ones only, exactly, in the home country.
DE | DE | 116117 | deny short-code
DE | DE short=116117 | 116117 | allow 116117 DE
DE | DE short=116117 | 1161170 | deny invalid
DE | AT short=116117 | 116117 | deny country
DE | DE short=116117 prefix=0 | 0116117 | allow 116117 DE
DE | DE short=116117 | +116117 | deny incomplete
DE | DE short=116117 | tel:116117 | malformed context-missing
DE | DE:ended short=116117 | 116117 | deny expired
FR | FR short=3639 | 3639 | allow 3639 FR
US | US short=411 | 411 | allow 411 US
GB | GB short=101 | 101 | allow 101 GB

# Exceptions for numbers that no plan knows.
DE | DE | +4932999 | deny invalid
DE | DE except=+4932/DE | +4932999 | allow +4932999 DE
DE | DE except=+4932/DE | 032999 | allow +4932999 DE
DE | AT except=+4932/DE | +4932999 | deny country
DE | DE except=+4932/DE | +4933999 | deny invalid
GB | US except=+1999/US | +19995550199 | allow +19995550199 US

# Ranges of risk packs, and numbers that are excepted from them.
DE | DE risk=+493012 | 030123456 | deny high-risk
DE | DE risk=+493012 | 030223456 | allow +4930223456 DE
DE | AT risk=+493012 | 030123456 | deny country
DE | DE risk=+493012 free=+4930123456 | 030123456 | allow +4930123456 DE
DE | DE risk=+493012 free=+4930123456 | 030123457 | deny high-risk
DE | DE risk=+493012 by=sms | 030123456 | deny high-risk

# Ranges that several states claim need them all; foreign emergency numbers are none.
DE | RU | +79781234567 | deny several-countries
DE | UA | +79781234567 | deny several-countries
DE | RU UA | +79781234567 | allow +79781234567 RU
DE | RU UA | +79161234567 | allow +79161234567 RU
DE | TR | +903922123456 | deny several-countries
DE | TR CY | +903922123456 | allow +903922123456 TR
IT | IT | 0549882345 | deny several-countries
IT | IT SM | 0549882345 | allow +390549882345 IT
DE | NF | +672106123 | deny country
DE | AQ | +672106123 | allow +672106123 AQ
DE | DE | 999 | deny incomplete
DE | DE | 000 | deny incomplete
GB | GB | 999 | emergency 999
AU | AU | 000 | emergency 000
GB | GB | 000 | deny incomplete
AU | AU | 999 | deny incomplete
"""


def rows() -> list[tuple[str, str, str, str]]:
    found = []
    for line in TABLE.splitlines():
        if not line or line.startswith("#"):
            continue
        home, allowed, destination, expected = (part.strip(" ") for part in line.split(" | ", 3))
        found.append(
            (home, allowed, destination.encode("raw_unicode_escape").decode("unicode_escape") if "\\" in line else destination, expected)
        )
    return found


def shown(verdict: Verdict) -> str:
    match verdict:
        case Allow(number, country, _, _):
            return f"allow {number} {country or '-'}"
        case AllowContact():
            return "allow contact"
        case Deny(reason=reason):
            return f"deny {reason}"
        case Emergency(number=number):
            return f"emergency {number}"
        case Malformed(reason=reason):
            return f"malformed {reason}"


def snapshot_of(home: str, options: dict[str, str], words: list[str]) -> Rules:
    """The rules that a row's second cell tells."""
    plain = rules(home, prefix=options.get("prefix"), classes=options.get("class", "").replace(",", " "))
    named = [word.partition(":") for word in words]
    terms = tuple(sorted((subject, TERMS[term]) for subject, _, term in named if term))
    narrower = tuple(
        Level(name, frozenset(filter(lambda code: code != "-", options[name].split(",")))) for name in ("team", "agent") if name in options
    )
    exceptions = []
    if "except" in options:
        prefix, _, country = options["except"].partition("/")
        exceptions.append(NumberException(ExceptionKind.UNASSIGNED, prefix, True, country))
    if "free" in options:
        exceptions.append(NumberException(ExceptionKind.RISK, options["free"], False, home))
    packs = ()
    if "risk" in options:
        risk = Risk(options["risk"], RiskKind.MISUSE, "us", "seen on bills")
        packs = (RiskPack("own", 1, b"", date(2026, 1, 1), {"us": "our bills"}, {risk.prefix: risk}),)
    return replace(
        plain,
        allowed_countries=frozenset(subject for subject, _, _ in named if len(subject) == 2),
        terms=terms,
        hours=TERMS[options["hours"]].windows if "hours" in options else (),
        short_codes=frozenset(filter(None, options.get("short", "").split(","))),
        narrower=narrower,
        exceptions=tuple(exceptions),
        packs=packs,
    )


@pytest.mark.parametrize(("home", "allowed", "destination", "expected"), rows())
def test_each_destination_gets_the_verdict_of_the_table(home: str, allowed: str, destination: str, expected: str) -> None:
    words = allowed.split()
    options = dict(word.split("=") for word in words if "=" in word)
    snapshot = snapshot_of(home, options, [word for word in words if "=" not in word and word != "-"])
    assert shown(judged(destination, snapshot, Channel(options.get("by", "invite")))) == expected


def test_the_table_is_large_and_spans_many_home_countries() -> None:
    table = rows()
    assert len(table) >= 500
    assert len({home for home, *_ in table}) >= 60


def test_the_first_digits_of_the_north_american_plan_tell_where_numbers_may_lie_and_where_they_do_not_tell_it_may_be_anywhere() -> None:
    assert plans_of("+1712432") == {"US", "CA"}
    assert "JM" in plans_of("+1876")
    for anywhere in ("+1", "+171", "+1800", "+1900"):
        assert len(plans_of(anywhere)) == 25, anywhere
    assert plans_of("+44") == {"GB", "GG", "IM", "JE"}
    assert plans_of("+4930") == {"DE"}
