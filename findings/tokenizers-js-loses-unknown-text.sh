#!/usr/bin/env bash
# Guess: what a vocabulary lacks becomes bytes or the unknown token in @huggingface/tokenizers, as tokenizer.json says.
# Reality: `byte_fallback` of a Unigram model is not read: "é" is `<unk>` and cannot come back, while a BPE model's is. A word that a
#   WordLevel model lacks has the id `undefined`, null as JSON, unless tokenizer_config.json repeats the `unk_token` of tokenizer.json.
#   `decode([])` throws instead of "".
# Versions: @huggingface/tokenizers 0.2.0 (npm), tokenizers 0.23.3 (PyPI).
# For a server author: accept no ids from such a client without a check; null in `prompt` or `input` is this library.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check tokenizers==0.23.3
npm install --silent --no-fund --no-audit @huggingface/tokenizers@0.2.0 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import json, subprocess
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
PIECES = ["<unk>", "▁", "caf", "c", "a", "f"]
unigram = Tokenizer(models.Unigram([*((piece, -1.0 - n) for n, piece in enumerate(PIECES)), *((piece, -20.0) for piece in BYTES)], 0, True))
bpe = Tokenizer(models.BPE({piece: n for n, piece in enumerate([*PIECES, "ca", *BYTES])}, [("c", "a"), ("ca", "f")], unk_token="<unk>", byte_fallback=True))
words = Tokenizer(models.WordLevel({"<unk>": 0, "hello": 1}, unk_token="<unk>"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
for tokenizer in (unigram, bpe):
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
cases = [("Unigram with bytes", unigram, "café", {}), ("BPE with bytes", bpe, "café", {}), ("WordLevel", words, "hello stranger", {}),
         ("WordLevel, repeated", words, "hello stranger", {"unk_token": "<unk>"})]
given = [{"file": json.loads(tokenizer.to_str()), "text": text, "config": config} for _, tokenizer, text, config in cases]
seen = json.loads(subprocess.run(["node", "t.mjs"], input=json.dumps(given), capture_output=True, text=True, check=True).stdout)
for (name, tokenizer, text, config), got in zip(cases, seen):
    encoded = tokenizer.encode(text)
    print(f"{name}: {text!r} is {encoded.tokens} {encoded.ids} in Python, {got['tokens']} {got['ids']} in JavaScript, which decodes to {got['text']!r}")
    if name == "Unigram with bytes":
        assert encoded.tokens == ["caf", "<0xC3>", "<0xA9>"] and tokenizer.decode(encoded.ids) == text
        assert got["ids"] == [2, 0] and got["text"] == "caf<unk>"
    elif name == "BPE with bytes":
        assert got["ids"] == encoded.ids and got["text"] == text
    else:
        assert (encoded.ids, got["ids"]) == ([1, 0], [1, 0 if config else None])
    assert tokenizer.decode([]) == "" and got["empty"] == "token_ids must be a non-empty array of integers."
PY
cat > t.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";
const given = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(given.map(({ file, text, config }) => {
  const tokenizer = new Tokenizer(file, config);
  const { ids, tokens } = tokenizer.encode(text);
  const attempt = (list) => { try { return tokenizer.decode(list, { skip_special_tokens: false }); } catch (error) { return error.message; } };
  return { ids, tokens, text: attempt(ids), empty: attempt([]) };
})));
JS
v/bin/python t.py
