#!/usr/bin/env bash
# Guess: `apply_chat_template` gives the template the messages as they came, so a template that reads `message.reasoning` finds it if the client sent it under that
#   name, and what Jinja2 renders, Transformers renders.
# Reality (Transformers 5.24): the first of `reasoning_content`, `thinking` and `reasoning` fills `reasoning_content`, also over another value, and `thinking`, but
#   never `reasoning`. Templates of all three kinds exist. A template that reads `reasoning` loses what clients call `reasoning_content`; one that reads
#   `thinking` has it, unlike in bare Jinja2.
# Versions: transformers 5.24.0, Jinja2 3.1.6, tokenizers 0.23.3 (PyPI).
# For a server author: test a template with each of the three names. A server that passes messages to Jinja2 gives another prompt than Transformers does.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 Jinja2==3.1.6 tokenizers==0.23.3
cat > t.py <<'PY'
from importlib.metadata import version
from jinja2 import Environment
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

print({name: version(name) for name in ("transformers", "Jinja2")})
tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")), unk_token="[UNK]")
names = "reasoning_content", "thinking", "reasoning"

def read(name, message):
    template = "{% for message in messages %}{{ message." + name + " or '-' }}{% endfor %}"
    bare = Environment().from_string(template).render(messages=[message])
    return bare, tokenizer.apply_chat_template([message], chat_template=template, tokenize=False)

for sent, expected in [
    ({"reasoning_content": "R"}, ("R", "R", "-")),
    ({"thinking": "T"}, ("T", "T", "-")),
    ({"reasoning": "X"}, ("X", "X", "X")),
    ({"reasoning_content": "R", "thinking": "T"}, ("R", "T", "-")),
    ({"thinking": "T", "reasoning": "X"}, ("T", "T", "X")),
]:
    message = {"role": "assistant", "content": "a", **sent}
    bare, seen = zip(*(read(name, message) for name in names))
    print(f"{sent}: Jinja2 {dict(zip(names, bare))}, Transformers {dict(zip(names, seen))}")
    assert bare == tuple(sent.get(name, "-") for name in names)
    assert seen == expected, seen
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
