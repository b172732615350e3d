#!/usr/bin/env bash
# Guess: outlines-core raises on a keyword that it does not support, as llguidance does, and means by `pattern` what JSON Schema
#   means: a match anywhere in the text.
# Reality: `minimum`, `maximum`, `exclusiveMinimum`, `multipleOf`, `uniqueItems`, `contains`, `minProperties` and what stands beside
#   a `$ref` are dropped without a word. `pattern` must match the whole text, so "^[A-Z]" allows one letter only, and a mixed
#   `enum` ignores `type`. llguidance enforces or refuses each of these.
# Versions: outlines-core 0.2.14, llguidance 1.9.1, Python 3.11.
# For a server author: one schema through two back ends gives two languages. A server that falls back from one library to the
#   other, or whose clients move from vLLM's outlines back end, breaks "strict" in silence: 13 where the maximum is 12.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check outlines-core==0.2.14 llguidance==1.9.1
cat > t.py <<'PY'
import json, re
from importlib.metadata import version
from llguidance import LLMatcher, LLTokenizer
from outlines_core.json_schema import build_regex_from_schema

print({name: version(name) for name in ("outlines-core", "llguidance")})
tokenizer = LLTokenizer("byte")

def guidance(schema, text):
    state = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(json.dumps(schema)))
    if state.is_error():
        return "refused"
    tokens = tokenizer.tokenize_bytes(text.encode())
    return state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()

def outlines(schema, text):
    return re.fullmatch(build_regex_from_schema(json.dumps(schema)), text) is not None

one = {"a": {"type": "integer"}}
rows = [
    # schema, text, whether the text fits by JSON Schema, what llguidance does
    ({"type": "integer", "minimum": 5, "maximum": 12}, "13", False, False),
    ({"type": "number", "exclusiveMinimum": 0}, "-0.5", False, False),
    ({"type": "integer", "multipleOf": 5}, "11", False, False),
    ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, "[1,1]", False, "refused"),
    ({"type": "array", "items": {"type": "integer"}, "contains": {"const": 1}}, "[2]", False, "refused"),
    ({"type": "object", "properties": one, "minProperties": 1}, "{}", False, "refused"),
    ({"$ref": "#/$defs/A", "maxLength": 1, "$defs": {"A": {"type": "string"}}}, '"abc"', False, False),
    ({"type": "integer", "enum": [1, "a"]}, '"a"', False, False),
    ({"type": "string", "pattern": "^[A-Z]"}, '"Abc"', True, True),
    ({"type": "string", "pattern": "@"}, '"a@b"', True, True),
]
for schema, text, fits, expected in rows:
    seen = outlines(schema, text), guidance(schema, text)
    print(f"{json.dumps(schema)}\n   {text}: fits {fits} | outlines-core takes it {seen[0]} | llguidance {seen[1]}")
    assert seen == (not fits, expected), seen
PY
v/bin/python t.py
