"""Pydantic's schemas as constraints of mlxd's answers and calls: schemas_pydantic.py BASE_URL MODEL

Each feature of the library either gives a value that the library parses, or a 400 that names the keyword and the place.
"""
import datetime
import decimal
import enum
import ipaddress
import json
import pathlib
import sys
import typing
import uuid
from typing import Annotated, Any, Dict, List, Literal, Optional, Union

import openai
import pydantic
import typing_extensions
from pydantic import Field


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


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


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    weight: Annotated[float, Field(gt=0)]


class Closed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: bool


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: bool


class Extended(Closed):
    b: Literal["x"]


class Aliased(pydantic.BaseModel):
    inner: Annotated[bool, Field(alias="innerValue", title="Inner", examples=[True], deprecated=True)]


class Typed(typing_extensions.TypedDict):
    a: bool
    b: typing_extensions.NotRequired[Literal["x"]]


class Named(typing.NamedTuple):
    a: bool
    b: Literal["x"]


class Holder(pydantic.BaseModel, typing.Generic[typing.TypeVar("T")]):
    a: bool


@pydantic.dataclasses.dataclass
class Record:
    a: bool
    b: Optional[Literal["x"]] = None


Short = Annotated[str, Field(max_length=6)]
Digit = Annotated[int, Field(ge=0, le=9)]
FEATURES = {
    "string_length": Annotated[str, Field(min_length=2, max_length=6)],
    "string_pattern": Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{3}$")],
    "constrained_string": Annotated[str, pydantic.StringConstraints(strip_whitespace=True, to_lower=True, max_length=5)],
    "secret": Annotated[pydantic.SecretStr, Field(max_length=6)],
    "uuid": uuid.UUID,
    "uuid4": pydantic.UUID4,
    "url": Annotated[pydantic.AnyUrl, Field(max_length=20)],
    "http_url": pydantic.HttpUrl,
    "path": pathlib.Path,
    "file_path_optional": Optional[pathlib.PurePosixPath],
    "bytes": Annotated[bytes, Field(max_length=6)],
    "base64": Annotated[pydantic.Base64Str, Field(max_length=12)],
    "datetime": datetime.datetime,
    "aware_datetime": pydantic.AwareDatetime,
    "past_date": pydantic.PastDate,
    "date": datetime.date,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "email": pydantic.EmailStr,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "ip_any": pydantic.IPvAnyAddress,
    "ipv4_network": ipaddress.IPv4Network,
    "literal": Literal["exact"],
    "literal_mixed": Literal["a", 2, True, None],
    "enumeration": Colour,
    "integer_enumeration": Level,
    "boolean": bool,
    "none": type(None),
    "integer": int,
    "integer_bounds": Annotated[int, Field(ge=10, le=99)],
    "positive_integer": pydantic.PositiveInt,
    "negative_integer": pydantic.NegativeInt,
    "integer_multiple": Annotated[int, Field(multiple_of=5, ge=0, le=100)],
    "unsigned_64": Annotated[int, Field(ge=0, le=2**64 - 1)],
    "unsigned_64_high": Annotated[int, Field(ge=2**63 + 1, le=2**64 - 1)],
    "signed_64": Annotated[int, Field(ge=-(2**63), le=2**63 - 1)],
    "beyond_64": Annotated[int, Field(ge=10**20, lt=10**21)],
    "float": float,
    "positive_float": pydantic.PositiveFloat,
    "finite": pydantic.FiniteFloat,
    "float_open_interval": Annotated[float, Field(gt=0, lt=1)],
    "float_closed_interval": Annotated[float, Field(ge=-0.5, le=2.5)],
    "float_tiny": Annotated[float, Field(gt=0, lt=1e-5)],
    "float_huge": Annotated[float, Field(ge=-3.4e38, le=3.4e38)],
    "float_multiple": Annotated[float, Field(multiple_of=0.5, ge=0, le=10)],
    "decimal": decimal.Decimal,
    "decimal_bounds": Annotated[decimal.Decimal, Field(ge=0, le=10, max_digits=5, decimal_places=2)],
    "list_length": Annotated[List[Digit], Field(min_length=1, max_length=3)],
    "tuple": tuple[Colour, Digit],
    "tuple_any_length": Annotated[tuple[bool, ...], Field(max_length=3)],
    "named_tuple": Named,
    "sequence": Annotated[typing.Sequence[bool], Field(max_length=3)],
    "dictionary": Annotated[Dict[str, Digit], Field(min_length=1)],
    "dictionary_short_keys": Dict[Annotated[str, Field(max_length=3)], bool],
    "dictionary_pattern_keys": Dict[Annotated[str, Field(pattern="^k[0-9]$")], bool],
    "dictionary_enumerated_keys": Dict[Literal["a", "b"], bool],
    "dictionary_integer_keys": Dict[int, bool],
    "typed_dictionary": Typed,
    "model": Closed,
    "model_extra": Open,
    "model_inherited": Extended,
    "model_nested": Line,
    "model_recursive": Tree,
    "model_aliased": Aliased,
    "model_generic": Holder[int],
    "dataclass": Record,
    "optional_float": Optional[Annotated[float, Field(gt=0)]],
    "optional_string": Optional[Short],
    "union": Union[bool, Digit, Literal["x"]],
    "union_models": Union[Cat, Dog],
    "union_discriminated": Annotated[Union[Cat, Dog], Field(discriminator="kind")],
    "list_of_discriminated": Annotated[List[Annotated[Union[Cat, Dog], Field(discriminator="kind")]], Field(max_length=1)],
    "annotated_optional": pydantic.create_model("Maybe", a=(Optional[bool], None), b=(Colour, Colour.RED)),
    "any_member": pydantic.create_model("Anything", a=(bool, ...), rest=(Any, None)),
    "json_string": pydantic.create_model("Wrapped", a=(pydantic.Json[bool], ...)),
}
# The library checks more than its schema says: that a scheme is http, that bytes are UTF-8, that a text is a number or JSON.
BEYOND_THE_SCHEMA = {"http_url", "base64", "decimal", "decimal_bounds", "json_string"}
# What no answer can be held to: the keyword and the place stand in the message.
REFUSED = {
    "set": (pydantic.create_model("Sets", ids=(set[int], ...)), "uniqueItems", "ids"),
    "frozen_set": (pydantic.create_model("Sets", user=(pydantic.create_model("User", tags=(List[frozenset[str]], ...)), ...)),
                   "uniqueItems", "user.tags[]"),
    "look_around": (pydantic.create_model("Look", code=(
        Annotated[str, Field(json_schema_extra={"pattern": "^(?=a)b"})], ...)), "pattern", "code"),
}


def dumped():
    for name, kind in FEATURES.items():
        adapter = pydantic.TypeAdapter(kind)
        schemas = [adapter.json_schema(mode=mode) for mode in ("validation", "serialization")]
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
        model=model, seed=seed, temperature=1, max_tokens=64,
        messages=[{"role": "user", "content": "Give an example value, as short as you can."}],
        response_format={"type": "json_schema", "json_schema": {"name": "value", "strict": True, "schema": schema}})
    return answer.choices[0]


def call(parameters, **options):
    tool = {"type": "function", "function": {"name": "lookup", "strict": True, "parameters": parameters}}
    return client.chat.completions.create(model=model, temperature=1, max_tokens=160, tools=[tool], seed=1,
                                          messages=[{"role": "user", "content": "Call it."}], **options).choices[0]


for at, (name, schema, adapter) in enumerate(dumped()):
    try:
        choice = next((one for one in (ask(schema, at + 1000 * again) for again in range(3)) if one.finish_reason != "length"),
                      ask(schema, at))
        if choice.finish_reason == "length":
            print(f"{name}: cut off, {choice.message.content[:60]}")
        else:
            json.loads(choice.message.content)
            if name not in BEYOND_THE_SCHEMA:
                adapter.validate_json(choice.message.content)
    except (openai.APIError, pydantic.ValidationError) as error:
        failures.append(f"{name}: {error} for {json.dumps(schema)}")

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
print("all checks passed")
