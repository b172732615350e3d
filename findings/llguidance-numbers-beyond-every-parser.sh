#!/usr/bin/env bash
# Guess: `{"type": "number"}` under a grammar gives a number that any JSON parser reads, and what it reads it can write again.
# Reality: llguidance lets the exponent be any. `1e400` is accepted; Python's json and JavaScript read infinity, which they write as `Infinity`, no JSON, and as
#   null; orjson raises. Integers have any length: JavaScript reads another number. A bound on either side keeps exponents out.
# Versions: llguidance 1.9.1, orjson 3.13.0, pydantic 2.14.4 (PyPI), node's JSON, Python's json.
# For a server author: the same constrained answer is right in one client and an exception in the next. Give plain numbers a pattern with a bounded exponent.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check llguidance==1.9.1 orjson==3.13.0 pydantic==2.14.4
cat > t.py <<'PY'
import json, subprocess
from importlib.metadata import version
import orjson, pydantic
from llguidance import LLMatcher, LLTokenizer

print({name: version(name) for name in ("llguidance", "orjson", "pydantic")}, subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip())
tokenizer = LLTokenizer("byte")

def generated(schema, text):
    state = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(json.dumps(schema)))
    assert not state.is_error(), state.get_error()
    tokens = tokenizer.tokenize_bytes(text.encode())
    return state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting()

def again(read, write, text):
    try:
        return write(read(text))
    except Exception as error:
        return type(error).__name__

def node(text):
    return subprocess.run(["node", "-p", f"JSON.stringify(JSON.parse({json.dumps(text)}))"], capture_output=True, text=True, check=True).stdout.strip()

number, integer = {"type": "number"}, {"type": "integer"}
for schema, text, accepted, expected in [
    (number, "1e4", True, ("10000.0", "10000", "10000.0", "10000.0")),
    (number, "1e400", True, ("Infinity", "null", "JSONDecodeError", "inf")),
    ({**number, "maximum": 9}, "1e400", False, ("Infinity", "null", "JSONDecodeError", "inf")),
    (integer, "1" + "0" * 29 + "7", True, ("1" + "0" * 29 + "7", "1e+30", "1e+30", "1" + "0" * 29 + "7")),
]:
    seen = (again(json.loads, json.dumps, text), node(text), again(orjson.loads, lambda value: orjson.dumps(value).decode(), text),
            again(pydantic.TypeAdapter(int if schema is integer else float).validate_json, str, text))
    print(f"{text} with {json.dumps(schema)}: accepted {generated(schema, text)}; Python {seen[0]}, node {seen[1]}, orjson {seen[2]}, pydantic {seen[3]}")
    assert generated(schema, text) == accepted
    assert seen == expected, seen
PY
v/bin/python t.py
