"""What PDUs carry behind their header, a frozen value for each command (SMPP 3.4 section 4).

`LAYOUT` names the mandatory fields in their order on the wire. Optional parameters may follow in any body, since carriers add theirs where
the specification foresees none; all are kept. What could be personal or secret is not shown by `repr`.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias

from hushwire.sms.smpp.codes import INTERFACE_VERSION, Command, Status, Tag
from hushwire.sms.smpp.fields import Address, CString, Field, Octet, Octets, Party, Time, Tlv

Layout: TypeAlias = tuple[tuple[str, Field], ...]

_OCTET: Final = Octet()
_SOURCE: Final = Party(21, Status.ESME_RINVSRCADR)
_DESTINATION: Final = Party(21, Status.ESME_RINVDSTADR)
_LONG_SOURCE: Final = Party(65, Status.ESME_RINVSRCADR)
_LONG_DESTINATION: Final = Party(65, Status.ESME_RINVDSTADR)
_SERVICE: Final = CString(6, Status.ESME_RINVSERTYP)
_MESSAGE_ID: Final = CString(65, Status.ESME_RINVMSGID)
_SYSTEM_ID: Final = CString(16, Status.ESME_RINVSYSID)
_PASSWORD: Final = CString(9, Status.ESME_RINVPASWD)
_SCHEDULE: Final = Time(Status.ESME_RINVSCHED)
_VALIDITY: Final = Time(Status.ESME_RINVEXPIRY)
_NOBODY: Final = Address()


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Nothing but optional parameters."""

    COMMAND: ClassVar[int] = 0
    LAYOUT: ClassVar[Layout] = ()

    tlvs: tuple[Tlv, ...] = ()

    def tlv(self, tag: Tag) -> bytes | None:
        """The value of the first optional parameter with this tag."""
        return next((tlv.value for tlv in self.tlvs if tlv.tag == tag), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind(Body):
    """What the three requests to bind share (section 4.1)."""

    LAYOUT: ClassVar[Layout] = (
        ("system_id", _SYSTEM_ID),
        ("password", _PASSWORD),
        ("system_type", CString(13, Status.ESME_RINVSYSTYP)),
        ("interface_version", _OCTET),
        ("addr_ton", _OCTET),
        ("addr_npi", _OCTET),
        ("address_range", CString(41)),
    )

    system_id: str = ""
    password: str = field(default="", repr=False)
    system_type: str = ""
    interface_version: int = INTERFACE_VERSION
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTransmitter(Bind):
    COMMAND: ClassVar[int] = Command.BIND_TRANSMITTER


@dataclass(frozen=True, slots=True, kw_only=True)
class BindReceiver(Bind):
    COMMAND: ClassVar[int] = Command.BIND_RECEIVER


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTransceiver(Bind):
    COMMAND: ClassVar[int] = Command.BIND_TRANSCEIVER


@dataclass(frozen=True, slots=True, kw_only=True)
class BindResp(Body):
    LAYOUT: ClassVar[Layout] = (("system_id", _SYSTEM_ID),)

    system_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTransmitterResp(BindResp):
    COMMAND: ClassVar[int] = Command.BIND_TRANSMITTER_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class BindReceiverResp(BindResp):
    COMMAND: ClassVar[int] = Command.BIND_RECEIVER_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class BindTransceiverResp(BindResp):
    COMMAND: ClassVar[int] = Command.BIND_TRANSCEIVER_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbind(Body):
    """A message centre asks an ESME to bind (section 4.1.7)."""

    COMMAND: ClassVar[int] = Command.OUTBIND
    LAYOUT: ClassVar[Layout] = (("system_id", _SYSTEM_ID), ("password", _PASSWORD))

    system_id: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbind(Body):
    COMMAND: ClassVar[int] = Command.UNBIND


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbindResp(Body):
    COMMAND: ClassVar[int] = Command.UNBIND_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class EnquireLink(Body):
    COMMAND: ClassVar[int] = Command.ENQUIRE_LINK


@dataclass(frozen=True, slots=True, kw_only=True)
class EnquireLinkResp(Body):
    COMMAND: ClassVar[int] = Command.ENQUIRE_LINK_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class GenericNack(Body):
    """A PDU that could not be read, or a command that is not known (section 4.3)."""

    COMMAND: ClassVar[int] = Command.GENERIC_NACK


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortMessage(Body):
    """What submit_sm and deliver_sm share (sections 4.4.1 and 4.6.1)."""

    LAYOUT: ClassVar[Layout] = (
        ("service_type", _SERVICE),
        ("source", _SOURCE),
        ("destination", _DESTINATION),
        ("esm_class", _OCTET),
        ("protocol_id", _OCTET),
        ("priority_flag", _OCTET),
        ("schedule_delivery_time", _SCHEDULE),
        ("validity_period", _VALIDITY),
        ("registered_delivery", _OCTET),
        ("replace_if_present_flag", _OCTET),
        ("data_coding", _OCTET),
        ("sm_default_msg_id", _OCTET),
        ("short_message", Octets()),
    )

    service_type: str = ""
    source: Address = _NOBODY
    destination: Address = _NOBODY
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = field(default=b"", repr=False)

    @property
    def payload(self) -> bytes:
        """The message: `message_payload`, where there is one and no `short_message` (section 5.3.2.32)."""
        return self.short_message or self.tlv(Tag.MESSAGE_PAYLOAD) or b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitSm(ShortMessage):
    COMMAND: ClassVar[int] = Command.SUBMIT_SM


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverSm(ShortMessage):
    COMMAND: ClassVar[int] = Command.DELIVER_SM


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageResp(Body):
    """An answer that names a message."""

    LAYOUT: ClassVar[Layout] = (("message_id", _MESSAGE_ID),)

    message_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitSmResp(MessageResp):
    COMMAND: ClassVar[int] = Command.SUBMIT_SM_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverSmResp(MessageResp):
    """Its `message_id` is unused and empty (section 4.6.2)."""

    COMMAND: ClassVar[int] = Command.DELIVER_SM_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSm(Body):
    """A message whose text is an optional parameter (section 4.7.1); it goes both ways."""

    COMMAND: ClassVar[int] = Command.DATA_SM
    LAYOUT: ClassVar[Layout] = (
        ("service_type", _SERVICE),
        ("source", _LONG_SOURCE),
        ("destination", _LONG_DESTINATION),
        ("esm_class", _OCTET),
        ("registered_delivery", _OCTET),
        ("data_coding", _OCTET),
    )

    service_type: str = ""
    source: Address = _NOBODY
    destination: Address = _NOBODY
    esm_class: int = 0
    registered_delivery: int = 0
    data_coding: int = 0

    @property
    def payload(self) -> bytes:
        """The message."""
        return self.tlv(Tag.MESSAGE_PAYLOAD) or b""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSmResp(MessageResp):
    COMMAND: ClassVar[int] = Command.DATA_SM_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySm(Body):
    """What became of a message (section 4.8.1)."""

    COMMAND: ClassVar[int] = Command.QUERY_SM
    LAYOUT: ClassVar[Layout] = (("message_id", _MESSAGE_ID), ("source", _SOURCE))

    message_id: str = ""
    source: Address = _NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySmResp(Body):
    COMMAND: ClassVar[int] = Command.QUERY_SM_RESP
    LAYOUT: ClassVar[Layout] = (
        ("message_id", _MESSAGE_ID),
        ("final_date", Time(Status.ESME_RINVEXPIRY)),
        ("message_state", _OCTET),
        ("error_code", _OCTET),
    )

    message_id: str = ""
    final_date: str = ""
    message_state: int = 0
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSm(Body):
    """Take a message back that was not delivered yet (section 4.9.1)."""

    COMMAND: ClassVar[int] = Command.CANCEL_SM
    LAYOUT: ClassVar[Layout] = (
        ("service_type", _SERVICE),
        ("message_id", _MESSAGE_ID),
        ("source", _SOURCE),
        ("destination", _DESTINATION),
    )

    service_type: str = ""
    message_id: str = ""
    source: Address = _NOBODY
    destination: Address = _NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSmResp(Body):
    COMMAND: ClassVar[int] = Command.CANCEL_SM_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceSm(Body):
    """Another text for a message that was not delivered yet (section 4.10.1)."""

    COMMAND: ClassVar[int] = Command.REPLACE_SM
    LAYOUT: ClassVar[Layout] = (
        ("message_id", _MESSAGE_ID),
        ("source", _SOURCE),
        ("schedule_delivery_time", _SCHEDULE),
        ("validity_period", _VALIDITY),
        ("registered_delivery", _OCTET),
        ("sm_default_msg_id", _OCTET),
        ("short_message", Octets()),
    )

    message_id: str = ""
    source: Address = _NOBODY
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceSmResp(Body):
    COMMAND: ClassVar[int] = Command.REPLACE_SM_RESP


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertNotification(Body):
    """A phone that was away can be reached again (section 4.12.1); it is not answered."""

    COMMAND: ClassVar[int] = Command.ALERT_NOTIFICATION
    LAYOUT: ClassVar[Layout] = (("source", _LONG_SOURCE), ("esme", _LONG_DESTINATION))

    source: Address = _NOBODY
    esme: Address = _NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(Body):
    """A command that is not of this list, whole and as it came."""

    command: int = 0
    data: bytes = field(default=b"", repr=False)


BODIES: Final[dict[int, type[Body]]] = {
    body.COMMAND: body
    for body in (
        BindTransmitter,
        BindReceiver,
        BindTransceiver,
        BindTransmitterResp,
        BindReceiverResp,
        BindTransceiverResp,
        Outbind,
        Unbind,
        UnbindResp,
        EnquireLink,
        EnquireLinkResp,
        GenericNack,
        SubmitSm,
        SubmitSmResp,
        DeliverSm,
        DeliverSmResp,
        DataSm,
        DataSmResp,
        QuerySm,
        QuerySmResp,
        CancelSm,
        CancelSmResp,
        ReplaceSm,
        ReplaceSmResp,
        AlertNotification,
    )
}
