"""Which addresses may be called that somebody else has named.

Pure: texts and IP addresses in, a refusal out.  What a name points to is asked elsewhere, and what
comes of it is judged here.
"""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from webapp.errors import Invalid
from webapp.outbound.values import AddressRefused

IpAddress = IPv4Address | IPv6Address

MAX_URL = 2000
PORTS = {"http": 80, "https": 443}

# What stands in a URL as it is sent; a name beyond ASCII is written in its xn-- form.
_PLAIN = re.compile(r"[!-\[\]-~]+")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_-]{1,63})*")
# Systems read 2130706433, 0x7f.1 and 0177.0.0.1 as IPv4 addresses too: whatever ends so is one.
_ENDS_IN_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")

# The only addresses of single machines that IPv6 has given out so far.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# IPv4 behind IPv6: a translator (RFC 6052) or a tunnel (RFC 3056) goes to what is inside.
_TRANSLATED = IPv6Network("64:ff9b::/96")


def check_url(url: str, *, field: str, allowed: Collection[str]) -> None:
    """Refuse a URL that can be seen to be unfit; :class:`Invalid` names ``field``.

    ``allowed`` are hosts (``name`` or ``name:port``) whose address may be any.  A name that points
    to a forbidden address is found out when it is called.
    """
    parts = _split(url, field)
    host = parts.hostname or ""
    if not is_allowed(host, port_of(parts), allowed) and (kind := unfit_host(host)):
        raise AddressRefused.field(field, f"{host} is no place to call: {kind}.")


def is_allowed(host: str, port: int, allowed: Collection[str]) -> bool:
    """Tell whether a host is allowed by name, for every port or for this one."""
    name = f"[{host}]" if ":" in host else host
    return name in allowed or f"{name}:{port}" in allowed


def port_of(parts: SplitResult) -> int:
    """Return the port that a URL names, else that of its scheme."""
    return parts.port if parts.port is not None else PORTS[parts.scheme]


def refusal(address: IpAddress) -> str | None:
    """Say what kind of address this is, where it is not that of one public machine."""
    if isinstance(address, IPv6Address) and (inner := _inside(address)) is not None:
        return refusal(inner)
    for kind in ("unspecified", "loopback", "link_local", "multicast"):
        if getattr(address, f"is_{kind}"):
            return f"{kind.replace('_', '-')} address"
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "private address"
    return None if address.is_global else "private address"


def _inside(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour


def _split(url: str, field: str) -> SplitResult:
    if len(url) > MAX_URL or not _PLAIN.fullmatch(url):
        raise Invalid.field(
            field, f"Give an address of at most {MAX_URL:,} plain characters without spaces."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Invalid.field(field, "This is not an address such as https://example.com/.") from None
    if parts.scheme not in PORTS:
        raise Invalid.field(field, "The address must begin with https:// or http://.")
    if "@" in parts.netloc:
        raise Invalid.field(field, "A name and password may not stand in the address.")
    if not parts.hostname or port == 0:
        raise Invalid.field(field, "This is not an address such as https://example.com/.")
    return parts


def unfit_host(host: str) -> str | None:
    """Say why a host as it is written can be no public one; where a name points is not asked."""
    name = host.removesuffix(".")
    try:
        return refusal(ip_address(name))
    except ValueError:
        return _unfit_name(name)


def _unfit_name(name: str) -> str | None:
    if name == "localhost" or name.endswith(".localhost"):
        return "loopback address"
    if _ENDS_IN_NUMBER.fullmatch(name):
        return "an IPv4 address is written as four numbers from 0 to 255"
    return None if _NAME.fullmatch(name) else "not a name of a host"
