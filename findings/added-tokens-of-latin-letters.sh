#!/usr/bin/env bash
# Guess: an added token decodes to its own text. Byte-level decoding concerns the model's vocabulary only.
# Reality: the ByteLevel decoder of `tokenizers` goes through the text of added tokens as well. Letters such as é, ö, £ or § are
#   also signs of its alphabet, so a token "<réponse>" decodes to a lone byte, which is U+FFFD: "<r�ponse>"; "Ġq" becomes
#   " q". A token with one letter from outside the alphabet (日本) is left alone. It encodes rightly, and @huggingface/tokenizers,
#   the JavaScript library for the same file, decodes it rightly.
# Versions: tokenizers 0.23.3, @huggingface/tokenizers 0.2.0.
# For a server author: fine-tuned models for French, German or Spanish add such markers. A parser that looks for the marker in
#   decoded text never finds it, and a stream waits for the rest of a "half" character. Compare ids, or take the token's own text.
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
from importlib.metadata import version
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

print("tokenizers", version("tokenizers"))
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
added = ["<réponse>", "<antwort>", "<|größe|>", "日本é", "Ġq"]
tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
tokenizer.save("tokenizer.json")
ids = [tokenizer.encode(text).ids for text in added]
assert all(len(each) == 1 for each in ids)
node = subprocess.run(["node", "t.mjs"], input=json.dumps(ids), capture_output=True, text=True, check=True)
javascript = json.loads(node.stdout)
python = [tokenizer.decode(each) for each in ids]
for text, one, two in zip(added, python, javascript):
    print(f"   {text!r}: tokenizers {one!r}, JavaScript {two!r}")
assert javascript == added
assert python == ["<r\ufffdponse>", "<antwort>", "<|gr\ufffd\ufffde|>", "日本é", " q"], python
assert tokenizer.decode(tokenizer.encode("réponse").ids) == "réponse"
PY
cat > t.mjs <<'JS'
import { Tokenizer } from "@huggingface/tokenizers";
import { readFileSync } from "node:fs";
const tokenizer = new Tokenizer(JSON.parse(readFileSync("tokenizer.json", "utf8")), {});
const all = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(all.map((ids) => tokenizer.decode(ids, { skip_special_tokens: false }))));
JS
v/bin/python t.py
