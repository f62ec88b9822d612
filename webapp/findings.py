"""What a look at an installation has found.  Knows of no place where anybody would look."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How a part stands; with a warning the installation works, but not as it should for long."""

    GOOD = "good"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at and how it stands; ``advice`` is empty where nothing is to be done."""

    about: str
    state: str
    advice: str = ""
    urgent: bool = True

    @property
    def grade(self) -> Grade:
        """Tell how it stands."""
        if self.good:
            return Grade.GOOD
        return Grade.PROBLEM if self.urgent else Grade.WARNING

    @property
    def good(self) -> bool:
        """Tell whether nothing is to be done."""
        return not self.advice


def warning(about: str, state: str, advice: str) -> Finding:
    """Return what should be seen to, though everything works."""
    return Finding(about, state, advice, urgent=False)


def first_line(error: Exception) -> str:
    """Return what an error says first, or its name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def advice_on(text: str, known: tuple[tuple[str, str], ...], *, otherwise: str) -> str:
    """Return the advice for the first of these words that a message holds."""
    return next((advice for words, advice in known if words in text.lower()), otherwise)
