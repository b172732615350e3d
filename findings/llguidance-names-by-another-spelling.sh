#!/usr/bin/env bash
# Guess: a text that llguidance's grammar of a JSON schema accepts is valid by that schema once it is parsed.
# Reality: names of further properties may be spelled with escapes, and may repeat. `{"\u0061": "x"}` passes as a further property though "a" must be an integer;
#   `{"a": 1, "\u0061": "x"}` parses to a text; and `{"b": 1, "b": 2}` counts as two for minProperties. With `additionalProperties: false`, or with
#   `"x-guidance": {"json_allowed_escapes": "nrbtf\\\""}` for the spelling, neither passes.
# Versions: llguidance 1.9.1, jsonschema 4.26.0 (PyPI).
# For a server author: "the output is valid by construction" holds for closed objects. Set the escapes that are allowed, or validate what was parsed.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check llguidance==1.9.1 jsonschema==4.26.0
cat > t.py <<'PY'
import json
from importlib.metadata import version
import jsonschema
from llguidance import LLMatcher, LLTokenizer

print({name: version(name) for name in ("llguidance", "jsonschema")})
tokenizer = LLTokenizer("byte")

def generated(schema, text):
    state = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(json.dumps(schema)))
    assert not state.is_error(), state.get_error()
    tokens = tokenizer.tokenize_bytes(text.encode())
    return state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()

escapes = {"x-guidance": {"json_allowed_escapes": "nrbtf\\\""}}
number = {"type": "object", "properties": {"a": {"type": "integer"}}}
closed, two = {**number, "additionalProperties": False}, {"type": "object", "minProperties": 2}
for schema, text, accepted, valid in [
    (number, '{"a": 1}', True, True),
    (number, '{"a": "x"}', False, False),
    (number, r'{"\u0061": "x"}', True, False),
    (number, r'{"a": 1, "\u0061": "x"}', True, False),
    (closed, r'{"\u0061": "x"}', False, False),
    ({**number, **escapes}, r'{"\u0061": "x"}', False, False),
    (two, '{"b": 1}', False, False),
    (two, '{"b": 1, "b": 2}', True, False),
]:
    parsed = json.loads(text)
    seen = generated(schema, text), jsonschema.Draft202012Validator(schema).is_valid(parsed)
    print(f"{text} with {json.dumps(schema)}: llguidance accepts {seen[0]}, parsed {parsed} is valid {seen[1]}")
    assert seen == (accepted, valid), seen
PY
v/bin/python t.py
