"""Each request field of OpenAI's library is in the OpenAPI document: it works or is refused by name. openai_fields.py BASE_URL"""
import json
import sys
import typing
import urllib.request

from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

[base_url] = sys.argv[1:]
document = json.load(urllib.request.urlopen(f"{base_url}/openapi.json"))
REQUESTS = {
    "ChatRequest": chat_create_params.CompletionCreateParamsBase,
    "CompletionRequest": completion_create_params.CompletionCreateParamsBase,
    "EmbeddingsRequest": embedding_create_params.EmbeddingCreateParams,
}


def properties(schema):
    """The names of a schema's properties. A flattened part can be a reference."""
    names = set(schema.get("properties", {}))
    for part in schema.get("allOf", []):
        names |= properties(part)
    if "$ref" in schema:
        names |= properties(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    return names


for name, parameters in REQUESTS.items():
    ours = properties(document["components"]["schemas"][name])
    theirs = set(typing.get_type_hints(parameters))
    assert len(theirs) >= 5, theirs
    assert theirs <= ours, f"{name} does not know {sorted(theirs - ours)}"
print("all checks passed")
