#!/usr/bin/env bash
# Guess: what LM Format Enforcer accepts for a JSON schema is JSON and valid by it, or the schema is refused.
# Reality: a text of `enum` or `const` with a quotation mark is cut there: `say "yes"` can only be answered by `say `. A line end stays a line end, which is no JSON.
#   For the path `C:\new` the right form passes, and so does `"C:\"new"`. `true` alone cannot be generated. Bounds, `multipleOf`, `format`, `uniqueItems`,
#   `prefixItems` and `minProperties` are not enforced, without a word; lengths, `minItems` and `maxItems` are.
# Versions: lm-format-enforcer 0.11.3, jsonschema 4.26.0 (PyPI); its parser is asked character by character, without a tokenizer.
# For a server author: Windows paths and quoted names are common values of an enumeration. Validate what such a server returns, and never only parse it.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check lm-format-enforcer==0.11.3 jsonschema==4.26.0
cat > t.py <<'PY'
import json
from importlib.metadata import version
from jsonschema import Draft202012Validator
from lmformatenforcer import JsonSchemaParser

print({name: version(name) for name in ("lm-format-enforcer", "jsonschema")})

def accepts(schema, text):
    parser = JsonSchemaParser(schema)
    for character in text:
        if character not in parser.get_allowed_characters():
            return False
        parser = parser.add_character(character)
    return parser.can_end()

def parses(text):
    try:
        return bool(json.loads(text))
    except json.JSONDecodeError:
        return False

def field(**schema):
    return {"type": "object", "properties": {"a": schema}, "required": ["a"]}

# A value, a wrong form of it, whether the right form passes and whether the wrong one is JSON.
forms = (('say "yes"', '{"a": "say "}', False, True), ("C:\\new", '{"a": "C:\\"new"}', True, True), ("one\ntwo", '{"a": "one\ntwo"}', False, False))
for value, wrong, passes, is_json in forms:
    for schema in (field(type="string", enum=[value]), field(const=value)):
        right = json.dumps({"a": value})
        seen = {text: accepts(schema, text) for text in (right, wrong)}
        print("enum or const", repr(value), "accepted:", seen, "| the wrong form is JSON:", parses(wrong))
        assert seen == {right: passes, wrong: True} and Draft202012Validator(schema).is_valid(json.loads(right))
        assert parses(wrong) == is_json and not (is_json and Draft202012Validator(schema).is_valid(json.loads(wrong)))
true = accepts(field(enum=[True]), '{"a": true}'), accepts(field(type="boolean"), '{"a": true}')
print("true, as the only value of an enumeration and as a boolean:", true)
assert true == (False, True)

numbers = {"type": "array", "items": {"type": "integer"}}
dropped = [(field(type="integer", minimum=5), '{"a": 3}'), (field(type="integer", multipleOf=5), '{"a": 3}'), (field(type="string", format="uuid"), '{"a": "x"}'),
           (field(**numbers, uniqueItems=True), '{"a": [1, 1]}'), (field(type="array", prefixItems=[{"type": "integer"}]), '{"a": ["x"]}'),
           ({"type": "object", "properties": {"a": {"type": "integer"}}, "minProperties": 1}, "{}")]
kept = [(field(type="string", maxLength=2), '{"a": "xyz"}'), (field(type="string", minLength=2), '{"a": "x"}'), (field(**numbers, minItems=2), '{"a": [1]}'),
        (field(**numbers, maxItems=1), '{"a": [1, 2]}')]
# Formats are asserted by a small rule of ours; all else by jsonschema.
for schema, text in dropped + kept:
    valid = Draft202012Validator(schema).is_valid(json.loads(text)) and "uuid" not in str(schema)
    seen = accepts(schema, text)
    print("accepted" if seen else "refused", text, "by", schema.get("properties", schema))
    assert not valid and seen == ((schema, text) in dropped)
PY
v/bin/python t.py
