#!/usr/bin/env bash
# Guess: fastokens' `Tokenizer`, which reads tokenizer.json and has the methods of `tokenizers`, gives the same ids and texts for the same
#   calls: `encode(text)` and `decode(ids)`.
# Reality: both defaults are the opposite. `encode` adds no special tokens, so `<s>` of the post-processor is missing; `decode` keeps
#   them, so "<s>" and the end marker show up in the text. With both named the results are equal.
# Versions: fastokens 0.3.5, tokenizers 0.23.3 (PyPI).
# For a server author: exchanging one import for the other loses the beginning of each raw prompt, and users see markers. Name
#   `add_special_tokens` and `skip_special_tokens` in every call.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check fastokens==0.3.5 tokenizers==0.23.3
cat > t.py <<'PY'
from importlib.metadata import version
import fastokens, tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

print({name: version(name) for name in ("fastokens", "tokenizers")})
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
made = tokenizers.Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.decoder = decoders.ByteLevel()
made.add_special_tokens(["<s>", "</s>"])
made.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 256), ("</s>", 257)])
made.save("tokenizer.json")
one, two = tokenizers.Tokenizer.from_file("tokenizer.json"), fastokens.Tokenizer.from_file("tokenizer.json")
whole, bare = [256, *one.encode("hi", add_special_tokens=False).ids, 257], one.encode("hi", add_special_tokens=False).ids
for name, tokenizer, ids, text in [("tokenizers", one, whole, "hi"), ("fastokens", two, bare, "<s>hi</s>")]:
    seen = tokenizer.encode("hi").ids, tokenizer.decode(whole), tokenizer.encode_batch(["hi"])[0].ids
    print(f"{name}: encode(\"hi\") is {seen[0]}, decode({whole}) is {seen[1]!r}")
    assert seen == (ids, text, ids), seen
    assert tokenizer.encode("hi", add_special_tokens=True).ids == whole
    assert tokenizer.decode(whole, skip_special_tokens=True) == "hi"
PY
v/bin/python t.py
