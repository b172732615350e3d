#!/usr/bin/env bash
# Guess: XGrammar's structural tag of a model allows each valid call that the model's own template or renderer writes.
# Reality: Gemma 4's template sorts arguments by name, and the tag wants the schema's order: `{n:3,path:…}` is refused if the schema begins with `path`. The
#   templates of Qwen 3.5 and Nemotron 3 write `True`, the tag wants `true` (Qwen 3.6 writes `true`). For gpt-oss the tag takes what the template and OpenAI's
#   renderer write, but not `commentary to=functions.read <|constrain|>json`, the form of OpenAI's guide: only without its space. `any_order=True` mends the order.
# Versions: xgrammar 0.2.9, apache-tvm-ffi 0.1.15.post2, templates of trl 1.16.0 under Jinja2 3.1.6, openai-harmony 0.0.8 (PyPI) with o200k_base from js-tiktoken
#   1.0.21 (npm); torch and transformers, of which XGrammar's test of grammars needs types only, are empty modules.
# For a server author: the history shows the model one form and the mask forces another, so each call is written against the model's own probabilities. Compare a
#   grammar for calls with what the template renders of the same calls.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check apache-tvm-ffi==0.1.15.post2 numpy==2.3.5 pydantic==2.14.4 jinja2==3.1.6 openai-harmony==0.0.8
v/bin/pip install -q --disable-pip-version-check --no-deps xgrammar==0.2.9 trl==1.16.0
npm install --silent --no-fund --no-audit js-tiktoken@1.0.21 > /dev/null
node -e 'const r = require("js-tiktoken/ranks/o200k_base").bpe_ranks.split("\n").filter(Boolean).map((part) => {
  const [, first, ...tokens] = part.split(" "); return tokens.map((token, at) => `${token} ${+first + at}\n`).join(""); });
  require("fs").writeFileSync("o200k_base.tiktoken", r.join(""))'
export TIKTOKEN_ENCODINGS_BASE="$work"
cat > t.py <<'PY'
import json, sys, types
from importlib.metadata import files, version
import jinja2.ext, tvm_ffi
from jinja2.sandbox import ImmutableSandboxedEnvironment
from openai_harmony import Conversation, HarmonyEncodingName, Message, Role, load_harmony_encoding

class Empty(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return (lambda *_, **__: None) if name == "tensor" else object

sys.modules.update({name: Empty(name) for name in ("torch", "transformers")})
import xgrammar
from xgrammar.testing import _is_grammar_accept_string

print({name: version(name) for name in ("xgrammar", "apache-tvm-ffi", "trl", "Jinja2", "openai-harmony")})
properties = {"path": {"type": "string"}, "n": {"type": "integer"}, "deep": {"type": "boolean"}}
tools = [{"type": "function", "function": {"name": "read", "description": "Reads.", "parameters": {"type": "object", "properties": properties}}}]
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
environment.filters["tojson"] = lambda value, **more: json.dumps(value, ensure_ascii=False)
environment.globals["strftime_now"] = lambda form: "2026-12-01"

def written(template, start, end, arguments):
    """The part of the rendered history that is the call."""
    text = open(next(file for file in files("trl") if file.name == template + ".jinja").locate()).read()
    call = {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": arguments}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    whole = environment.from_string(text).render(messages=messages, tools=tools, bos_token="", eos_token="")
    return whole[whole.rindex(start):whole.rindex(end) + len(end)]

def accepts(model, text, **more):
    tag = xgrammar.get_model_structural_tag(model, tools=tools, tool_choice="required", reasoning="disabled", **more)
    return _is_grammar_accept_string(xgrammar.Grammar.from_structural_tag(tag), text)

qwen, gemma, harmony = ("<tool_call>", "</tool_call>"), ("<|tool_call>", "<tool_call|>"), (" to=functions", "<|call|>")
for model, template, ends, arguments, expected in (
    ("gemma_4", "gemma4_v5", gemma, {"path": "a", "n": 3}, (False, True)), ("gemma_4", "gemma4_v5", gemma, {"path": "a"}, (True, True)),
    ("qwen_3_5", "qwen3_5_think", qwen, {"path": "a", "deep": True}, (False, False)), ("qwen_3_5", "qwen3_5_think", qwen, {"path": "a"}, (True, True)),
    ("qwen_3_coder", "nemotron_3_nano", qwen, {"path": "a", "deep": True}, (False, False)), ("qwen_3_5", "qwen3_6", qwen, {"path": "a", "deep": True}, (True, True)),
    ("qwen_3", "qwen3", qwen, {"path": "a", "deep": True}, (True, True)), ("harmony", "gptoss", harmony, {"path": "a"}, (True, True)),
):
    call = written(template, *ends, arguments)
    seen = accepts(model, call), accepts(model, call, any_order=True)
    print(f"{template}: {call!r} is {'accepted' if seen[0] else 'refused'} by {model}, with any_order {'accepted' if seen[1] else 'refused'}")
    assert seen == expected, seen

encoding = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
said = Message.from_role_and_content(Role.ASSISTANT, '{"path": "a"}').with_channel("commentary").with_recipient("functions.read")
said = said.with_content_type("<|constrain|>json")
text = encoding.decode(encoding.render_conversation(Conversation.from_messages([said]))).removeprefix("<|start|>assistant")
guide = '<|channel|>commentary to=functions.read <|constrain|>json<|message|>{"path": "a"}<|call|>'
for call, expected in ((text, True), (guide, False), (guide.replace(" <|constrain|>", "<|constrain|>"), True)):
    read = encoding.parse_messages_from_completion_tokens(encoding.encode(call, allowed_special="all"), Role.ASSISTANT)[-1]
    seen = accepts("harmony", call)
    print(f"openai-harmony, read as a call of {read.recipient}: {call!r} is {'accepted' if seen else 'refused'}")
    assert seen == expected and read.recipient == "functions.read", (seen, read)
PY
v/bin/python t.py
