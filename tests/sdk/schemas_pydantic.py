"""Pydantic's schemas as constraints of mlxd's answers and calls: schemas_pydantic.py BASE_URL MODEL, or --dump

Each feature of the library either gives a value that the library parses, or a 400 that names the keyword and the place.
"""
import collections
import concurrent.futures
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import json
import pathlib
import re
import sys
import typing
import uuid
from typing import Annotated, Any, Dict, List, Literal, Optional, Union

import openai
import pydantic
import typing_extensions
from pydantic import Field, MISSING
from pydantic.alias_generators import to_camel


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class TextColour(enum.StrEnum):
    RED = "red"


class Mixed(enum.Enum):
    """A text and numbers."""
    TEXT = "a"
    WHOLE = 1
    PART = 1.5


class Point(pydantic.BaseModel):
    x: Annotated[float, Field(ge=-1, le=1)]
    y: Annotated[float, Field(gt=0, lt=1)]


class Line(pydantic.BaseModel):
    """Two points."""
    start: Point
    end: Point = Field(description="The other end.")


class Tree(pydantic.BaseModel):
    value: Annotated[int, Field(ge=0, le=9)]
    children: Annotated[List["Tree"], Field(max_length=1)] = []


class Left(pydantic.BaseModel):
    right: Optional["Right"] = None


class Right(pydantic.BaseModel):
    a: bool
    left: Annotated[List[Left], Field(max_length=1)] = []


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    weight: Annotated[float, Field(gt=0)]


class Puppy(Dog):
    kind: Literal["puppy"]
    age: Literal[0, 1]


class Failed(pydantic.BaseModel):
    status: Literal["failed"]
    code: Literal[400]


class Broken(pydantic.BaseModel):
    status: Literal["failed"]
    code: Literal[500]


class Succeeded(pydantic.BaseModel):
    status: Literal["ok"]


Failure = Annotated[Union[Failed, Broken], Field(discriminator="code")]


class Number(pydantic.BaseModel):
    kind: Literal["number"]
    value: Literal[0, 1]


class Minus(pydantic.BaseModel):
    kind: Literal["minus"]
    of: Annotated[Union[Number, "Minus"], Field(discriminator="kind", description="What is negated.")]


class Closed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: bool


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: bool


class OpenTyped(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    __pydantic_extra__: Dict[str, Annotated[int, Field(ge=0, le=9)]]
    a: bool


class Extended(Closed):
    b: Literal["x"]


class Aliased(pydantic.BaseModel):
    inner: Annotated[bool, Field(alias="innerValue", title="Inner", examples=[True], deprecated=True)]


class AliasedTwice(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=to_camel, populate_by_name=True)
    first_name: Annotated[bool, Field(validation_alias=pydantic.AliasChoices("firstName", "name"), serialization_alias="firstName")]
    last_name: Literal["x"]


class Computed(pydantic.BaseModel):
    width: Annotated[int, Field(ge=0, le=9)]

    @pydantic.computed_field
    @property
    def area(self) -> int:
        return self.width ** 2


class Validated(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(str_max_length=5, str_strip_whitespace=True, frozen=True, title="V")
    a: Annotated[str, pydantic.AfterValidator(str.upper)]
    b: Annotated[bool, pydantic.BeforeValidator(lambda value: value)] = True
    c: Annotated[Literal["x"], pydantic.WrapValidator(lambda value, handler: handler(value))]
    d: Annotated[bool, pydantic.PlainSerializer(int)] = False

    @pydantic.field_validator("a")
    @classmethod
    def keep(cls, value):
        return value


class Defaults(pydantic.BaseModel):
    a: Optional[bool] = None
    b: List[bool] = Field(default_factory=list, max_length=1)
    c: Point = Point(x=0, y=0.5)
    d: Annotated[Union[bool, None, MISSING], Field(description="May be left out.")] = MISSING
    e: Annotated[bool, Field(exclude=True, json_schema_extra={"x-order": 1})] = True
    f: pydantic.json_schema.SkipJsonSchema[Optional[int]] = None


class Typed(typing_extensions.TypedDict):
    a: bool
    b: typing_extensions.NotRequired[Literal["x"]]


class TypedClosed(typing_extensions.TypedDict, total=False, closed=True):
    a: typing_extensions.Required[bool]
    b: Literal["x"]


class TypedMore(typing_extensions.TypedDict, extra_items=bool):
    a: bool


class Named(typing.NamedTuple):
    a: bool
    b: Literal["x"]


class Holder(pydantic.BaseModel, typing.Generic[typing.TypeVar("T")]):
    a: bool


@pydantic.dataclasses.dataclass
class Record:
    a: bool
    b: Optional[Literal["x"]] = None


@dataclasses.dataclass
class Plain:
    a: bool
    inner: Record
    b: Annotated[List[Literal["x"]], Field(max_length=1)] = dataclasses.field(default_factory=list)


class WithPatterns(pydantic.json_schema.GenerateJsonSchema):
    """Writes a pattern for decimals, which the library does if asked to."""

    def get_decimal_pattern(self, schema):
        return self.build_decimal_pattern(schema)


def tag(value):
    return "text" if isinstance(value, str) else "whole"


Nested = typing_extensions.TypeAliasType("Nested", "Union[bool, Annotated[List[Nested], Field(max_length=1)]]")
Size = typing_extensions.TypeAliasType("Size", Annotated[int, Field(ge=0, le=9)])
Short = Annotated[str, Field(max_length=6)]
Digit = Annotated[int, Field(ge=0, le=9)]
FEATURES = {
    "string_length": Annotated[str, Field(min_length=2, max_length=6)],
    "string": Annotated[pydantic.StrictStr, Field(max_length=6)],
    "string_of_few_letters": pydantic.constr(max_length=4, pattern="^[a-c]+$"),
    "string_any_line": Annotated[str, Field(pattern=r"^\w{1,3}(?:\s\w{1,3})?$")],
    "string_compiled": Annotated[str, Field(pattern=re.compile("^x[0-9]{2}$"))],
    "string_unanchored": Annotated[str, Field(pattern=r"\d", max_length=8)],
    "string_validated": Annotated[Short, pydantic.AfterValidator(str.upper), pydantic.WithJsonSchema({"type": "string", "maxLength": 3})],
    "string_pattern": Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{3}$")],
    "constrained_string": Annotated[str, pydantic.StringConstraints(strip_whitespace=True, to_lower=True, max_length=5)],
    "secret": Annotated[pydantic.SecretStr, Field(max_length=6)],
    "secret_bytes": Annotated[pydantic.SecretBytes, Field(max_length=6)],
    "secret_any": pydantic.Secret[datetime.date],
    "uuid": uuid.UUID,
    **{f"uuid{version}": getattr(pydantic, f"UUID{version}") for version in (1, 3, 4, 5, 6, 7, 8)},
    "url": Annotated[pydantic.AnyUrl, Field(max_length=20)],
    "http_url": pydantic.HttpUrl,
    "ftp_url": pydantic.FtpUrl,
    "websocket_url": pydantic.WebsocketUrl,
    "database_url": pydantic.PostgresDsn,
    "path": pathlib.Path,
    "new_path": pydantic.NewPath,
    "file_path_optional": Optional[pathlib.PurePosixPath],
    "bytes": Annotated[bytes, Field(max_length=6)],
    "base64": Annotated[pydantic.Base64Str, Field(max_length=12)],
    "base64_bytes": Annotated[pydantic.Base64Bytes, Field(max_length=12)],
    "base64_url": Annotated[pydantic.Base64UrlStr, Field(max_length=12)],
    "byte_size": pydantic.ByteSize,
    "complex": complex,
    "fraction": fractions.Fraction,
    "regular_expression": typing.Pattern[str],
    "datetime": datetime.datetime,
    "naive_datetime": pydantic.NaiveDatetime,
    "future_datetime": pydantic.FutureDatetime,
    "aware_datetime": pydantic.AwareDatetime,
    "past_date": pydantic.PastDate,
    "date": datetime.date,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "email": pydantic.EmailStr,
    "name_email": pydantic.NameEmail,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "ip_any": pydantic.IPvAnyAddress,
    "ip_any_network": pydantic.IPvAnyNetwork,
    "ipv4_network": ipaddress.IPv4Network,
    "ipv6_network": ipaddress.IPv6Network,
    "ipv4_interface": ipaddress.IPv4Interface,
    "ipv6_interface": ipaddress.IPv6Interface,
    "literal": Literal["exact"],
    "literal_mixed": Literal["a", 2, True, None],
    "enumeration": Colour,
    "integer_enumeration": Level,
    "text_enumeration": TextColour,
    "mixed_enumeration": Mixed,
    "literal_enumeration": Literal[Colour.RED, Colour.GREEN],
    "boolean": bool,
    "strict_boolean": pydantic.StrictBool,
    "none": type(None),
    "integer": int,
    "integer_bounds": Annotated[int, Field(ge=10, le=99)],
    "strict_integer": Annotated[pydantic.StrictInt, Field(ge=-9, le=9)],
    "constrained_integer": pydantic.conint(gt=0, lt=10, multiple_of=3),
    "non_negative_integer": pydantic.NonNegativeInt,
    "positive_integer": pydantic.PositiveInt,
    "negative_integer": pydantic.NegativeInt,
    "integer_multiple": Annotated[int, Field(multiple_of=5, ge=0, le=100)],
    "unsigned_64": Annotated[int, Field(ge=0, le=2**64 - 1)],
    "unsigned_64_high": Annotated[int, Field(ge=2**63 + 1, le=2**64 - 1)],
    "signed_64": Annotated[int, Field(ge=-(2**63), le=2**63 - 1)],
    "beyond_64": Annotated[int, Field(ge=10**20, lt=10**21)],
    "beyond_128": Annotated[int, Field(ge=-(2**127), le=2**127)],
    "float": float,
    "strict_float": Annotated[pydantic.StrictFloat, Field(ge=0, le=1)],
    "constrained_float": pydantic.confloat(ge=0, le=3, multiple_of=0.25),
    "positive_float": pydantic.PositiveFloat,
    "finite": pydantic.FiniteFloat,
    "float_open_interval": Annotated[float, Field(gt=0, lt=1)],
    "float_closed_interval": Annotated[float, Field(ge=-0.5, le=2.5)],
    "float_tiny": Annotated[float, Field(gt=0, lt=1e-5)],
    "float_huge": Annotated[float, Field(ge=-3.4e38, le=3.4e38)],
    "float_multiple": Annotated[float, Field(multiple_of=0.5, ge=0, le=10)],
    "decimal": decimal.Decimal,
    "decimal_bounds": Annotated[decimal.Decimal, Field(ge=0, le=10, max_digits=5, decimal_places=2)],
    "decimal_pattern": WithPatterns,
    "set_of_one": Annotated[set[bool], Field(max_length=1)],
    "deque": Annotated[collections.deque[Digit], Field(max_length=2)],
    "constrained_list": pydantic.conlist(Colour, min_length=2, max_length=2),
    "iterable": Annotated[typing.Sequence[Digit], Field(min_length=1, max_length=2)],
    "list_of_lists": Annotated[List[Annotated[List[bool], Field(max_length=2)]], Field(max_length=2)],
    "list_length": Annotated[List[Digit], Field(min_length=1, max_length=3)],
    "tuple": tuple[Colour, Digit],
    "tuple_any_length": Annotated[tuple[bool, ...], Field(max_length=3)],
    "tuple_empty": tuple[()],
    "named_tuple": Named,
    "sequence": Annotated[typing.Sequence[bool], Field(max_length=3)],
    "dictionary": Annotated[Dict[str, Digit], Field(min_length=1)],
    "dictionary_short_keys": Dict[Annotated[str, Field(max_length=3)], bool],
    "dictionary_pattern_keys": Dict[Annotated[str, Field(pattern="^k[0-9]$")], bool],
    "dictionary_enumerated_keys": Dict[Literal["a", "b"], bool],
    "dictionary_integer_keys": Dict[int, bool],
    "dictionary_length": Annotated[Dict[str, bool], Field(min_length=1, max_length=2)],
    "dictionary_uuid_keys": Dict[uuid.UUID, bool],
    "dictionary_date_keys": Dict[datetime.date, bool],
    "dictionary_listed_keys": Dict[Colour, Digit],
    "dictionary_of_anything": Dict[str, Any],
    "dictionary_of_lists": Dict[Literal["a"], Annotated[List[Digit], Field(max_length=2)]],
    "ordered_dictionary": Annotated[typing.OrderedDict[str, bool], Field(max_length=1)],
    "counter": Annotated[typing.Counter[str], Field(max_length=1)],
    "mapping": Annotated[typing.Mapping[str, Digit], Field(max_length=1)],
    "typed_dictionary": Typed,
    "typed_dictionary_closed": TypedClosed,
    "typed_dictionary_more": TypedMore,
    "model": Closed,
    "model_extra": Open,
    "model_extra_typed": OpenTyped,
    "model_inherited": Extended,
    "model_nested": Line,
    "model_recursive": Tree,
    "model_recursive_by_two": Right,
    "model_aliased": Aliased,
    "model_aliased_by_generator": AliasedTwice,
    "model_computed": Computed,
    "model_validated": Validated,
    "model_defaults": Defaults,
    "model_empty": pydantic.create_model("Empty"),
    "model_named_as_keywords": pydantic.create_model(
        "Keywords", type=(bool, ...), properties=(Digit, ...), required=(bool, ...), ref=(bool, Field(alias="$ref"))),
    "root_list": pydantic.RootModel[Annotated[List[Digit], Field(max_length=2)]],
    "root_dictionary": pydantic.RootModel[Dict[Annotated[str, Field(max_length=2)], bool]],
    "root_inside": pydantic.create_model("Holding", a=(pydantic.RootModel[Digit], ...)),
    "model_generic": Holder[int],
    "dataclass": Record,
    "dataclass_plain": Plain,
    "alias_type": pydantic.create_model("Sized", a=(Size, ...), b=(Size, ...)),
    "alias_recursive": Nested,
    "json_value": pydantic.create_model("Valued", a=(bool, ...), b=(Optional[pydantic.JsonValue], None)),
    "optional_float": Optional[Annotated[float, Field(gt=0)]],
    "optional_string": Optional[Short],
    "union": Union[bool, Digit, Literal["x"]],
    "union_models": Union[Cat, Dog],
    "union_discriminated": Annotated[Union[Cat, Dog], Field(discriminator="kind")],
    "union_left_to_right": Annotated[Union[Digit, bool], Field(union_mode="left_to_right")],
    "union_discriminated_twice": Annotated[Union[Succeeded, Failure], Field(discriminator="status")],
    "union_discriminated_of_heirs": Annotated[Union[Cat, Dog, Puppy], Field(discriminator="kind")],
    "union_discriminated_recursive": Annotated[Union[Number, Minus], Field(discriminator="kind")],
    "union_by_function": Annotated[Union[Annotated[Short, pydantic.Tag("text")], Annotated[Digit, pydantic.Tag("whole")]],
                                   pydantic.Discriminator(tag)],
    "union_of_lists": Union[Annotated[List[Digit], Field(max_length=2)], Annotated[Dict[Literal["a"], bool], Field(max_length=1)]],
    "list_of_discriminated": Annotated[List[Annotated[Union[Cat, Dog], Field(discriminator="kind")]], Field(max_length=1)],
    "annotated_optional": pydantic.create_model("Maybe", a=(Optional[bool], None), b=(Colour, Colour.RED)),
    "any_member": pydantic.create_model("Anything", a=(bool, ...), rest=(Any, None)),
    "json_string": pydantic.create_model("Wrapped", a=(pydantic.Json[bool], ...)),
}
# The library checks more than its schema says: that a scheme is http, that bytes are UTF-8 or few, that a text is a number or JSON.
BEYOND_THE_SCHEMA = {
    "http_url", "ftp_url", "websocket_url", "database_url", "base64", "base64_bytes", "base64_url", "byte_size", "complex", "fraction",
    "regular_expression", "decimal", "decimal_bounds", "decimal_pattern", "json_string", "new_path", "naive_datetime",
    "bytes", "secret_bytes", "literal_enumeration",
    "future_datetime", "past_date", "name_email", "dictionary_date_keys", "dictionary_integer_keys", "ip_any_network",
}
# What no answer can be held to: the keyword and the place stand in the message.
REFUSED = {
    "set": (pydantic.create_model("Sets", ids=(set[int], ...)), "uniqueItems", "ids"),
    "frozen_set": (pydantic.create_model("Sets", user=(pydantic.create_model("User", tags=(List[frozenset[str]], ...)), ...)),
                   "uniqueItems", "user.tags[]"),
    **{keyword: (pydantic.create_model("Wrapped", user=(pydantic.create_model("User", age=(
        Annotated[Any, Field(json_schema_extra={keyword: value})], ...)), ...), n=(pydantic.PositiveFloat, ...)), keyword, "user.age")
       for keyword, value in {
           "not": {"const": 1}, "if": {"const": 1}, "contains": {"const": 1}, "dependentRequired": {"a": ["b"]},
           "dependentSchemas": {"a": {"required": ["b"]}}, "unevaluatedProperties": False, "unevaluatedItems": False,
           "oneOf": [{"type": "integer"}, {"type": "number"}], "propertyNames": {"not": {"const": "a"}}}.items()},
    "look_around": (pydantic.create_model("Look", code=(
        Annotated[str, Field(json_schema_extra={"pattern": "^(?=a)b"})], ...)), "pattern", "code"),
}


def dumped():
    for name, kind in FEATURES.items():
        generator = pydantic.json_schema.GenerateJsonSchema
        if kind is WithPatterns:
            generator, kind = kind, Annotated[decimal.Decimal, Field(max_digits=5, decimal_places=2)]
        adapter = pydantic.TypeAdapter(kind)
        schemas = [adapter.json_schema(mode=mode, schema_generator=generator) for mode in ("validation", "serialization")]
        for schema in schemas if schemas[0] != schemas[1] else schemas[:1]:
            yield name, schema, adapter


base_url, model = (sys.argv[1:] + [""])[:2]
if base_url == "--dump":
    for name, schema, _ in dumped():
        print(json.dumps([name, schema]))
    sys.exit()
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
failures = []


def ask(schema, seed=0):
    answer = client.chat.completions.create(
        model=model, seed=seed, temperature=1, max_tokens=72,
        messages=[{"role": "user", "content": "Give an example value, as short as you can."}],
        response_format={"type": "json_schema", "json_schema": {"name": "value", "strict": True, "schema": schema}})
    return answer.choices[0]


def call(parameters, **options):
    tool = {"type": "function", "function": {"name": "lookup", "strict": True, "parameters": parameters}}
    return client.chat.completions.create(model=model, temperature=1, max_tokens=160, tools=[tool], seed=1,
                                          messages=[{"role": "user", "content": "Call it."}], **options).choices[0]


def check(at, name, schema, adapter):
    """Whether the answer was whole."""
    try:
        for again in range(2):
            choice = ask(schema, at + 1000 * again)
            if choice.finish_reason != "length":
                json.loads(choice.message.content)
                if name not in BEYOND_THE_SCHEMA:
                    adapter.validate_json(choice.message.content)
                return True
        print(f"{name}: cut off, {choice.message.content[:60]}")
    except (openai.APIError, pydantic.ValidationError) as error:
        failures.append(f"{name}: {error} for {json.dumps(schema)}")
    return False


with concurrent.futures.ThreadPoolExecutor(12) as pool:
    whole = list(pool.map(lambda case: check(case[0], *case[1]), enumerate(dumped())))

arguments = call(Line.model_json_schema(), tool_choice="required")
if arguments.finish_reason == "tool_calls":
    Line.model_validate_json(arguments.message.tool_calls[0].function.arguments)

for name, (kind, keyword, place) in REFUSED.items():
    schema = kind.model_json_schema()
    for attempt in (ask, call):
        try:
            attempt(schema)
            failures.append(f"{name}: not refused")
        except openai.BadRequestError as error:
            if keyword not in error.body["message"] or f'"{place}"' not in error.body["message"]:
                failures.append(f"{name}: {error}")
assert not failures, "\n".join(failures)
assert sum(whole) > 0.8 * len(whole), f"only {sum(whole)} of {len(whole)} answers were whole"
print("all checks passed")
