"""The form made from a type's schema: every kind of field, and what is typed into it."""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from webapp.errors import Invalid
from webapp.jobs.forms import PREFIX, EnqueueForm, fields_of
from webapp.jobs.registry import JobArguments, JobType, parse_arguments


class Colour(StrEnum):
    """Some colours."""

    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    """Something nested."""

    city: str
    zip: int


class ManyArguments(JobArguments):
    """One argument of each kind."""

    text: str
    whole: Annotated[int, Field(ge=1, description="How many")]
    real: float = 1.5
    yes: bool = False
    maybe: bool | None = None
    colour: Colour = Colour.RED
    size: Literal["small", 2] = "small"
    only: Literal["this"] = "this"
    nickname: str | None = None
    named: str | None = "ada"
    place: Place | None = None
    tags: list[str] = Field(default_factory=list)
    either: int | str = 0
    anything: Any = None


MANY = JobType("many", lambda context, arguments: None, ManyArguments, "Many")
NEEDED = {"text": "x", "whole": "1"}


def typed(**texts: str) -> dict[str, Any]:
    """Return the arguments of a form on which some fields were typed over."""
    shown = {field.key: field.default for field in fields_of(MANY)}
    sent = {PREFIX + name: text for name, text in (NEEDED | texts).items()}
    arguments, _ = EnqueueForm.read(shown | sent | {"type": "many"}).typed(MANY)
    return parse_arguments(MANY, arguments).model_dump(mode="json")


def errors(**texts: str) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as refused:
        typed(**texts)
    return {name: list(messages) for name, messages in refused.value.errors.items()}


@pytest.mark.parametrize(
    ("name", "kind", "required", "default"),
    [
        ("text", "text", True, ""),
        ("whole", "integer", True, ""),
        ("real", "number", False, "1.5"),
        ("yes", "boolean", False, "false"),
        ("maybe", "boolean", False, ""),
        ("colour", "choice", False, '"red"'),
        ("size", "choice", False, '"small"'),
        ("only", "choice", False, '"this"'),
        ("nickname", "text", False, ""),
        ("named", "text", False, "ada"),
        ("place", "json", False, ""),
        ("tags", "json", False, ""),
        ("either", "json", False, "0"),
        ("anything", "json", False, ""),
    ],
)
def test_each_argument_is_a_field_of_its_kind(
    name: str, kind: str, required: bool, default: str
) -> None:
    field = next(field for field in fields_of(MANY) if field.name == name)
    assert (field.kind, field.required, field.default) == (kind, required, default)


def test_a_field_tells_what_it_takes() -> None:
    whole = next(field for field in fields_of(MANY) if field.name == "whole")
    assert whole.help == "How many. At least 1"


def test_a_form_that_nobody_touched_gives_the_types_defaults() -> None:
    assert typed() == ManyArguments(text="x", whole=1).model_dump(mode="json")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("whole", str(2**200), 2**200),
        ("whole", " 7 ", 7),
        ("real", "2", 2.0),
        ("real", "1e3", 1000.0),
        ("yes", "true", True),
        ("maybe", "false", False),
        ("maybe", "", None),
        ("colour", '"blue"', "blue"),
        ("size", "2", 2),
        ("nickname", "", None),
        ("nickname", "7", "7"),
        ("named", "", None),
        ("text", "", ""),
        ("text", " as typed\r\n", " as typed\n"),
        ("place", '{"city": "Bonn", "zip": 53111}', {"city": "Bonn", "zip": 53111}),
        ("tags", '["a", "b"]', ["a", "b"]),
        ("either", '"5"', "5"),
        ("either", "5", 5),
        ("anything", f"[{2**80}]", [2**80]),
        ("anything", "null", None),
    ],
)
def test_what_is_typed_becomes_the_value(name: str, text: str, value: Any) -> None:
    assert typed(**{name: text})[name] == value


@pytest.mark.parametrize(
    ("name", "text", "place", "message"),
    [
        ("whole", "", "whole", "Field required"),
        ("whole", "many", "whole", "valid integer"),
        ("whole", "0", "whole", "greater than or equal to 1"),
        ("whole", "9" * 5000, "whole", "integer"),
        ("real", "nan", "real", "finite"),
        ("real", "x", "real", "valid number"),
        ("yes", "perhaps", "yes", "Is not JSON"),
        ("colour", '"green"', "colour", "'red' or 'blue'"),
        ("place", '{"city": "Bonn"}', "place.zip", "Field required"),
        ("place", "{", "place", "Is not JSON"),
        ("tags", "[NaN]", "tags", "NaN"),
        ("tags", "[1]", "tags.0", "valid string"),
        ("anything", '{"a":' * 5_000, "anything", "Is not JSON"),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(
    name: str, text: str, place: str, message: str
) -> None:
    found = errors(**{name: text})
    assert list(found) == [PREFIX + place]
    assert message in found[PREFIX + place][0]


def test_every_message_is_shown_once_and_nothing_typed_is_lost() -> None:
    sent = {PREFIX + "place": "{", PREFIX + "whole": "x", "priority": "high", "type": "many"}
    form = EnqueueForm.read(sent)
    with pytest.raises(Invalid) as refused:
        form.typed(MANY)
    assert set(refused.value.errors) == {PREFIX + "whole", PREFIX + "place", "priority"}
    fields = {field.name: field for field in fields_of(MANY)}
    assert form.value(fields["place"]) == "{"
    assert form.priority == "high"


def test_messages_about_the_inside_of_a_field_stand_at_the_field() -> None:
    form = EnqueueForm(errors={PREFIX + "place.zip": ["Field required"], PREFIX + "new": ["No"]})
    fields = {field.name: field for field in fields_of(MANY)}
    assert form.errors_at(fields["place"]) == ["zip: Field required"]
    assert form.errors_at(fields["text"]) == []
    assert form.errors_elsewhere(list(fields.values())) == ["No"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("priority", "7", 7),
        ("queue", " slow ", "slow"),
        ("delay", "1.5", 1.5),
        ("unique_key", "k", "k"),
        ("depends_on", "3, 4 5", [3, 4, 5]),
        ("callback_url", "https://host/", "https://host/"),
    ],
)
def test_options_are_read(name: str, text: str, value: Any) -> None:
    sent = {PREFIX + key: typed for key, typed in NEEDED.items()}
    _, options = EnqueueForm.read(sent | {name: text}).typed(MANY)
    assert options == {name: value}


def test_times_are_utc() -> None:
    sent = {PREFIX + key: typed for key, typed in NEEDED.items()}
    _, options = EnqueueForm.read(sent | {"run_at": "2026-11-22T06:00"}).typed(MANY)
    assert str(options["run_at"]) == "2026-11-22 06:00:00+00:00"


class NumbersArguments(JobArguments):
    """Numbers, and whatever JSON can hold."""

    number: int
    held: Any = None


NUMBERS = JobType("numbers", lambda context, arguments: None, NumbersArguments, "Numbers")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(number=st.integers(), held=JSON_VALUES)
def test_whatever_json_can_hold_comes_back_from_a_form_unchanged(number: int, held: Any) -> None:
    sent = {PREFIX + "number": str(number), PREFIX + "held": json.dumps(held)}
    arguments, _ = EnqueueForm.read(sent).typed(NUMBERS)
    assert arguments == {"number": number, "held": held}
