"""Which environment a caller may ask about.  Pure; what the caller is bound to is an argument."""

from webapp.errors import Forbidden


def environment_to_ask(asked: str | None, *, bound: str | None) -> str | None:
    """Return the environment to decide in, None for the deployment's own.

    :class:`Forbidden` where a token that is ``bound`` to one environment asks about another.
    """
    if bound and asked and asked != bound:
        raise Forbidden(f"This token evaluates in {bound} only.")
    return asked or bound
