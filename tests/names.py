"""A small authoritative DNS server on loopback, with whatever records a test gives it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dnslib import QTYPE, RCODE, RR
from dnslib.dns import DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSServer


class _Quiet:
    def __getattr__(self, name: str) -> object:
        return lambda *arguments: None


@dataclass
class Zone(BaseResolver):  # type: ignore[misc]
    """`records` are lines of a zone file; a name without any is unknown. While `is_away` nothing is answered but a failure."""

    records: str = ""
    is_away: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        name, kind = str(request.q.qname).lower(), QTYPE[request.q.qtype]
        self.asked.append((name.rstrip("."), kind))
        reply = request.reply()
        known = [record for record in RR.fromZone(self.records) if str(record.rname).lower() == name]
        if self.is_away:
            reply.header.rcode = RCODE.SERVFAIL
        elif not known:
            reply.header.rcode = RCODE.NXDOMAIN
        for record in known:
            if not self.is_away and QTYPE[record.rtype] == kind:
                reply.add_answer(record)
        return reply

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def served(records: str) -> Iterator[Zone]:
    """The zone, served over UDP on a free port."""
    zone = Zone(records)
    server = DNSServer(zone, address="127.0.0.1", port=0, logger=_Quiet())
    zone.port = server.server.server_address[1]
    server.start_thread()
    try:
        yield zone
    finally:
        server.stop()
        server.server.server_close()
