"""Where somebody asks from: what one visitor cannot step out of, to count by.  Pure."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

#: Longer than any address.
MOST_CHARACTERS: Final = 64
# A provider gives each customer at least this much of IPv6, so one address says nothing.
_IPV6_NETWORK: Final = 64
_WITH_PORT: Final = re.compile(r"\[(?P<ipv6>[^\]]*)\](?::[0-9]*)?|(?P<other>[^:]*):[0-9]+")


def network(address: str) -> str:
    """Return what one visitor cannot step out of: an IPv4 address, or a /64 of IPv6."""
    address = _without_port(address)
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:MOST_CHARACTERS]
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or ip_network((ip, _IPV6_NETWORK), strict=False))
    return str(ip)


def _without_port(address: str) -> str:
    """Drop the port that some proxies append: it changes with each connection of one visitor."""
    found = _WITH_PORT.fullmatch(address)
    return (found["ipv6"] or found["other"] or "") if found else address
