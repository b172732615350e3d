#!/usr/bin/env bash
# Guess: openai-harmony reads `<|channel|>final <|constrain|>json<|message|>` (an answer under a response format) as the final
#   channel with the content type "<|constrain|>json" and without a recipient; a message with a recipient is a function call.
# Reality: without `to=` the parser takes the content type for the recipient: recipient "<|constrain|>json", no content type.
#   Beside `to=functions.f` the same words are the content type. A bare word does the same: "final json" is for "json".
# Versions: openai-harmony 0.0.8; the vocabulary is o200k_base from js-tiktoken 1.0.21, whose checksum openai-harmony checks.
# For a server author: "recipient is set, so it is a call" loses exactly the answers that gpt-oss writes as structured output,
#   or turns them into calls of a function named "<|constrain|>json". Take `to=` alone, or check the channel first.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai-harmony==0.0.8
npm install --silent --no-fund --no-audit js-tiktoken@1.0.21 > /dev/null
mkdir ranks
cat > ranks.cjs <<'JS'
const { bpe_ranks } = require("js-tiktoken/ranks/o200k_base");
const lines = [];
for (const part of bpe_ranks.split("\n").filter(Boolean)) {
  const [, first, ...tokens] = part.split(" ");
  tokens.forEach((token, at) => lines.push(`${token} ${Number(first) + at}\n`));
}
require("fs").writeFileSync("ranks/o200k_base.tiktoken", lines.join(""));
JS
node ranks.cjs
export TIKTOKEN_ENCODINGS_BASE="$work/ranks"
cat > t.py <<'PY'
from importlib.metadata import version
from openai_harmony import HarmonyEncodingName, Role, load_harmony_encoding

print("openai-harmony", version("openai-harmony"))
encoding = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)

def read(text):
    tokens = encoding.encode(text, allowed_special="all")
    message = encoding.parse_messages_from_completion_tokens(tokens, Role.ASSISTANT)[-1]
    seen = message.channel, message.recipient, message.content_type
    print(f"{text!r}\n   channel, recipient, content type: {seen}")
    return seen

assert read("<|channel|>final<|message|>{}<|return|>") == ("final", None, None)
assert read("<|channel|>final <|constrain|>json<|message|>{}<|return|>") == ("final", "<|constrain|>json", None)
assert read("<|channel|>final json<|message|>{}<|return|>") == ("final", "json", None)
call = read("<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>")
assert call == ("commentary", "functions.f", "<|constrain|>json")
PY
v/bin/python t.py
