"""What requests and tries are counted by, where nobody says who asks."""

import pytest

from webapp.networks import network


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix:", "unix:"),
        ("192.0.2.7:55", "192.0.2.7"),
        ("[2001:db8:1:2::9]:55", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9:55", "2001:db8:1:2::/64"),
        ("[::ffff:192.0.2.7]:55", "192.0.2.7"),
    ],
)
def test_a_visitor_is_known_by_what_they_cannot_step_out_of(address: str, counted: str) -> None:
    assert network(address) == counted
