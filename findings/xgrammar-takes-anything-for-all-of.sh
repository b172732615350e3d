#!/usr/bin/env bash
# Guess: what XGrammar accepts for a JSON schema is valid by it, or the schema is refused; it says that an unknown keyword is ignored.
# Reality: `allOf` of two, which Zod makes of `startsWith` and `endsWith`, is any JSON at all; a line on the process's stderr is the only sign. Without even that: keywords
#   beside `$ref`, `anyOf` and `enum` do nothing, a required name that `properties` does not list may be left out and cannot be written, and `not`,
#   `uniqueItems`, `contains`, `dependentRequired` and `if` are dropped. A bounded number may have six decimals, one without bounds as many as it likes.
# Versions: xgrammar 0.2.9, apache-tvm-ffi 0.1.15.post2, jsonschema 4.26.0 (PyPI), by XGrammar's own test of grammars; torch and transformers, of which that needs
#   types only, are empty modules. zod 4.6.7 (npm).
# For a server author: this is the default of the large servers. Validate an answer by the schema before you call a wrong one the model's.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check apache-tvm-ffi==0.1.15.post2 numpy==2.3.5 pydantic==2.14.4 jsonschema==4.26.0
v/bin/pip install -q --disable-pip-version-check --no-deps xgrammar==0.2.9
npm install --silent --no-fund --no-audit zod@4.6.7 > /dev/null 2>&1
cat > t.mjs <<'JS'
import { z } from "zod";
console.log(JSON.stringify(z.toJSONSchema(z.object({ a: z.string().startsWith("INV-").endsWith("-DE") }))));
JS
node t.mjs > zod.json
cat > t.py <<'PY'
import json, os, sys, tempfile, types
from importlib.metadata import version
import tvm_ffi
from jsonschema import Draft202012Validator

class Empty(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return (lambda *_, **__: None) if name == "tensor" else object

sys.modules.update({name: Empty(name) for name in ("torch", "transformers")})
import xgrammar
from xgrammar.testing import _is_grammar_accept_string

print({name: version(name) for name in ("xgrammar", "apache-tvm-ffi", "jsonschema")})

def accepts(schema, text):
    """Whether the text is accepted, and whether the library has written to stderr."""
    with tempfile.TemporaryFile() as out:
        kept = os.dup(2)
        os.dup2(out.fileno(), 2)
        seen = _is_grammar_accept_string(xgrammar.Grammar.from_json_schema(json.dumps(schema)), text)
        os.dup2(kept, 2)
        os.close(kept)
        return seen, out.tell() > 0

def field(**schema):
    return {"type": "object", "properties": {"a": schema}, "required": ["a"], "additionalProperties": False}

pair = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
number = {"$defs": {"number": {"type": "integer"}}}
for schema, wrong, warned in (
    (json.load(open("zod.json")), '{"a": {"b": [true]}}', True),
    (field(type="object", allOf=[{"required": ["x"]}, {"required": ["y"]}]), '{"a": 3}', True),
    (field(oneOf=[{"type": "integer"}, {"type": "number"}]), '{"a": 3}', True),
    ({**number, **field(**{"$ref": "#/$defs/number", "minimum": 5})}, '{"a": 3}', False),
    (field(type="string", anyOf=[{"minLength": 5}, {"const": "-"}]), '{"a": 3}', False),
    (field(type="string", enum=["x", None]), '{"a": null}', False),
    (field(**{"not": {"const": "x"}}), '{"a": "x"}', False),
    (field(type="array", items={"type": "integer"}, uniqueItems=True), '{"a": [1, 1]}', False),
    (field(type="array", items={"type": ["string", "integer"]}, contains={"type": "integer"}), '{"a": ["x"]}', False),
    ({**pair, "required": ["a", "c"]}, '{"a": 1}', False),
    ({**pair, "dependentRequired": {"a": ["b"]}}, '{"a": 1}', False),
    ({**pair, "if": {"required": ["a"]}, "then": {"required": ["b"]}}, '{"a": 1}', False),
):
    seen = accepts(schema, wrong)
    rest = {name: value for name, value in schema.items() if name in ("properties", "required", "if", "then", "dependentRequired")}
    print("accepted" if seen[0] else "refused", wrong, "with a warning" if seen[1] else "in silence", "by", rest)
    assert seen == (True, warned) and not Draft202012Validator(schema).is_valid(json.loads(wrong)), (schema, wrong, seen)
for schema, right, taken in (({**pair, "required": ["a", "c"]}, '{"a": 1, "c": 2}', False), (field(type="number", minimum=0), '{"a": 0.123456}', True),
                             (field(type="number", minimum=0), '{"a": 0.1234567}', False), (field(type="number"), '{"a": 0.1234567}', True)):
    seen = accepts(schema, right)
    print("accepted" if seen[0] else "refused", right, "by", schema["properties"], schema["required"])
    assert seen == (taken, False) and Draft202012Validator(schema).is_valid(json.loads(right)), (schema, right, seen)
PY
v/bin/python t.py
