#!/usr/bin/env bash
# Guess: a length or a pattern on a text, such as Pydantic's `min_length=1`, restricts what the length or the pattern says and nothing else.
# Reality: in XGrammar a text with `minLength`, `maxLength` or `pattern` has no escapes at all: no quotation mark, no backslash, no line end. A question, a path of
#   Windows or code over two lines cannot be written there, and the mask leads the model to another text. `pattern` must match the whole text, so "b" refuses
#   "abc", and `^a|b$` means "a" or "b"; lengths beside it are ignored. With a length a raw tab passes, which is no JSON. Without the keyword all texts can be written.
# Versions: xgrammar 0.2.9, apache-tvm-ffi 0.1.15.post2 (PyPI), by its own test of grammars; torch and transformers, of which that needs types only, are
#   empty modules.
# For a server author: texts without quotation marks look like the model's style. Take bounds off texts before they go to such a server, and check them afterwards.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check apache-tvm-ffi==0.1.15.post2 numpy==2.3.5 pydantic==2.14.4 jsonschema==4.26.0
v/bin/pip install -q --disable-pip-version-check --no-deps xgrammar==0.2.9
cat > t.py <<'PY'
import json, sys, types
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

print({name: version(name) for name in ("xgrammar", "apache-tvm-ffi")})
PLAIN, QUOTED, LINES, PATH, TAB = "x", 'say "no"', "one\ntwo", "C:\\new", "a\tb"

def accepts(keywords, text):
    schema = {"type": "object", "properties": {"a": {"type": "string", **keywords}}, "required": ["a"]}
    return _is_grammar_accept_string(xgrammar.Grammar.from_json_schema(json.dumps(schema)), text)

def valid(keywords, text):
    return Draft202012Validator({"type": "string", **keywords}).is_valid(text)

# The texts are valid by each of these schemas.
for keywords, written in (({}, True), ({"minLength": 0}, True), ({"minLength": 1}, False), ({"maxLength": 1000}, False),
                          ({"pattern": "^.{1,99}$"}, False), ({"pattern": "^[\\s\\S]+$"}, False)):
    texts = [text for text in (PLAIN, QUOTED, LINES, PATH, TAB) if valid(keywords, text)]
    seen = {text: accepts(keywords, json.dumps({"a": text})) for text in texts}
    raw = accepts(keywords, '{"a": "a\tb"}')
    print(f"{keywords}: {seen}, a raw tab: {raw}")
    assert seen == {text: written or text == PLAIN for text in texts} and QUOTED in texts and PATH in texts and raw == ("Length" in str(keywords) and not written)
for keywords, text, taken in (({"pattern": "b"}, "abc", False), ({"pattern": "b"}, "b", True), ({"pattern": "^a|b$"}, "ax", False), ({"pattern": "^a|b$"}, "a", True),
                              ({"pattern": "^[a-z]+$", "maxLength": 3}, "abcdef", True), ({"maxLength": 3}, "abcdef", False)):
    seen = accepts(keywords, json.dumps({"a": text}))
    print(f"{keywords}: {text!r} is {'valid' if valid(keywords, text) else 'not valid'}, and {'accepted' if seen else 'refused'}")
    assert seen == taken and (valid(keywords, text) != taken or text in ("a", "b") or keywords == {"maxLength": 3})
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
