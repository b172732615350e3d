#!/usr/bin/env bash
# Guess: the normalisers of BERT and XLM-R give the same text in Python and JavaScript, whatever the language.
# Reality: not for characters beyond U+FFFF: Python puts spaces around each Chinese character, JavaScript leaves the rare ones as they are,
#   so a name like 𠮷野 is cut elsewhere. A byte order mark is white space in JavaScript and a letter of the word in Python, U+0085 the other way
#   round. SentencePiece's compiled table (`Precompiled`) keeps the joiner of an emoji, JavaScript makes a space of it: 👩‍💻 is two words.
# Versions: @huggingface/tokenizers 0.2.0 (npm), tokenizers 0.23.3, sentencepiece 0.2.3, protobuf 7.36.2 (PyPI).
# For a server author: vectors of such texts from a browser and from a server do not meet. Compare ids before vectors.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2
npm install --silent --no-fund --no-audit @huggingface/tokenizers@0.2.0 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import io, json, subprocess
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

model = io.BytesIO()
sentences = iter(["the quick brown fox jumps over the lazy dog"] * 200)
sentencepiece.SentencePieceTrainer.train(sentence_iterator=sentences, model_writer=model, vocab_size=40, hard_vocab_limit=False, minloglevel=2)
proto = sentencepiece_model_pb2.ModelProto()
proto.ParseFromString(model.getvalue())
assert proto.normalizer_spec.name == "nmt_nfkc"
compiled = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
assert sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).normalize("👩\u200d💻") == "▁👩\u200d💻"

bert = normalizers.BertNormalizer()
cases = [
    ("BERT", bert, None, "日本", " 日  本 ", " 日  本 "),
    ("BERT", bert, None, "𠮷野", " 𠮷  野 ", "𠮷 野 "),
    ("SentencePiece", compiled, None, "ﬁ \u200bx", "fi  x", "fi  x"),
    ("SentencePiece", compiled, None, "👩\u200d💻", "👩\u200d💻", "👩 💻"),
    ("WhitespaceSplit", None, pre_tokenizers.WhitespaceSplit(), "a\u3000b", ["a", "b"], ["a", "b"]),
    ("WhitespaceSplit", None, pre_tokenizers.WhitespaceSplit(), "a\ufeffb", ["a\ufeffb"], ["a", "b"]),
    ("WhitespaceSplit", None, pre_tokenizers.WhitespaceSplit(), "a\u0085b", ["a", "b"], ["a\u0085b"]),
]
given = []
for _, normalizer, splitter, text, python, _ in cases:
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    if normalizer:
        tokenizer.normalizer = normalizer
        assert normalizer.normalize_str(text) == python, normalizer.normalize_str(text)
    else:
        tokenizer.pre_tokenizer = splitter
        assert [piece for piece, _ in splitter.pre_tokenize_str(text)] == python
    given.append({"file": json.loads(tokenizer.to_str()), "text": text, "part": "normalizer" if normalizer else "pre_tokenizer"})
seen = json.loads(subprocess.run(["node", "t.mjs"], input=json.dumps(given), capture_output=True, text=True, check=True).stdout)
for (name, _, _, text, python, javascript), got in zip(cases, seen):
    print(f"{name}: {ascii(text)} is {ascii(python)} in Python, {ascii(got)} in JavaScript")
    assert got == javascript
PY
cat > t.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";
const given = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(given.map(({ file, text, part }) => new Tokenizer(file, {})[part](text))));
JS
v/bin/python t.py
