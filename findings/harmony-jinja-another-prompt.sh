#!/usr/bin/env bash
# Guess: gpt-oss' chat template and OpenAI's own renderer openai-harmony write the same prompt, at least for a plain tool loop.
# Reality: without tools they do. With one function and one call the template puts the tool's text result in quotes (as JSON),
#   writes "json" without <|constrain|>, and describes the tool differently: arrays of enums lose the enum, a nested object runs
#   over lines with its indentation in them, and the comma after a default is part of the comment.
# Versions: openai-harmony 0.0.8, gptoss.jinja of trl 1.16.0 under transformers 5.24.0, o200k_base from js-tiktoken 1.0.21.
# For a server author: the same conversation is two prompts, depending on which reference was copied. Caches do not hit
#   across them, and a comparison of two servers compares two prompts. Harmony is what OpenAI names as the format.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai-harmony==0.0.8 transformers==5.24.0 jinja2==3.1.6
v/bin/pip install -q --disable-pip-version-check --no-deps trl==1.16.0
npm install --silent --no-fund --no-audit js-tiktoken@1.0.21 > /dev/null
node -e 'const r = require("js-tiktoken/ranks/o200k_base").bpe_ranks.split("\n").filter(Boolean).map((part) => {
  const [, first, ...tokens] = part.split(" "); return tokens.map((token, at) => `${token} ${+first + at}\n`).join(""); });
  require("fs").writeFileSync("o200k_base.tiktoken", r.join(""))'
export TIKTOKEN_ENCODINGS_BASE="$work"
cat > t.py <<'PY'
import difflib
from importlib.metadata import version, files
from openai_harmony import *
from openai_harmony import Author
from transformers.utils.chat_template_utils import render_jinja_template

print({name: version(name) for name in ("openai-harmony", "transformers", "trl")})
text = open(next(file for file in files("trl") if file.name == "gptoss.jinja").locate()).read()
text = text.replace('strftime_now("%Y-%m-%d")', '"2026-11-28"')
encoding = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
said = Message.from_role_and_content
system = said(Role.SYSTEM, SystemContent.new().with_conversation_start_date("2026-11-28"))
properties = {"tags": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}}, "days": {"type": "integer", "default": 3},
              "place": {"type": "object", "properties": {"city": {"type": "string"}}}}
function = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": properties}}

def harmony(*messages):
    return encoding.decode(encoding.render_conversation_for_completion(Conversation.from_messages([system, *messages]), Role.ASSISTANT))

def jinja(tools, *messages):
    return render_jinja_template(conversations=[list(messages)], tools=tools, chat_template=text, add_generation_prompt=True)[0][0]

assert harmony(said(Role.USER, "hi")) == jinja(None, {"role": "user", "content": "hi"})
tools = DeveloperContent.new().with_instructions("Be nice.").with_function_tools([ToolDescription.new(**function)])
call = said(Role.ASSISTANT, '{"days": 2}').with_channel("commentary").with_recipient("functions.f").with_content_type("<|constrain|>json")
result = Message.from_author_and_content(Author.new(Role.TOOL, "functions.f"), "sunny").with_recipient("assistant").with_channel("commentary")
one = harmony(said(Role.DEVELOPER, tools), said(Role.USER, "hi"), call, result)
made = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"days": 2}}}
two = jinja([{"type": "function", "function": function}], {"role": "developer", "content": "Be nice."}, {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "", "tool_calls": [made]}, {"role": "tool", "tool_call_id": "c1", "content": "sunny"})
print("\n".join(difflib.unified_diff(one.split("\n"), two.split("\n"), "harmony", "jinja", lineterm="", n=0)))
for mine, theirs in [("<|message|>sunny<|end|>", '<|message|>"sunny"<|end|>'), ("commentary <|constrain|>json<|message|>", "commentary json<|message|>"),
                     ('tags?: "x" | "y"[],', "tags?: string[],"), ("// default: 3\n", "// default: 3,\n"), ("    city?: string,", "city?: \n")]:
    assert mine in one and mine not in two and theirs in two and theirs not in one, (mine, theirs)
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
