#!/usr/bin/env bash
# Guess: libraries that read tokenizer.json keep the flags of an added token: `lstrip` and `rstrip` swallow the spaces beside it, `single_word`
#   keeps it out of longer words.
# Reality: kitoken, basetenkenizer and ExecuTorch's tokenizer swallow nothing on either side, ONNX Runtime's nothing on the left.
#   All four cut a `single_word` token out of the middle of a word. They load the file silently, and agree with `tokenizers` on texts
#   without such tokens.
# Versions: tokenizers 0.23.3, kitoken 0.11.1, basetenkenizer 0.2.8, pytorch-tokenizers 1.5.0, onnxruntime-extensions 0.15.2.
# For a server author: Phi 3's turn markers have `rstrip`, masks of encoders have `lstrip`: each marker is followed by one token that the
#   model never saw there. Compare ids of rendered chats, markers and line ends included, before exchanging a tokenizer for speed.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile tokenizers==0.23.3 kitoken==0.11.1 basetenkenizer==0.2.8 numpy==2.3.5
v/bin/pip install -q --disable-pip-version-check --no-compile pytorch-tokenizers==1.5.0 tiktoken==0.14.0 sentencepiece==0.2.3
v/bin/pip install -q --disable-pip-version-check --no-compile --no-deps onnxruntime-extensions==0.15.2
cat > t.py <<'PY'
import json
from importlib.metadata import version
from pathlib import Path
import basetenkenizer, kitoken
from onnxruntime_extensions.pp_api import Tokenizer as OrtTokenizer
from pytorch_tokenizers import CppHFTokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

print({name: version(name) for name in ("tokenizers", "kitoken", "basetenkenizer", "pytorch-tokenizers", "onnxruntime-extensions")})
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
vocabulary = {letter: number for number, letter in enumerate([*letters, "ll"])}

def libraries(flags):
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[("l", "l")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<s>", "</s>"])
    made.add_tokens([AddedToken("<x>" if "single_word" not in flags else "ell", **{flag: True for flag in flags})])
    made.save("tokenizer.json")
    settings = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "model_max_length": 512}
    Path("tokenizer_config.json").write_text(json.dumps(settings))
    first, second, third = kitoken.Kitoken.from_file("tokenizer.json"), basetenkenizer.Tokenizer.from_file("tokenizer.json"), CppHFTokenizer()
    third.load("tokenizer.json")
    fourth = OrtTokenizer(".")
    return {
        "tokenizers": lambda text: made.encode(text, add_special_tokens=False).ids,
        "kitoken": lambda text: list(first.encode(text, True)),
        "basetenkenizer": lambda text: list(second.encode(text, add_special_tokens=False).ids),
        "ExecuTorch": lambda text: list(third.encode(text, 0, 0)),
        "ONNX Runtime": lambda text: [int(number) for number in fourth.tokenize(text)],
    }

names = {number: letter for letter, number in vocabulary.items()} | {257: "<s>", 258: "</s>", 259: "*"}
all_names = {"kitoken", "basetenkenizer", "ExecuTorch", "ONNX Runtime"}
for flags, text, other in [((), "a <x> b", set()), (("lstrip",), "a <x> b", all_names), (("rstrip",), "a <x>\nb", all_names - {"ONNX Runtime"}),
                           (("single_word",), "hello", all_names)]:
    ids = {name: encode(text) for name, encode in libraries(flags).items()}
    shown = {name: " ".join(names[number] for number in seen) for name, seen in ids.items()}
    print(f"{text!r}, {' '.join(flags) or 'no flag'}: {shown}")
    assert {name for name in all_names if ids[name] != ids["tokenizers"]} == other
PY
v/bin/python t.py
