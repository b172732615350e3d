#!/usr/bin/env bash
# Guess: tokie, which promises exact ids, gives for the two most common kinds of tokenizer.json what `tokenizers` gives, or refuses the file.
# Reality: with SentencePiece's byte fallback a character outside the vocabulary is nothing at all: no byte tokens, not even the unknown one.
#   And `strip_accents: false` of a BERT normaliser is not read: "é" becomes "e". Texts within the vocabulary and byte-level
#   tokenizers are right, so a test in English passes.
# Versions: tokie 0.1.4, tokenizers 0.23.3 (PyPI).
# For a server author: Chinese, symbols or a rare letter vanish from prompts and embeddings without an error, and token counts for limits are too
#   low. Decode what was encoded and compare with the text before taking a tokenizer in.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile tokie==0.1.4 tokenizers==0.23.3
cat > t.py <<'PY'
from importlib.metadata import version
from pathlib import Path
import tokie
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

print({name: version(name) for name in ("tokie", "tokenizers")})

def both(made, text):
    made.save("tokenizer.json")
    other = tokie.Tokenizer.from_json("tokenizer.json")
    return [[tokenizer.id_to_token(number) for number in tokenizer.encode(text, add_special_tokens=False).ids] for tokenizer in (made, other)]

# Llama 2's kind: merges over letters, and a token for each byte.
pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁helo", "he", "ll", "hell", "hello", "▁hello"]
merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("▁", "hello")]
llama = Tokenizer(models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=merges, unk_token="<unk>", byte_fallback=True,
                             fuse_unk=True))
llama.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
llama.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
llama.add_special_tokens(["<unk>", "<s>", "</s>"])
for text, lost in [("hello hello", False), ("hello 日", True), ("hello é", True), ("x", True)]:
    one, two = both(llama, text)
    print(f"byte fallback, {text!r}: tokenizers {one}, tokie {two}")
    assert (one != two) == lost
    if lost:
        assert two == [piece for piece in one if not piece.startswith("<0x")]

for setting, one_as, two_as in [(None, ["e"], ["e"]), (False, ["é"], ["e"])]:
    bert = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "e": 3, "é": 4}, unk_token="[UNK]"))
    bert.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=setting)
    bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    bert.decoder = decoders.WordPiece()
    bert.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    one, two = both(bert, "É")
    print(f"BERT, strip_accents {setting}, 'É': tokenizers {one}, tokie {two}")
    assert (one, two) == (one_as, two_as)
PY
v/bin/python t.py
