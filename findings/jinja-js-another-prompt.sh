#!/usr/bin/env bash
# Guess: where @huggingface/jinja renders a template without an error, the prompt is Jinja2's: it is made for chat templates.
# Reality: with the template of Nemotron 3 Nano one tool and one call become another prompt in three ways, and nothing is raised:
#   a list prints as JSON (["string", "null"]) and not as Python does (['string', 'null']), so does a number that was 1.0 (1),
#   and properties whose names are whole numbers come first, in the order of their values.
# Versions: @huggingface/jinja 0.5.11, Jinja2 3.1.6 under transformers 5.24.0, the template nemotron_3_nano.jinja of trl 1.16.0.
# For a server author: a gateway in JavaScript that renders prompts, or counts their tokens, disagrees with the engine behind
#   it. Prefix caches miss, and the model reads types that it was not trained on. Only a comparison of whole prompts shows it.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 jinja2==3.1.6
v/bin/pip install -q --disable-pip-version-check --no-deps trl==1.16.0
npm install --silent --no-fund --no-audit @huggingface/jinja@0.5.11 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import json, subprocess
from importlib.metadata import version, files
from transformers.utils.chat_template_utils import render_jinja_template

print({name: version(name) for name in ("transformers", "jinja2", "trl")})
text = open(next(file for file in files("trl") if file.name == "nemotron_3_nano.jinja").locate()).read()
properties = {"note": {"type": ["string", "null"]}, "10": {"type": "number"}, "2": {"type": "number"}}
tools = [{"type": "function", "function": {"name": "f", "description": "d",
          "parameters": {"type": "object", "properties": properties, "required": ["note"]}}}]
call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"price": 1.0}}}
messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"}]
python = render_jinja_template(conversations=[messages], tools=tools, chat_template=text, add_generation_prompt=True)[0][0]
given = json.dumps({"text": text, "messages": messages, "tools": tools})
javascript = subprocess.run(["node", "t.mjs"], input=given, capture_output=True, text=True, check=True).stdout
for name, prompt in (("Jinja2", python), ("JS", javascript)):
    lines = prompt.split("\n")
    picked = [line for line in lines if line.startswith(("<name>", "<type>"))]
    print(name, picked, "price:", lines[lines.index("<parameter=price>") + 1])
assert python.index("<name>note</name>") < python.index("<name>10</name>") < python.index("<name>2</name>")
assert javascript.index("<name>2</name>") < javascript.index("<name>10</name>") < javascript.index("<name>note</name>")
assert "<type>['string', 'null']</type>" in python and '<type>["string", "null"]</type>' in javascript
assert "<parameter=price>\n1.0\n" in python and "<parameter=price>\n1\n" in javascript
PY
cat > t.mjs <<'JS'
import { Template } from "@huggingface/jinja";
import { readFileSync } from "node:fs";
const { text, messages, tools } = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(new Template(text).render({ messages, tools, add_generation_prompt: true }));
JS
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
