"""What the server's loop takes for one whole request."""

import pytest

from webapp.promptly import TakesTime, promptly, takes_time
from webapp.web.loop import missing

LINE = b"POST /api/v1/feature-flags/beta/evaluate HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("data", "lacking"),
    [
        (LINE + b"\r\n", 0),
        (LINE + b"Content-Length: 2\r\n\r\n{}", 0),
        (LINE + b"content-length:2 \r\nX: y\r\n\r\n{}", 0),
        (LINE + b"Content-Length: 0\r\n\r\n", 0),
        # The rest is still to come,
        (LINE, 1),
        (LINE + b"Content-Length: 2\r\n", 2),
        (LINE + b"Content-Length: 2\r\n\r\n", 2),
        (LINE + b"Content-Length: 9\r\n\r\n{", 8),
        # another one follows,
        (LINE + b"Content-Length: 2\r\n\r\n{}" + LINE, None),
        (LINE + b"\r\n" + LINE + b"\r\n", None),
        # its sender waits,
        (LINE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", None),
        # or the length is too great, or told otherwise.
        (LINE + b"Content-Length: 65500\r\n\r\n{", None),
        (LINE + b"Content-Length: 100000\r\n\r\n{", None),
        (LINE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", None),
        (LINE + b"Content-Length: 2, 2\r\n\r\n{}", None),
        (LINE + b"Content-Length: +2\r\n\r\n{}", None),
        (LINE + b"X-Content-Length: 2\r\n\r\n{}", None),
    ],
)
def test_a_request_is_whole_where_its_own_length_says_so(data: bytes, lacking: int | None) -> None:
    assert missing(data) == lacking


def test_what_takes_time_is_refused_to_the_loop_alone() -> None:
    takes_time()
    with pytest.raises(TakesTime), promptly():
        takes_time()
    takes_time()
