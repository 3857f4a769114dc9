"""Which addresses a delivery may reach: the public unicast ones, judged by number and never by name.

The ranges are listed here, from the IANA special-purpose registries, rather than taken from `ipaddress`: its
`is_global` changed between patch releases of Python and counts multicast and translated addresses as global.
IPv6 is judged by what is allowed, since everything outside 2000::/3 is reserved.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_REFUSED_V4 = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this network, unspecified
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind carrier-grade NAT; one cloud's metadata service
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by number, but inside Azure the host agent of the machine
        "169.254.0.0/16",  # link-local; the metadata services of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

_UNICAST_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4: leads to an IPv4 address of the sender's choice
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: a network without IPv4 reaches every IPv4 host through it, so what is inside decides."""


def is_public(address: Address) -> bool:
    """True for an address that anybody on the internet could reach."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _UNICAST_V6 and not any(address in network for network in _REFUSED_V6)


def literal(host: str) -> Address | None:
    """The address that `host` itself is, None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
