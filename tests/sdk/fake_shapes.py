"""Checks JSON against the types of the official SDKs, strictly: no unknown field, no value of another type."""
import datetime
import types
import typing
from collections import abc
from functools import lru_cache

import pydantic
from typing_extensions import NotRequired, Required, is_typeddict


def problems(value, shape, path=""):
    """What is wrong with `value`, as texts. Empty if it has the type `shape`."""
    shape = plain(shape)
    origin = typing.get_origin(shape)
    if shape in (object, typing.Any):
        return []
    if origin in (typing.Union, types.UnionType):
        return of_union(value, typing.get_args(shape), path)
    if origin is typing.Literal:
        return [] if value in typing.get_args(shape) else [f"{path}: {value!r} is none of {typing.get_args(shape)}"]
    if is_typeddict(shape):
        return of_fields(value, *fields_of_dict(shape), path)
    if isinstance(shape, type) and issubclass(shape, pydantic.BaseModel):
        return of_fields(value, *fields_of_model(shape), path)
    if origin in (list, abc.Iterable, abc.Sequence) or getattr(origin or shape, "__name__", "") == "SequenceNotStr":
        if not isinstance(value, list):
            return [f"{path}: no list"]
        inner = (typing.get_args(shape) or (object,))[0]
        return [problem for at, item in enumerate(value) for problem in problems(item, inner, f"{path}[{at}]")]
    if origin in (dict, abc.Mapping):
        if not isinstance(value, dict):
            return [f"{path}: no object"]
        inner = typing.get_args(shape)[1]
        return [problem for name, item in value.items() for problem in problems(item, inner, f"{path}.{name}")]
    return of_scalar(value, shape, path)


def plain(shape):
    """The type without what is only said about it."""
    while typing.get_origin(shape) in (typing.Annotated, Required, NotRequired):
        shape = typing.get_args(shape)[0]
    return shape


def of_scalar(value, shape, path):
    if shape in (None, type(None)):
        fits = value is None
    elif shape is bool:
        fits = isinstance(value, bool)
    elif shape is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif shape is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif shape in (str, datetime.datetime):
        fits = isinstance(value, str)
    else:
        # Such as a file, which is no JSON.
        fits = False
    return [] if fits else [f"{path}: {value!r} is no {getattr(shape, '__name__', shape)}"]


def of_union(value, shapes, path):
    """The problems with the best of `shapes`: the one whose literal fields, such as `type`, the value has."""
    found = [(problems(value, shape, path), shape) for shape in shapes]
    if any(not wrong for wrong, _ in found):
        return []
    named = [wrong for wrong, shape in found if has_literals(value, plain(shape))]
    return min(named or [wrong for wrong, _ in found], key=len)


def has_literals(value, shape):
    is_model = isinstance(shape, type) and issubclass(shape, pydantic.BaseModel)
    if not isinstance(value, dict) or not (is_model or is_typeddict(shape)):
        return False
    fields, required = fields_of_model(shape) if is_model else fields_of_dict(shape)
    literals = [name for name in required if typing.get_origin(plain(fields[name])) is typing.Literal]
    return bool(literals) and all(value.get(name) in typing.get_args(plain(fields[name])) for name in literals)


def of_fields(value, fields, required, path):
    if not isinstance(value, dict):
        return [f"{path}: no object"]
    wrong = [f"{path}.{name}: is missing" for name in required if name not in value]
    for name, item in value.items():
        if name in fields:
            wrong += problems(item, fields[name], f"{path}.{name}")
        else:
            wrong.append(f"{path}.{name}: unknown field")
    return wrong


@lru_cache(maxsize=None)
def fields_of_dict(shape):
    """The fields of a TypedDict that may be in a body, and the names of the required ones."""
    hints = typing.get_type_hints(shape, include_extras=True)
    return hints, [name for name, hint in hints.items() if is_required(hint)]


def is_required(hint):
    return typing.get_origin(hint) is Required


@lru_cache(maxsize=None)
def fields_of_model(shape):
    fields = {field.alias or name: field.annotation for name, field in shape.model_fields.items()}
    required = [field.alias or name for name, field in shape.model_fields.items() if field.is_required()]
    return fields, required
