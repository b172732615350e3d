"""Makes more of the made-up requests reach a model."""
import itertools
import json
import os
import urllib.request

import schemathesis

MODEL = os.environ["FUZZ_MODEL"]
# Fields of requests to the model itself; invented ids are mostly refused.
BY_ID = {"/admin/v1/models/{id}", "/admin/v1/models/{id}/load", "/admin/v1/models/{id}/pin", "/v1/models/{id}",
         "/api/v0/models/{id}"}

with urllib.request.urlopen(os.environ["FUZZ_DOCUMENT"]) as answer:
    DOCUMENT = json.load(answer)
turns = itertools.count()


def fields(path):
    """The fields of a body, or of all its forms."""
    return properties(DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"])


def properties(schema):
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        return properties(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    found = dict(schema.get("properties", {}))
    for form in itertools.chain(*(schema.get(key, []) for key in ("anyOf", "allOf", "oneOf"))):
        found |= properties(form)
    return found


def undescribed(path):
    """Fields of any form: those that are refused. With one of them in nearly every request none would reach the model."""
    return {name for name, field in fields(path).items() if field is True}


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        body["model"] = MODEL
        # A microsecond is not enough for any model: the answer would be a 504.
        body.pop("timeout", None)
        if context.operation.path.startswith("/api/"):
            # Without a prompt, 0 unloads the model.
            body.pop("keep_alive", None)
        if next(turns) % 2:
            body = {name: value for name, value in body.items() if name not in undescribed(context.operation.path)}
    return body


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if path_parameters and context.operation.path in BY_ID and next(turns) % 2:
        path_parameters["id"] = MODEL
    return path_parameters
