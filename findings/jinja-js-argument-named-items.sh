#!/usr/bin/env bash
# Guess: a chat template that loops over `arguments.items()` takes any tool call: method calls and keys are different things.
# Reality: in @huggingface/jinja a key hides the method of the same name. A call with an argument called `items` makes the
#   GLM-4.5 template fail with "Cannot call something that is not a function" (as `keys` and `get` do in templates that call
#   those); Jinja2 renders it.
# Versions: @huggingface/jinja 0.5.11, Jinja2 3.1.6 under transformers 5.24.0, the template glm4moe.jinja of trl 1.16.0.
# For a server author: a cart, an order, a list: `items` is among the commonest argument names. A template tested with `city`
#   breaks at the second request of the first shop. An engine must look for the type's method before the key.
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
path = next(file for file in files("trl") if file.name == "glm4moe.jinja").locate()
text = open(path).read()
for name in ("city", "items", "keys", "get"):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {name: ["tea"]}}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "ok"}]
    python = render_jinja_template(conversations=[messages], chat_template=text, add_generation_prompt=True)[0][0]
    node = subprocess.run(["node", "t.mjs"], input=json.dumps({"text": text, "messages": messages}), capture_output=True, text=True)
    javascript = node.stdout or node.stderr.strip()
    print(f"{name}: Jinja2 {python[14:]!r}\n   JS {javascript!r}")
    assert f"<arg_key>{name}</arg_key>" in python
    failed = javascript.startswith("Error: Cannot call something that is not a function")
    # This template calls `.items()`: only a key of that name is in its way.
    assert failed == (name == "items"), javascript
PY
cat > t.mjs <<'JS'
import { Template } from "@huggingface/jinja";
import { readFileSync } from "node:fs";
const { text, messages } = JSON.parse(readFileSync(0, "utf8"));
try {
  process.stdout.write(new Template(text).render({ messages, add_generation_prompt: true }));
} catch (error) {
  process.stdout.write(String(error));
}
JS
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
