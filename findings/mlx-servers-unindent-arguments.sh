#!/usr/bin/env bash
# Guess: a server for MLX models hands over the arguments that the model wrote in its template's form: code with its indentation, texts as texts, numbers as numbers.
# Reality: white space at both ends of a value is stripped: the first line of code loses its indentation, a file its last line end. Of vllm-mlx' parsers `auto`,
#   `nemotron` and `glm47` do so, of mlx-openai-server's all three for these forms. vllm-mlx' `qwen3.5` keeps it, but makes "" of null. `nemotron`, `glm47` and
#   mlx-openai-server's `qwen3_coder` and `nemotron3_nano` make the number 12 of the text "12" and take the quotation marks off a quoted text; `glm4_moe` makes
#   texts of integers and of null.
# Versions: vllm-mlx 0.6.0, mlx-openai-server 1.8.1, transformers 5.24.0, templates of trl 1.16.0 under Jinja2 3.1.6 (PyPI). vllm-mlx converts texts into the schema's
#   other types after its parsers, so only what that cannot mend is counted against it; mlx-openai-server has no such step.
# For a server author: take one line end off each side, as the template adds it, and nothing more; decide about types by the schema alone. An agent that edits
#   files by exact text sees this as "text not found".
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-deps vllm-mlx==0.6.0 mlx-openai-server==1.8.1 trl==1.16.0
v/bin/pip install -q --disable-pip-version-check jinja2==3.1.6 json_repair==0.59.10 loguru==0.7.3 pydantic==2.14.4 transformers==5.24.0 openai-harmony==0.0.8 \
  2> pip.txt || { cat pip.txt >&2; exit 1; }
cat > t.py <<'PY'
import json, os
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from importlib.metadata import files, version
import jinja2.ext
from app.parsers import get_tool_parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from vllm_mlx.tool_parsers import ToolParserManager

print({name: version(name) for name in ("vllm-mlx", "mlx-openai-server", "trl", "Jinja2")})
properties = {"text": {"type": "string"}, "count": {"type": "integer"}, "note": {"type": ["string", "null"]}}
tools = [{"type": "function", "function": {"name": "write", "description": "Writes.", "parameters": {"type": "object", "properties": properties}}}]
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
environment.filters["tojson"] = lambda value, **more: json.dumps(value, ensure_ascii=False)

def written(template, arguments):
    text = open(next(file for file in files("trl") if file.name == template + ".jinja").locate()).read()
    call = {"id": "call_1", "type": "function", "function": {"name": "write", "arguments": arguments}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    whole = environment.from_string(text).render(messages=messages, tools=tools, bos_token="", eos_token="")
    return whole[whole.rindex("<tool_call>"):]

def vllm_mlx(parser, text):
    calls = ToolParserManager.get_tool_parser(parser)(None).extract_tool_calls(text, {"tools": tools}).tool_calls
    return json.loads(calls[0]["arguments"])

def mlx_openai_server(parser, text):
    arguments = get_tool_parser(parser)().extract_tool_calls(text)["tool_calls"][0]["arguments"]
    return json.loads(arguments) if isinstance(arguments, str) else arguments

CODE = "    if x:\n        pass\n"
STRIPPED, NUMBER, QUOTES = {"text": CODE.strip()}, {"text": 12}, {"text": "x"}
kept = {"text": CODE}, {"text": "12"}, {"text": '"x"'}, {"count": 3}, {"note": None}
for template, server, parser, *expected in (
    ("qwen3_6", vllm_mlx, "auto", STRIPPED, *kept[1:3], {"count": "3"}, {"note": "null"}),
    ("qwen3_6", vllm_mlx, "qwen3.5", *kept[:4], {"note": ""}),
    ("qwen3_6", mlx_openai_server, "qwen3_coder", STRIPPED, NUMBER, QUOTES, kept[3], {"note": "null"}),
    ("nemotron_3_nano", vllm_mlx, "nemotron", STRIPPED, NUMBER, QUOTES, kept[3], {"note": "None"}),
    ("nemotron_3_nano", mlx_openai_server, "nemotron3_nano", STRIPPED, NUMBER, QUOTES, kept[3], {"note": "None"}),
    ("glm4moe", vllm_mlx, "glm47", STRIPPED, NUMBER, QUOTES, *kept[3:]),
    ("glm4moe", mlx_openai_server, "glm4_moe", STRIPPED, *kept[1:3], {"count": "3"}, {"note": "null"}),
):
    seen = [server(parser, written(template, arguments)) for arguments in kept]
    print(f"{template}, {server.__name__} {parser}: {seen}")
    assert [json.dumps(one) for one in seen] == [json.dumps(one) for one in expected], expected
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
