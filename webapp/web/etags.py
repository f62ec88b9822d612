"""Whether whoever asks has the answer already, for answers that are not had by GET.

For those that are, ``Response.make_conditional`` knows.
"""

from collections.abc import Callable

from werkzeug.http import parse_etags


def holds(if_none_match: str | None, announced: str | None = None) -> Callable[[str], bool]:
    """Return what tells whether an asker who sends this ``If-None-Match`` holds a tag.

    Tags compare weakly, since only the body counts; ``*`` is any.  ``announced`` is the tag that
    the asker was told of: where another one is current they are to see the answer in any case.
    """
    given = parse_etags(if_none_match)

    def known(tag: str) -> bool:
        return announced in {None, tag, f'"{tag}"'} and given.contains_weak(tag)

    return known
