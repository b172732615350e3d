#!/usr/bin/env bash
# Guess: without `enable_thinking` mlx-lm renders a chat template as Transformers does: the template's own default decides.
# Reality: mlx-lm always passes it: True where the vocabulary has the markers of reasoning, False elsewhere. Gemma 4, whose template answers
#   directly unless asked, gets `<|think|>` in a system turn that nobody wrote; the Qwen 3.5 template that closes its thought at once begins one.
#   Vocabularies without one token for the markers get the opposite: Qwen 3's and Nemotron's thought is closed before it begins.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU, transformers 5.24.0, trl 1.16.0 (its templates).
# For a server author: the same folder thinks for thousands of tokens under one server and answers at once under another, and prompts differ from
#   the first token on, so nothing cached is shared. Name `enable_thinking` in every request, and in every comparison.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2 transformers==5.24.0
v/bin/pip install -q --disable-pip-version-check --no-compile --no-deps trl==1.16.0
cat > t.py <<'PY'
import json, os
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from importlib.metadata import distribution, version
from pathlib import Path
from mlx_lm.tokenizer_utils import load
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

print({name: version(name) for name in ("mlx-lm", "transformers", "trl")})
templates = Path(distribution("trl").locate_file("trl/chat_templates"))
letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}

def tokenizer(name, markers):
    made = Tokenizer(models.BPE(vocab=letters, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<s>", "</s>"])
    made.add_tokens(markers)
    folder = Path(f"{name}-{len(markers)}")
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text((templates / f"{name}.jinja").read_text())
    return load(folder)

think = ["<think>", "</think>"]
for name, markers, transformers_thinks, mlx_thinks in [
    ("gemma4", ["<|channel>", "<channel|>"], False, True), ("gemma4_v5", ["<|channel>", "<channel|>"], False, True),
    ("qwen3_5_nothink", think, False, True), ("qwen3", think, True, True), ("qwen3_5_think", think, True, True),
    ("qwen3", [], True, False), ("nemotron_3_nano", [], True, False),
]:
    made = tokenizer(name, markers)
    chat = [{"role": "user", "content": "hi"}]
    one = made._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    two = made.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    asked = [made._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, enable_thinking=on) for on in (False, True)]
    print(f"{name}, markers {markers}:\n   Transformers {one!r}\n   mlx-lm       {two!r}")
    assert asked[0] != asked[1]
    assert one == asked[transformers_thinks] and two == asked[mlx_thinks]
PY
v/bin/python t.py
