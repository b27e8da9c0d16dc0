"""What a host is: an address exactly where Python's own reader takes it for one."""

import ipaddress

from hypothesis import example, given
from hypothesis import strategies as st

from hushwire.policy.hosts import address_of

_NEAR = st.text(alphabet="0123456789abcdef.:[]%xg-\u0663\u00b2 ", max_size=24)


def known(host: str) -> bool:
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


@given(st.one_of(_NEAR, st.text(max_size=12), st.ip_addresses().map(str), st.ip_addresses(v=6).map(lambda address: f"[{address}]")))
@example("")
@example("[]")
@example("carrier.example")
@example("host1")
@example("::ffff:192.0.2.1")
@example("fe80::1%eth")
def test_a_host_is_an_address_where_it_reads_as_one(host: str) -> None:
    assert (address_of(host) is not None) is known(host)
