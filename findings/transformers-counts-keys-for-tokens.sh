#!/usr/bin/env bash
# Guess: `len(tokenizer.apply_chat_template(messages))` is the number of the prompt's tokens, as it has been since the method exists.
# Reality: since Transformers 5 the method returns a mapping (`return_dict=True`), so `len` counts its keys: 2 for every conversation. Nothing
#   raises or warns, and `tokens[:limit]`, which would, is rarely used. `add_generation_prompt=True` and tools make no difference.
#   With several conversations it is 2 as well; `return_dict=False` gives the list back.
# Versions: transformers 5.24.0 and 4.57.6, jinja2 3.1.6, Python 3.11.
# For a server author: a client or a benchmark that cuts its history by this count sends far too long prompts after an upgrade. Compare
#   with the `usage` of your answers, or offer a count over HTTP.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > t.py <<'PY'
import json, sys
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

words = ["<unk>", "user", "assistant", "What", "is", "this", "a", "long", "question"]
core = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
tokenizer.chat_template = "{% for m in messages %}{{ m.role + ' ' + m.content + ' ' }}{% endfor %}{% if add_generation_prompt %}assistant{% endif %}"
short = [{"role": "user", "content": "What is this"}]
long = [{"role": "user", "content": "a long question " * 50}] * 3
counts = [len(tokenizer.apply_chat_template(short)), len(tokenizer.apply_chat_template(long)),
          len(tokenizer.apply_chat_template(long, add_generation_prompt=True)),
          len(tokenizer.apply_chat_template(long, return_dict=False))]
print(transformers.__version__, type(tokenizer.apply_chat_template(long)).__name__, counts)
assert counts == ([2, 2, 2, 453] if sys.argv[1] == "5" else [4, 453, 454, 453]), counts
PY
for version in 4.57.6 5.24.0; do
    python3 -m venv "v$version"
    "v$version/bin/pip" install -q --disable-pip-version-check "transformers==$version" jinja2==3.1.6
    TRANSFORMERS_VERBOSITY=error "v$version/bin/python" t.py "${version%%.*}" 2> "err$version" || { cat "err$version"; exit 1; }
done
