#!/usr/bin/env bash
# Guess: `"content": null` beside `tool_calls`, as OpenAI's API returns it and clients send it back, is nothing in the prompt of every template
#   that knows tools.
# Reality: of templates of today's models GLM 4.5 and Command A write None, LFM2 writes null, and gpt-oss, Qwen 3 VL and LFM 2.5 raise
#   TypeError. Qwen 3, Gemma 4 and Nemotron 3 write nothing. With an empty text, or without the key, all of them write nothing.
# Versions: transformers 5.24.0, trl 1.16.0 (its templates), Jinja2 3.1.6.
# For a server author: who passes a request's messages on as they are has a model read "None" as its own words after each call, or refuses the
#   second turn of every agent. Make an empty text of null before rendering, or leave the key out.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile transformers==5.24.0 jinja2==3.1.6
v/bin/pip install -q --disable-pip-version-check --no-compile --no-deps trl==1.16.0
cat > t.py <<'PY'
import os
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from importlib.metadata import distribution, version
from pathlib import Path
from transformers.utils.chat_template_utils import render_jinja_template

print({name: version(name) for name in ("transformers", "trl", "jinja2")})
templates = Path(distribution("trl").locate_file("trl/chat_templates"))
parameters = {"type": "object", "properties": {"a": {"type": "integer", "description": "x"}}, "required": ["a"]}
tools = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}]
call = {"role": "assistant", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]}

def prompt(name, message):
    chat = [{"role": "user", "content": "hi"}, message, {"role": "tool", "tool_call_id": "abcdefghi", "name": "f", "content": "42"}]
    text = (templates / f"{name}.jinja").read_text()
    try:
        return render_jinja_template([chat], tools=tools, chat_template=text, add_generation_prompt=True, bos_token="<s>", eos_token="</s>")[0][0]
    except TypeError:
        return "TypeError"

for name, written in [("glm4moe", "None"), ("cohere2", "None"), ("lfm2", "null"), ("gptoss", "TypeError"), ("qwen3_vl", "TypeError"),
                      ("lfm2_2_5", "TypeError"), ("qwen3", ""), ("qwen3_8", ""), ("gemma4_v5", ""), ("nemotron_3_nano", "")]:
    null, empty = [prompt(name, {**call, "content": content}) for content in (None, "")]
    assert "TypeError" not in empty
    if name != "lfm2":
        # LFM2's first template needs the key.
        assert prompt(name, call) == empty
    if written == "TypeError":
        print(f"{name}: raises TypeError")
        assert null == written
        continue
    at = next((place for place, (one, two) in enumerate(zip(null, empty)) if one != two), len(empty))
    print(f"{name}: {null[at - 25:at + 15]!r}" if written else f"{name}: as with an empty text")
    assert null[at:].startswith(written) and (null[:at] + null[at + len(written):]).split() == empty.split()
PY
v/bin/python t.py
