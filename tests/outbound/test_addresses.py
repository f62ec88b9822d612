"""Which addresses may be called: tables of cases, and what holds for whole networks."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.errors import Invalid
from webapp.outbound.addresses import check_url, refusal

FORBIDDEN_V4 = [
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
FORBIDDEN_V6 = [
    IPv6Network(text)
    for text in ("::/96", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8")
]
FORMS = ("::ffff:0:0", "64:ff9b::")


def of_networks(networks: list[IPv4Network]) -> st.SearchStrategy[IPv4Address]:
    return st.one_of(st.ip_addresses(network=str(network)) for network in networks).map(  # type: ignore[call-overload,no-any-return]
        lambda address: IPv4Address(int(address))
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("127.0.0.1", "loopback address"),
        ("127.255.255.254", "loopback address"),
        ("::1", "loopback address"),
        ("::ffff:127.0.0.1", "loopback address"),
        ("64:ff9b::7f00:1", "loopback address"),
        ("2002:7f00:1::", "loopback address"),
        ("0.0.0.0", "unspecified address"),
        ("::", "unspecified address"),
        ("169.254.169.254", "link-local address"),
        ("fe80::1%eth0", "link-local address"),
        ("224.0.1.1", "multicast address"),
        ("ff0e::1", "multicast address"),
        ("10.1.2.3", "private address"),
        ("100.64.0.1", "private address"),
        ("fd00::1", "private address"),
        ("2001:db8::1", "private address"),
        ("::127.0.0.1", "private address"),
        ("1.1.1.1", None),
        ("2606:4700:4700::1111", None),
        ("64:ff9b::101:101", None),
        ("::ffff:1.1.1.1", None),
    ],
)
def test_an_address_is_refused_by_its_kind(text: str, kind: str | None) -> None:
    assert refusal(ip_address(text)) == kind


@given(of_networks(FORBIDDEN_V4))
def test_no_form_of_a_forbidden_ipv4_address_passes(address: IPv4Address) -> None:
    assert refusal(address)
    for form in FORMS:
        assert refusal(IPv6Address(int(IPv6Address(form)) | int(address)))
    assert refusal(IPv6Address((0x2002 << 112) | (int(address) << 80)))


@given(st.data())
def test_no_address_of_a_forbidden_ipv6_network_passes(data: st.DataObject) -> None:
    network = data.draw(st.sampled_from(FORBIDDEN_V6))
    host = data.draw(st.integers(0, network.num_addresses - 1))
    assert refusal(network[host])


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/",
        "http://hooks.example:8080/a?b=c",
        "https://HOOKS.example",
        "https://xn--bcher-kva.example/",
        "https://a_b.example/",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]:8443/",
    ],
)
def test_a_public_address_is_taken(url: str) -> None:
    check_url(url, field="callback_url", allowed=())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "https:///path",
        "https://",
        "https://user:word@hooks.example/",
        "https://user@hooks.example/",
        "https://hooks.example:0/",
        "https://hooks.example:70000/",
        "https://hooks.example:port/",
        "https://[::1/",
        "https://hooks example/",
        "https://hooks.example/\r\nX: y",
        "https://hooks.example\\@127.0.0.1/",
        "https://bücher.example/",
        "https://hooks..example/",
        "https://-/",
        "https://" + "a" * 64 + ".example/",
        "https://hooks.example/" + "a" * 2000,
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://127.0.0.1/",
        "http://127.0.0.1./",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://127.0.0.0x1/",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[fe80::1%25eth0]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[fd00:ec2::254]/",
    ],
)
def test_an_unfit_address_is_refused_by_the_name_of_its_field(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_url(url, field="callback_url", allowed=())
    assert set(refused.value.errors) == {"callback_url"}


@pytest.mark.parametrize(
    ("url", "allowed", "taken"),
    [
        ("http://10.0.0.7/", "10.0.0.7", True),
        ("http://10.0.0.7:8080/", "10.0.0.7", True),
        ("http://10.0.0.7:8080/", "10.0.0.7:8080", True),
        ("http://10.0.0.7:8081/", "10.0.0.7:8080", False),
        ("http://10.0.0.7/", "10.0.0.7:80", True),
        ("https://10.0.0.7/", "10.0.0.7:80", False),
        ("http://localhost:5000/", "localhost:5000", True),
        ("http://[::1]:5000/", "[::1]:5000", True),
        ("http://[::1]/", "[::1]", True),
        ("http://10.0.0.70/", "10.0.0.7", False),
        ("http://a.localhost/", "localhost", False),
        ("ftp://10.0.0.7/", "10.0.0.7", False),
        ("http://user@10.0.0.7/", "10.0.0.7", False),
    ],
)
def test_a_host_is_allowed_exactly_as_it_is_named(url: str, allowed: str, *, taken: bool) -> None:
    if taken:
        check_url(url, field="url", allowed=[allowed])
    else:
        with pytest.raises(Invalid):
            check_url(url, field="url", allowed=[allowed])


@given(st.text(max_size=60))
def test_whatever_is_typed_is_taken_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}/"):
        try:
            check_url(url, field="url", allowed=())
        except Invalid:
            continue
        assert url.isascii()
        assert "@" not in url.split("/")[2]
