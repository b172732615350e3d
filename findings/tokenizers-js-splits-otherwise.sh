#!/usr/bin/env bash
# Guess: @huggingface/tokenizers, "a pure JS/TS implementation of today's most used tokenizers", cuts text where tokenizer.json says.
# Reality: letters with accents are no part of a word for its `Whitespace` ("été" is three pieces); `Split` and `Punctuation` know one of
#   the five behaviours, others are cut as `isolated` (single marks glued together); `invert` drops the text between the matches;
#   `Digits` are ASCII only; `Metaspace` does not split. Nothing raises: the ids are other ones.
# Versions: @huggingface/tokenizers 0.2.0 (npm), tokenizers 0.23.3 (PyPI).
# For a server author: counts of tokens, chunks and embeddings made in a browser are no reference for such a model.
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
from tokenizers import Regex, Tokenizer, models, pre_tokenizers as pre

BEHAVIORS = ["isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"]
cases = [
    ("Whitespace, plain", pre.Whitespace(), "hello world", None),
    ("Whitespace, accents", pre.Whitespace(), "un été", ["un", "é", "t", "é"]),
    ("Split at a string, isolated", pre.Split(",", "isolated"), "a,b,,c", None),
    ("Split, removed", pre.Split(Regex("[,.]"), "removed"), "a,b", None),
    ("Split, merged with the previous", pre.Split(Regex("[,.]"), "merged_with_previous"), "a,b", ["a", ",", "b"]),
    ("Split, merged with the next", pre.Split(Regex("[,.]"), "merged_with_next"), "a,b", ["a", ",", "b"]),
    ("Split, contiguous", pre.Split(Regex("[,.]"), "contiguous"), "a,.b", ["a", ",", ".", "b"]),
    ("Split, inverted", pre.Split(Regex("[a-z]+"), "isolated", invert=True), "a, b", ["a", "b"]),
    ("Punctuation, isolated", pre.Punctuation("isolated"), "a...", ["a", "..."]),
    ("Punctuation, removed", pre.Punctuation("removed"), "a!b", ["a", "!", "b"]),
    ("Digits, one by one", pre.Digits(individual_digits=True), "a12", None),
    ("Digits of another script", pre.Digits(individual_digits=True), "a٣٤", ["a٣٤"]),
    ("Metaspace", pre.Metaspace(), "two words", ["▁two▁words"]),
]
given = []
for name, splitter, text, _ in cases:
    pieces = [piece for piece, _ in splitter.pre_tokenize_str(text)]
    # Each piece is a word of its own, and so is what the other library makes of it.
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, **{piece: n + 1 for n, piece in enumerate(dict.fromkeys(pieces))}}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = splitter
    ids = tokenizer.encode(text).ids
    assert 0 not in ids and len(ids) == len(pieces)
    given.append({"file": json.loads(tokenizer.to_str()), "text": text, "pieces": pieces, "ids": ids})
seen = json.loads(subprocess.run(["node", "t.mjs"], input=json.dumps(given), capture_output=True, text=True, check=True).stdout)
for (name, _, text, expected), wanted, got in zip(cases, given, seen):
    print(f"{name}: {text!r} is {wanted['pieces']} {wanted['ids']} in Python, {got['pieces']} {got['ids']} in JavaScript")
    assert got["pieces"] == (expected or wanted["pieces"]), name
    assert (got["ids"] == wanted["ids"]) == (expected is None), name
PY
cat > t.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";
const given = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(given.map(({ file, text }) => {
  const tokenizer = new Tokenizer(file, { unk_token: "[UNK]" });
  return { pieces: tokenizer.pre_tokenizer(text), ids: tokenizer.encode(text).ids };
})));
JS
v/bin/python t.py
