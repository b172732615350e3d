#!/usr/bin/env bash
# Guess: `add_bos_token` in tokenizer_config.json decides for a Llama tokenizer whether a text begins with `<s>`, as it always has.
# Reality: Transformers 4 sets tokenizer.json's post-processor by it. Transformers 5 does not read it: the same folder with `true` has lost
#   its `<s>`, and one with `false` has gained it, without a warning. The class PreTrainedTokenizerFast reads it in neither version.
# Versions: transformers 5.24.0 and 4.57.6, tokenizers 0.23.3 and 0.22.2 (PyPI), no torch.
# For a server author: raw prompts and embeddings of older conversions change with the library that runs them, and a base model without
#   `<s>` was not trained so. Take tokenizer.json alone as the truth, and warn of folders whose `add_bos_token` says otherwise.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for version in 5.24.0 4.57.6; do
    python3 -m venv "v$version"
    "v$version/bin/pip" install -q --disable-pip-version-check "transformers==$version"
done
cat > t.py <<'PY'
import json, os, sys, tempfile
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from importlib.metadata import version
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer

expected = json.loads(sys.argv[1])

def folder(kind, adds, setting):
    """A byte-level tokenizer whose post-processor adds `<s>` or not, and the setting beside it."""
    folder = tempfile.mkdtemp(dir=".")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    if adds:
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", len(letters))])
    tokenizer.save(f"{folder}/tokenizer.json")
    with open(f"{folder}/tokenizer_config.json", "w") as file:
        json.dump({"tokenizer_class": kind, "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": setting}, file)
    return folder

print({name: version(name) for name in ("transformers", "tokenizers")})
for kind in ("LlamaTokenizerFast", "LlamaTokenizer", "PreTrainedTokenizerFast"):
    for adds, setting in ((False, True), (True, False)):
        tokenizer = AutoTokenizer.from_pretrained(folder(kind, adds, setting))
        seen = tokenizer.convert_ids_to_tokens(tokenizer("a").input_ids)
        print(f"  {kind}, add_bos_token {setting}, post-processor {'adds' if adds else 'adds none'}: {seen}")
        followed = expected and kind != "PreTrainedTokenizerFast"
        assert seen == (["<s>", "a"] if (setting if followed else adds) else ["a"]), seen
PY
v4.57.6/bin/python t.py true
v5.24.0/bin/python t.py false
