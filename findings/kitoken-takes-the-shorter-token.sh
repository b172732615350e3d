#!/usr/bin/env bash
# Guess: where two added tokens begin at one place of a text, the longer one is taken, in any library that reads tokenizer.json.
# Reality: kitoken takes a shorter one, if its id is smaller: with tokens of one, two and three line ends in this order, as Gemma has them,
#   three line ends are two tokens instead of one, and `<tool_calls>` falls apart behind `<tool_call`, if both are tokens. With the ids in
#   the other order it is right.
# Versions: kitoken 0.11.1, tokenizers 0.23.3 (PyPI).
# For a server author: paragraphs of a prompt have other ids than in training, though decoding gives the same text back, so no round trip shows
#   it. Compare ids, for texts with runs of line ends and spaces and with markers that share a beginning.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile kitoken==0.11.1 tokenizers==0.23.3
cat > t.py <<'PY'
from importlib.metadata import version
import kitoken
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

print({name: version(name) for name in ("kitoken", "tokenizers")})
letters = sorted(pre_tokenizers.ByteLevel.alphabet())

def both(added, text):
    made = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate([*letters, "ab"])}, merges=[("a", "b")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_tokens([AddedToken(token, normalized=False) for token in added])
    made.save("tokenizer.json")
    other = kitoken.Kitoken.from_file("tokenizer.json")
    one, two = made.encode(text).ids, list(other.encode(text, True))
    assert made.decode(two) == made.decode(one) == other.decode(two, True).decode() == text
    return [[made.id_to_token(number) for number in ids] for ids in (one, two)]

lines = ["\n", "\n\n", "\n\n\n"]
tags = ["<tool_call", "<tool_calls>"]
for added, text, same in [(lines, "a\n\n\nb", False), (lines[::-1], "a\n\n\nb", True), (tags, "<tool_calls>", False), (tags[::-1], "<tool_calls>", True)]:
    one, two = both(added, text)
    print(f"added {added}, {text!r}: tokenizers {one}, kitoken {two}")
    assert (one == two) == same
    if not same:
        assert len(two) > len(one)
PY
v/bin/python t.py
