#!/usr/bin/env bash
# Guess: line ends of a chat template go into the prompt as they stand in the file; a reader that hands the bytes to its engine
#   renders what Transformers renders.
# Reality: Jinja2 turns every CRLF and CR of a template's source into LF, even within string literals. minijinja and
#   @huggingface/jinja keep them, and the latter takes no line end after a block away if it is a CRLF. The text of messages is
#   left alone by all three.
# Versions: Jinja2 3.1.6, minijinja 3.1.0 (its Python package), @huggingface/jinja 0.5.11; glm4moe_training.jinja of trl 1.16.0, which
#   has CRLF line ends.
# For a server author: templates saved on Windows are about. Every line of the prompt then ends in a token that the model was not
#   trained on, and the template looks the same in every editor. Normalise the source before compiling it.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 jinja2==3.1.6 minijinja==3.1.0
v/bin/pip install -q --disable-pip-version-check --no-deps trl==1.16.0
npm install --silent --no-fund --no-audit @huggingface/jinja@0.5.11 > /dev/null
npm ls --depth=0 | grep @huggingface
cat > t.py <<'PY'
import json, subprocess
from importlib.metadata import version, files
import minijinja
from transformers.utils.chat_template_utils import render_jinja_template

print({name: version(name) for name in ("jinja2", "minijinja", "trl")})
shipped = next(file for file in files("trl") if file.name == "glm4moe_training.jinja").locate()
shipped = open(shipped, newline="").read()
assert "\r\n" in shipped
small = "a\r\n{% if true %}\r\nb{{ 'c\r\nd' }}\r\n{% endif %}\r\n{{ messages[0].content }}"
messages = [{"role": "user", "content": "x\r\ny"}]
environment = minijinja.Environment(trim_blocks=True, lstrip_blocks=True)

def all_three(text):
    jinja2 = render_jinja_template(conversations=[messages], chat_template=text, add_generation_prompt=True)[0][0]
    other = environment.render_str(text, messages=messages, add_generation_prompt=True) if text is small else None
    node = subprocess.run(["node", "t.mjs"], input=json.dumps([text, messages]).encode(), capture_output=True, check=True)
    return jinja2, other, node.stdout.decode()

for name, text in (("small", small), ("shipped with trl", shipped)):
    seen = all_three(text)
    print(f"{name}:\n   Jinja2    {seen[0]!r}\n   minijinja {seen[1]!r}\n   JS        {seen[2]!r}")
    assert seen[0].replace("x\r\ny", "").count("\r") == 0 < seen[2].replace("x\r\ny", "").count("\r")
    assert all("x\r\ny" in prompt for prompt in seen if prompt)
    if text is small:
        assert seen == ("a\nbc\nd\nx\r\ny", "a\r\nbc\r\nd\r\nx\r\ny", "a\r\n\r\nbc\r\nd\r\n\r\nx\r\ny"), seen
PY
cat > t.mjs <<'JS'
import { Template } from "@huggingface/jinja";
import { readFileSync } from "node:fs";
const [text, messages] = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(new Template(text).render({ messages, add_generation_prompt: true }));
JS
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
