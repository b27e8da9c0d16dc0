"""Why this gateway refuses or ends a call: code, status and words, in one table (RFC 3326 for the header that carries them).

The rules of destinations have their own reasons (`policy.model.Reason`); `services/refusals.py` puts both together. The words hold
nothing personal. They stand in Reason headers, rows' explanations and the API alike: who refuses for a new reason, adds it here.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from hushwire.sip.message import REASONS


class Refusal(NamedTuple):
    """One reason. `status` is None where it only ends a call that was answered, without a status of its own."""

    code: str
    status: int | None
    words: str


_REFUSALS: Final = (
    # The gateway takes no call.
    Refusal("closing", 503, "The gateway takes no calls now"),
    Refusal("draining", 503, "The gateway is about to end"),
    Refusal("restarted", 503, "The gateway was restarted"),
    Refusal("suspended", 403, "The agent is suspended"),
    Refusal("credential-locked", 403, "The credential is locked, since it was used as a stolen one would be"),
    Refusal("foreign-address", 403, "An agent registers its own address only"),
    Refusal("foreign-contact", 403, "The contact does not name a device of the agent's own"),
    Refusal("nobody-to-watch", 404, "There is nobody here to watch by this name"),
    Refusal("one-contact", 400, "A SUBSCRIBE needs exactly one Contact"),
    Refusal("too-many-subscriptions", 503, "Too many subscriptions by one credential"),
    # Nobody to ring, or no way.
    Refusal("no-such-number", 404, "No such number here"),
    Refusal("not-masked", 404, "The proxy number leads nowhere for who calls"),
    Refusal("mask-refused", 403, "The masked call is not allowed"),
    Refusal("mask-full", 486, "The proxy number has as many calls between its parties as it can have"),
    Refusal("too-many-diversions", 483, "The call was diverted too often before it came here"),
    Refusal("unavailable", 480, "Nobody can be reached"),
    Refusal("no-device", 480, "No device can be reached"),
    Refusal("do-not-disturb", 480, "Do not disturb"),
    Refusal("forward-emergency", 403, "Calls are not forwarded to an emergency number"),
    Refusal("forward-self", 403, "Calls are not forwarded to oneself"),
    Refusal("not-saved", 503, "The setting could not be saved now"),
    Refusal("nothing-refused", 404, "No call to another country was refused here a moment ago"),
    Refusal("not-confirmed", 488, "The setting is saved, and can not be confirmed by a tone"),
    Refusal("trunk-failed", 503, "No trunk"),
    Refusal("no-emergency-route", 503, "No carrier here takes emergency calls: call from another phone"),
    Refusal("trunk-full", 503, "The trunk has no free channel"),
    Refusal("no-recording", 503, "Recording is not possible"),
    Refusal("conference-full", 486, "The conference is full"),
    Refusal("no-conference", 404, "There is no such conference here"),
    Refusal("not-in-conference", 403, "Who invites somebody to a conference must be in it"),
    Refusal("conference-elsewhere", 480, "The conference is at another gateway, and this phone is not registered here"),
    Refusal("conference-failed", 503, "The conference could not be opened"),
    # What the far side said.
    Refusal("no-such-mailbox", 404, "No such mailbox"),
    Refusal("mailbox-in-use", 486, "The mailbox is being heard already"),
    Refusal("busy", 486, REASONS[486]),
    Refusal("declined", 603, REASONS[603]),
    Refusal("no-answer", 480, "Nobody answered"),
    Refusal("agent-not-reached", 480, "None of the agent's own phones took the call"),
    Refusal("not-found", 404, REASONS[404]),
    Refusal("rejected", 403, REASONS[403]),
    Refusal("cancelled", 487, REASONS[487]),
    Refusal("answered-elsewhere", 487, "Call completed elsewhere"),
    # Texts (MESSAGE).
    Refusal("text-type", 415, "A text is text/plain"),
    Refusal("text-charset", 415, "A text is in UTF-8 or ASCII"),
    Refusal("text-too-long", 413, "The text is too long"),
    Refusal("text-unreadable", 400, "The text can not be read"),
    Refusal("text-empty", 400, "The text is empty"),
    Refusal("text-emergency", 403, "Emergency services are called, not texted"),
    Refusal("text-to-self", 403, "A text is for somebody else"),
    Refusal("too-many-texts", 503, "Too many texts in a short time"),
    Refusal("text-not-stored", 503, "The text could not be stored now"),
    Refusal("texts-waiting", 480, "As many texts wait for this colleague as may"),
    # Media that do not fit.
    Refusal("no-common-media", 488, "No common media"),
    Refusal("srtp-required", 488, "The media must be protected: use SRTP"),
    Refusal("srtp-not-allowed", 488, "The media must not be protected here"),
    Refusal("no-common-crypto", 488, "No common protection: SDES keys must come over TLS, DTLS-SRTP may come over anything"),
    Refusal("no-fingerprint", 488, "DTLS-SRTP needs a fingerprint of SHA-256 or better"),
    Refusal("no-common-codec", 488, "No common codec"),
    Refusal("no-audio", 488, "No audio"),
    Refusal("not-protected", 488, "The media could not be protected"),
    # What ends a call.
    Refusal("bye-agent", None, "The agent hung up"),
    Refusal("bye-peer", None, "The other party hung up"),
    Refusal("message-left", 200, "The message was taken"),
    Refusal("mailbox-left", 200, "There are no more messages"),
    Refusal("hangup", 200, "Ended by an administrator"),
    Refusal("rules-changed", 403, "The destination is not allowed any more"),
    Refusal("limit-reached", 403, "What may be used of calls in a day is used up"),
    Refusal("joined-ended", 200, "The call is over"),
    Refusal("everybody-left", None, "Everybody left the conference"),
    Refusal("not-allowed", 403, "Nobody may listen to this call any more"),
    Refusal("not-refreshed", 408, "The session was not refreshed"),
    Refusal("no-ack", 408, "The other side never acknowledged"),
    Refusal("media-timeout", 408, "No media"),
    Refusal("media-lost", 503, "media-lost"),
    Refusal("media-failed", 503, "Media failed"),
    Refusal("shutdown", 503, "Shutting down"),
    Refusal("orphaned", None, "The gateway that held the call ended"),
    Refusal("internal-error", 500, "Internal error"),
    Refusal("transferred", 200, "Transferred"),
    # Transfers.
    Refusal("transfer-by-carrier", 403, "Transfers are not taken from carriers"),
    Refusal("foreign-call", 403, "The call is another agent's"),
    Refusal("not-transferable", 403, "Calls of this kind are not transferred"),
    Refusal("being-transferred", 491, "The call is being transferred"),
    Refusal("refer-to", 400, "The Refer-To can't be read"),
    Refusal("no-such-dialog", 481, "There is no such call to take"),
    Refusal("nobody-parked", 404, "Nobody is parked there"),
    Refusal("nobody-rings", 404, "No call rings there"),
    Refusal("slot-taken", 486, "The slot is taken"),
    Refusal("too-many-parties", 503, "The call has as many parties as it can have"),
    # Subscriptions.
    Refusal("nobody-to-watch", 404, "There is nobody here to watch by this name"),
    Refusal("one-contact", 400, "A SUBSCRIBE needs exactly one Contact"),
    Refusal("too-many-subscriptions", 503, "Too many subscriptions by one credential"),
    Refusal("too-many-in-org", 503, "Too many subscriptions within the organisation"),
)
REFUSALS: Final[Mapping[str, Refusal]] = {one.code: one for one in _REFUSALS}

STATUSES: Final[Mapping[int, str]] = {
    400: "The message can't be read",
    401: "The phone must show who it is",
    403: "It is not allowed",
    404: "There is nothing under this address",
    405: "The method is not offered here",
    406: "No answer would be understood there",
    407: "The phone must show who it is",
    408: "No answer came in time",
    413: "The message is too large",
    415: "The body is of a kind that is not read here",
    416: "Only sip, sips, tel and urn:service URIs can be called",
    420: "The message demands an extension that is not offered here",
    421: "The message lacks an extension that is needed here",
    422: "The session would have to be refreshed too often",
    423: "The registration or subscription would have to be refreshed too often",
    430: "The connection to the phone is gone",
    439: "The proxy in between does not keep connections",
    480: "Nobody can be reached",
    481: "The call that the message belongs to is over",
    482: "The message came back to where it had been",
    483: "The message came through too many proxies",
    484: "The number is incomplete or no number",
    486: "The party is busy",
    487: "The call was taken back",
    488: "No media that both sides know",
    489: "Nothing of this kind can be subscribed to here",
    491: "Both sides asked for a change at once",
    493: "The body can't be opened here",
    494: "The connection must be protected in another way",
    500: "Something went wrong on our side, or messages came in the wrong order",
    501: "The method is not offered here",
    503: "No call can be taken now",
    504: "No answer came in time",
    505: "Only SIP/2.0 is spoken here",
    513: "The message is too large",
    603: "The party declined",
}
"""What the engine answers by status alone, for people."""


def header(code: str) -> str:
    """A Reason header's value for one of these reasons that have a status."""
    found = REFUSALS[code]
    return reason_header(found.status or 500, found.words)


def reason_header(status: int, words: str | None = None) -> str:
    """A Reason header's value (RFC 3326)."""
    return f'SIP;cause={status};text="{words or REASONS.get(status, "Failed")}"'
