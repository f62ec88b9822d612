"""What a feed means: its entries as rows, broken ones too, and what nobody should read."""

import pytest

from webapp.errors import Invalid
from webapp.sources.feeds import COLUMNS, MAX_DEPTH, MAX_ENTRIES, read_feed
from webapp.sources.values import Row, Unreadable

RSS = """<?xml version="1.0"?>
<rss version="2.0"><channel><title>News</title>
<item><guid>b</guid><title>Second &amp; last</title><link>https://example.com/b</link>
  <pubDate>Wed, 02 Dec 2026 10:00:00 +0200</pubDate><category>x</category><category>y</category>
  <description>&lt;b&gt;bold&lt;/b&gt;</description></item>
<item><title>No guid</title><link>https://example.com/a</link></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>
<entry><id>urn:1</id><title>One</title><updated>2026-12-02T08:00:00Z</updated>
<author><name>Ada</name></author><content type="text">Whole text</content></entry></feed>"""


def rows(text: str | bytes, content_type: str = "") -> list[dict[str, str]]:
    data = text if isinstance(text, bytes) else text.encode()
    found = read_feed(data, content_type)
    assert all(isinstance(row, Row) for row in found)
    return [dict(row.fields) for row in found if isinstance(row, Row)]


def test_an_rss_feed_becomes_rows_with_the_same_fields_each() -> None:
    first, second = rows(RSS)
    assert tuple(first) == tuple(second) == COLUMNS
    assert first == {
        "id": "b",
        "title": "Second & last",
        "link": "https://example.com/b",
        "author": "",
        "published": "2026-12-02T08:00:00Z",
        "updated": "",
        "summary": "<b>bold</b>",
        "content": "",
        "categories": "x, y",
    }
    # Without an id its link tells it apart.
    assert second["id"] == "https://example.com/a"


def test_an_atom_feed_becomes_rows() -> None:
    (entry,) = rows(ATOM)
    assert (entry["id"], entry["author"], entry["content"]) == ("urn:1", "Ada", "Whole text")
    assert (entry["published"], entry["updated"]) == ("", "2026-12-02T08:00:00Z")


@pytest.mark.parametrize(
    ("data", "content_type", "title"),
    [
        (RSS.replace("Second", "Zwölf").encode("latin-1"), "text/xml; charset=iso-8859-1", "Zwölf"),
        (RSS.replace("Second", "Zwölf").replace("?>", ' encoding="latin-1"?>', 1).encode("latin-1"),
         "", "Zwölf"),
        (RSS.replace("Second", "Zwölf").encode("utf-16"), "application/xml", "Zwölf"),
        (RSS.replace("Second", "Zwölf").encode(), "application/rss+xml", "Zwölf"),
    ],
)  # fmt: skip
def test_a_feed_may_be_in_another_encoding(data: bytes, content_type: str, title: str) -> None:
    assert rows(data, content_type)[0]["title"] == f"{title} & last"


def test_a_time_that_nobody_can_read_stays_as_it_is_written() -> None:
    odd = RSS.replace("Wed, 02 Dec 2026 10:00:00 +0200", "the day after")
    assert rows(odd)[0]["published"] == "the day after"


@pytest.mark.parametrize(
    "broken",
    [RSS.replace("</channel></rss>", ""), RSS.replace("&amp;", "&")],
    ids=["cut", "ampersand"],
)
def test_a_feed_that_is_not_well_formed_is_read_all_the_same(broken: str) -> None:
    assert rows(broken)[0]["id"] == "b"


def lol(levels: int) -> str:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, levels))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{entities}]>'


@pytest.mark.parametrize(
    "head",
    [
        lol(10),
        '<!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY % out SYSTEM "http://169.254.169.254/"> %out;]>',
        f'<!DOCTYPE x [<!ENTITY big "{"x" * 10_000}">]>',
        "<!DOCTYPE x [<!entity odd SYSTEM 'file:///etc/passwd'>]>",
    ],
    ids=["bomb", "file", "parameter", "big", "small letters"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_a_feed_with_entities_of_its_own_is_not_read(head: str, encoding: str) -> None:
    text = head + RSS.replace('<?xml version="1.0"?>', "").replace("News", "&l9;&file;&big;")
    with pytest.raises(Invalid, match="defines entities"):
        read_feed(text.encode(encoding), "application/xml")


def test_a_doctype_that_names_a_file_elsewhere_is_read_without_it() -> None:
    outside = '<!DOCTYPE rss SYSTEM "http://127.0.0.1:9/rss.dtd">'
    assert len(rows(outside + RSS.replace('<?xml version="1.0"?>', ""))) == 2


def test_a_feed_that_is_nested_without_end_is_refused() -> None:
    deep = "<rss><channel>" + "<a>" * MAX_DEPTH
    with pytest.raises(Invalid, match="nested too deeply"):
        read_feed(deep.encode())


def test_a_feed_of_too_many_entries_is_refused() -> None:
    items = "<item><guid>1</guid></item>" * (MAX_ENTRIES + 1)
    with pytest.raises(Invalid, match="more than 10,000 entries"):
        read_feed(f'<rss version="2.0"><channel>{items}</channel></rss>'.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"<html><body><p>Not found",
        b"<html><body></body></html>",
        b"\x00\xff\xfe",
        b'<rss version="2.0"><channel>' + b"<a x=1></a>" * 100_000,
        ATOM.encode("utf-16-le"),
        b'<?xml version="1.0" encoding="hex"?>' + RSS.encode("utf-16")[2:],
    ],
    ids=["empty", "json", "broken page", "page", "bytes", "large and broken", "unmarked", "hex"],
)
def test_what_is_no_feed_is_told_so(data: bytes) -> None:
    with pytest.raises(Unreadable):
        read_feed(data, "application/xml")
