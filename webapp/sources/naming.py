"""How much two names of fields look like one: a score of 0 to 1, and whether they disagree.  Pure.

Names are split into tokens, which are paired: equal ones, typos, abbreviations, initials, and the
few synonyms that data sets use.  The score is Dice's coefficient over the pairs.  A token that is
left over on both sides disagrees: ``start_date`` and ``end_date`` have much in common and are two
things.  It must not know what the fields hold.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz.distance import OSA

# What each way of being the same word is worth.
_SYNONYM = 0.95
_PREFIX = 0.9
_INITIALS = 0.9
_SKELETON = 0.88
_TYPO = 0.92
_SHORT_INITIALS = 0.7
_OTHER_ORDER = 0.97
# A name that says something which the other leaves open may mean another thing.
_MOST_WITH_SURPLUS = 0.75
_DISAGREEMENT = 0.5
# Words that hardly tell one field from another.
_LIGHT = frozenset({"of", "the", "a", "and", "in", "is", "has"})
_LIGHT_WEIGHT = 0.25
_PREFIX_LENGTH = 3
_TYPO_LENGTH = 5
_TWO_TYPOS_LENGTH = 9

#: Several tokens, or one, that are one word by another name; the longest are looked for first.
_PHRASES: tuple[tuple[str, ...], ...] = (
    ("first name", "given name", "forename", "firstname", "fname", "givenname"),
    ("last name", "family name", "surname", "lastname", "lname", "familyname"),
    ("zip", "zip code", "zipcode", "postcode", "post code", "postal code", "postalcode"),
    ("date of birth", "birth date", "birthdate", "birthday", "dob"),
    ("social security number", "ssn"),
    ("e mail", "email", "mail"),
    ("user name", "username", "login"),
    ("time zone", "timezone", "tz"),
)
_SYNONYMS: tuple[frozenset[str], ...] = tuple(
    frozenset(words.split())
    for words in (
        "phone telephone tel",
        "mobile cell cellphone",
        "lat latitude",
        "lon lng long longitude",
        "id identifier",
        "number no num nr nbr",
        "sex gender",
        "company organisation organization org",
        "type kind",
        "url link website",
        "qty quantity",
        "dept department",
        "description desc descr",
        "time timestamp ts",
        "created creation",
        "updated modified changed",
        "average avg mean",
        "percent pct percentage",
        "image img picture",
        "comment comments remark remarks note notes",
        "begin start",
        "end finish",
        "address addr",
        "year yr",
        "employee emp staff",
        "vendor supplier",
        "client customer",
        "height hgt",
        "weight wgt wt",
        "colour color",
        "ref reference",
        "src source",
        "dst dest destination",
        "temp temperature",
    )
)
# Words that stand in names of fields.  One of them is no misspelling of another, and no short form.
_WORDS = frozenset(
    str.split(
        """
    account active actual address age amount area arrival balance band bank base begin billing
    birth block brand budget building buyer carrier case category cause cell change channel
    charge child city class client close code color column comment company contact content cost
    count country county course create created credit currency current customer cycle data date
    day days debit default delivery delta department departure depth description destination
    device direction discount distance district domain due duration east elevation email
    employee end engine entry error event expense export factor fax fee field file final first
    floor flow format forward freight from full gate gender goal grade grant graph gross group
    growth hash head height high home host hour hours house icon id image import income index input
    insert interest invoice ip issue item job key kind label land language last latitude lead left
    length level license limit line link list load loan local location login longitude loss low
    mail male manager margin mark market married max mean media member memo method middle mile
    min minute mode model modified month mother motor name nation net north note number office
    open option order origin other outcome output owner package page paid parent part partner
    path pattern payment peak percent period person phone place plan planned plant plate point
    port position post pound power price primary prime principal prize process product
    production profit project property province purchase quality quantity quarter query rank
    rate rating ratio read real reason receipt receiver record region relation release religion
    rent report request reserve result return revenue right role room root route row salary sale
    sales sample scale schedule score season seat second section sector seller send sender sent
    series service session set sex shape share ship shipping side sign signal site size sold
    source south space speed staff stage standard start started state statement station status
    stock stop store stored street string student style subject sum supplier support surname
    system table tax team temperature tenant term test text theme ticket time title total town
    track trade traffic train transit transport trip true trust type unit update updated upper
    url usage use user value vendor version view visit visitor volume wage week weekday weight
    west width wind window word work worker year yield zip zone
        """
    )
)
_VOWELS = re.compile(r"[aeiou]")


@dataclass(frozen=True, slots=True)
class Likeness:
    """What two names have in common; ``disagrees`` where each has a word that the other lacks."""

    score: float
    disagrees: bool = False


def likeness(one: str, other: str) -> Likeness:
    """Compare two names, in whatever order; 1 for names equal up to case and separators."""
    first, second = sorted((one, other))
    return _likeness(first, second)


@lru_cache(maxsize=8192)
def _likeness(one: str, other: str) -> Likeness:
    left, right = _tokens(one), _tokens(other)
    if "".join(left) == "".join(right):
        return Likeness(1.0 if left or one == other else 0.0, disagrees=not left and one != other)
    return _scored(_with_phrases(left), _with_phrases(right))


def _scored(left: Sequence[str], right: Sequence[str]) -> Likeness:
    pairs = _pairs(left, right)
    matched = sum(pair.score * pair.weight(left, right) for pair in pairs)
    score = 2 * matched / (_weight(left) + _weight(right))
    surplus = [
        any(
            token not in _LIGHT
            for token in _unpaired(tokens, (pair.places(side) for pair in pairs))
        )
        for side, tokens in enumerate((left, right))
    ]
    if [pair.left for pair in pairs] != sorted(pair.left for pair in pairs):
        score *= _OTHER_ORDER
    if all(surplus):
        return Likeness(score * _DISAGREEMENT, disagrees=True)
    return Likeness(min(score, _MOST_WITH_SURPLUS) if any(surplus) else score)


def _tokens(name: str) -> tuple[str, ...]:
    """Split at separators, between small and capital letters, and between letters and digits."""
    plain = "".join(
        sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign)
    )
    return tuple(
        token.casefold() if not token.isdecimal() else token.lstrip("0") or "0"
        for token in _pieces(plain)
    )


def _pieces(name: str) -> Iterator[str]:
    start = 0
    for place in range(len(name) + 1):
        if place == len(name) or not name[place].isalnum():
            if start < place:
                yield name[start:place]
            start = place + 1
        elif start < place and _parts(name, place):
            yield name[start:place]
            start = place


def _parts(name: str, place: int) -> bool:
    """Tell whether a token begins here: ``orderId``, ``HTTPCode``, ``line2``."""
    before, here, after = name[place - 1], name[place], name[place + 1 : place + 2]
    if before.isdecimal() != here.isdecimal():
        return True
    return here.isupper() and (before.islower() or (before.isupper() and after.islower()))


_PHRASE_TOKENS: tuple[tuple[tuple[str, ...], str], ...] = tuple(
    sorted(
        ((tuple(phrase.split()), group[0]) for group in _PHRASES for phrase in group),
        key=lambda item: -len(item[0]),
    )
)


def _with_phrases(tokens: Sequence[str]) -> tuple[str, ...]:
    """Write one name for each phrase that has several."""
    found: list[str] = []
    place = 0
    while place < len(tokens):
        for phrase, name in _PHRASE_TOKENS:
            if tuple(tokens[place : place + len(phrase)]) == phrase:
                found.append(name)
                place += len(phrase)
                break
        else:
            found.append(tokens[place])
            place += 1
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Tokens that mean the same: one on each side, or one and the several that it stands for."""

    score: float
    left: tuple[int, int]
    right: tuple[int, int]

    def places(self, side: int) -> tuple[int, int]:
        return self.right if side else self.left

    def weight(self, left: Sequence[str], right: Sequence[str]) -> float:
        return (_weight(left[slice(*self.left)]) + _weight(right[slice(*self.right)])) / 2


def _pairs(left: Sequence[str], right: Sequence[str]) -> list[_Pair]:
    """Pair tokens, the best first and each of them once."""
    found = [*_single_pairs(left, right), *_spans(left, right)]
    found += [_Pair(pair.score, pair.right, pair.left) for pair in _spans(right, left)]
    found.sort(key=lambda pair: (-pair.score, abs(pair.left[0] - pair.right[0]), pair.left))
    chosen: list[_Pair] = []
    for pair in found:
        if all(
            _apart(pair.left, other.left) and _apart(pair.right, other.right) for other in chosen
        ):
            chosen.append(pair)
    return sorted(chosen, key=lambda pair: pair.right)


def _apart(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[1] <= other[0] or other[1] <= one[0]


def _single_pairs(left: Sequence[str], right: Sequence[str]) -> Iterator[_Pair]:
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            if score := _token_score(one, other):
                yield _Pair(score, (i, i + 1), (j, j + 1))


def _spans(left: Sequence[str], right: Sequence[str]) -> Iterator[_Pair]:
    """Find tokens on the left that are several on the right, written together or by initials."""
    for i, one in enumerate(left):
        if not one.isalpha() or one in _LIGHT:
            continue
        for j in range(len(right)):
            for end in range(j + 2, len(right) + 1):
                if score := _span_score(one, right[j:end]):
                    yield _Pair(score, (i, i + 1), (j, end))


def _span_score(one: str, several: Sequence[str]) -> float:
    if one == "".join(several):
        return 1.0
    if one in _WORDS or one != "".join(token[0] for token in several):
        return 0.0
    return _INITIALS if len(one) >= _PREFIX_LENGTH else _SHORT_INITIALS


@lru_cache(maxsize=8192)
def _token_score(one: str, other: str) -> float:
    """Return how surely two tokens are one word; 0 where they are not."""
    if one == other:
        return 1.0
    if not (one.isalpha() and other.isalpha()):
        return 0.0
    if any(one in group and other in group for group in _SYNONYMS):
        return _SYNONYM
    short, long = sorted((one, other), key=lambda token: (len(token), token))
    if len(short) >= _PREFIX_LENGTH and long in _inflected(short):
        return _SYNONYM
    if short[0] != long[0] or (short in _WORDS and long in _WORDS):
        return 0.0
    if len(short) >= _PREFIX_LENGTH and long.startswith(short):
        return _PREFIX
    if _is_skeleton(short, long):
        return _SKELETON
    return _TYPO if _is_typo(short, long) else 0.0


def _inflected(token: str) -> set[str]:
    """Return other forms of a word: ``orders``, ``ordered``, ``shipping``."""
    stems = {token, token + token[-1], token.removesuffix("e")}
    return {stem + ending for stem in stems for ending in ("s", "es", "d", "ed", "ing")}


def _is_skeleton(short: str, long: str) -> bool:
    """Tell whether a token is another without its vowels, or without some of its letters.

    It ends as the other does, so that ``cnt`` is a count and no country.
    """
    if short in _WORDS:
        return False
    bones = long[0] + _VOWELS.sub("", long[1:])
    if len(short) < _PREFIX_LENGTH or len(short) >= len(long) - 1 or short[-1] != bones[-1]:
        return short == bones
    letters = iter(long)
    return all(letter in letters for letter in short)


def _is_typo(short: str, long: str) -> bool:
    if len(short) < _TYPO_LENGTH:
        return False
    most = 2 if len(short) >= _TWO_TYPOS_LENGTH else 1
    return OSA.distance(short, long, score_cutoff=most) <= most


def _unpaired(tokens: Sequence[str], places: Iterator[tuple[int, int]]) -> list[str]:
    paired = {place for span in places for place in range(*span)}
    return [token for place, token in enumerate(tokens) if place not in paired]


def _weight(tokens: Sequence[str]) -> float:
    return sum(_LIGHT_WEIGHT if token in _LIGHT else 1.0 for token in tokens)
