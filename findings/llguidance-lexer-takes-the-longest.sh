#!/usr/bin/env bash
# Guess: a Lark grammar means in llguidance what it means in Lark: any text that the rules derive is possible, as with Lark's Earley parser
#   (`dynamic_complete`; the first row with its default too). What llguidance cannot do it refuses when it reads the grammar.
# Reality: it splits the text into terminals first; the longest match wins and is not taken back. So ("a"|"ab") "bc" never takes "abc",
#   and in "begin" /.+/ "end" the text between swallows "end" too: the grammar compiles, each token is allowed, and there is no text at all
#   that ends. `lazy`, or a class without the next character, repairs it.
# Versions: llguidance 1.9.1, lark 1.3.1, Python 3.11.
# For a server author: clients' grammars (custom tools, vLLM's and OpenAI's `lark`) that pass a check with Lark never stop here: the model runs
#   until max_tokens and the answer is cut. It is a 200 with finish_reason "length", not an error.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check llguidance==1.9.1 lark==1.3.1
cat > t.py <<'PY'
from importlib.metadata import version
from lark import Lark
from lark.exceptions import LarkError
from llguidance import LLMatcher, LLTokenizer

print({name: version(name) for name in ("llguidance", "lark")})
tokenizer = LLTokenizer("byte")

def lark(grammar, text, **options):
    try:
        Lark(grammar, **options).parse(text)
        return True
    except LarkError:
        return False

def guidance(grammar, text):
    """Refused at a byte, or taken in full: whether the text may end there."""
    state = LLMatcher(tokenizer, "%llguidance {}\n" + grammar)
    assert not state.is_error(), state.get_error()
    tokens = tokenizer.tokenize_bytes(text.encode())
    taken = state.try_consume_tokens(tokens)
    return f"refuses byte {taken}" if taken < len(tokens) else state.is_accepting()

rows = [
    ('start: ("a" | "ab") "bc"', "abc", "refuses byte 2"),
    ('start: ("a" | "ab") "bc"', "abbc", True),
    ('start: "begin" /.+/ "end"', "beginxend", False),
    ('start: "begin" /.+/ "end"', "beginxendend", False),
    ('start: /[a-z]+/ "x"', "abx", False),
    ('start: "begin" text\ntext: /[^<]+/ "<end>"', "beginx<end>", True),
]
for grammar, text, expected in rows:
    seen = lark(grammar, text, lexer="dynamic_complete"), guidance(grammar, text)
    print(f"{grammar!r}\n   {text!r}: lark {seen[0]}, llguidance {seen[1]}")
    assert seen == (True, expected), seen
assert lark(*rows[0][:2])
lazy = 'start: "begin" text\ntext[lazy]: /(.|\\n)+end/'
print(f"{lazy!r}\n   'beginxend': llguidance {guidance(lazy, 'beginxend')}")
assert guidance(lazy, "beginxend") is True
PY
v/bin/python t.py
