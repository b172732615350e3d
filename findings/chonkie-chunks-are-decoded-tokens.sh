#!/usr/bin/env bash
# Guess: a chunker cuts the text at places that it counts in the embedding model's tokens; a chunk is a piece of the text, at its `start_index`.
# Reality: Chonkie's TokenChunker decodes the tokens again. With a tokenizer of BERT's kind a chunk is in small letters, "$3.50" is "$ 3. 50", an address falls apart;
#   the indices count the decoded text, so the last one lies beyond the end. A chunk may be longer than `chunk_size` when it is encoded again.
#   RecursiveChunker and SentenceChunker keep the text, but the first does the same to a line that is too long. Without a tokenizer the size is in characters.
# Versions: chonkie 1.7.0, semchunk 4.1.1, tokenizers 0.23.3 (PyPI); a WordPiece tokenizer of single letters and a few words.
# For a server author: what /v1/embeddings gets is not the document's text, and a search for a number or a name in the answer finds nothing. semchunk cuts the text.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check chonkie==1.7.0 semchunk==4.1.1 tokenizers==0.23.3
cat > t.py <<'PY'
import string
from importlib.metadata import version
import semchunk
from chonkie import RecursiveChunker, SentenceChunker, TokenChunker
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

print({name: version(name) for name in ("chonkie", "semchunk", "tokenizers")})
letters = string.ascii_lowercase + string.digits + string.punctuation
pieces = ["[UNK]", *letters, *("##" + letter for letter in letters), "the", "price", "is", "item", "call", "today", "see"]
bert = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
bert.decoder = decoders.WordPiece()

def count(text):
    return len(bert.encode(text).ids)

SIZE = 40
text = "The Price is $3.50 (Item-7).\n\n    Call: +1 (555) 010-0000,  today!\nSee https://Example.com/A_b?x=1.\n" * 6
for chunker, whole in ((TokenChunker, False), (RecursiveChunker, True), (SentenceChunker, True)):
    chunks = chunker(tokenizer=bert, chunk_size=SIZE).chunk(text)
    pieces = [text[chunk.start_index:chunk.end_index] for chunk in chunks]
    longest = max(count(chunk.text) for chunk in chunks)
    print(f"{chunker.__name__}: {chunks[0].text!r}, {chunks[1].text[:40]!r}; by the indices {pieces[1][:40]!r}; last index {chunks[-1].end_index} of {len(text)}; "
          f"longest {longest} of {SIZE}")
    assert ("".join(chunk.text for chunk in chunks) == text) == whole and (chunks[-1].end_index == len(text)) == whole and (longest <= SIZE) == whole
    assert all((piece == chunk.text) == whole for piece, chunk in zip(pieces, chunks))
    if not whole:
        assert chunks[0].text.startswith("the price is $ 3. 50 ( item - 7 ). call") and ": / / example. com" in chunks[1].text and chunks[-1].end_index > len(text)
line = "A-1 " * 60
chunks = RecursiveChunker(tokenizer=bert, chunk_size=SIZE).chunk(line)
print("RecursiveChunker, one long line:", repr(chunks[0].text[:30]), "of", repr(line[:30]))
assert chunks[0].text.startswith("a - 1 a - 1")
cut, places = semchunk.chunkerify(count, SIZE)(text, offsets=True)
print("semchunk:", repr(cut[0]), "longest", max(map(count, cut)))
assert all(text[start:end] == chunk for chunk, (start, end) in zip(cut, places)) and max(map(count, cut)) <= SIZE
characters = RecursiveChunker().chunk("word " * 2000)
print("RecursiveChunker() makes chunks of", len(characters[0].text), "characters")
assert len(characters[0].text) <= 2048 < 2 * len(characters[0].text)
PY
v/bin/python t.py
