#!/usr/bin/env bash
# Guess: the chat template that mistral-common generates for a tokenizer version gives the prompt that mistral-common's own
#   encoder gives for the same messages; that is what it is generated for.
# Reality: from v2 on a tool's result that is JSON text is put into the prompt as an object by the encoder ({"content": {"t": 20}})
#   and as an escaped string by the template ("{\"t\": 20}"); and the encoder cuts spaces off the end of the assistant's
#   turns, the template keeps them. v1 keeps the spaces in both. Plain results and plain turns are equal.
# Versions: mistral-common 1.13.1 with the tokenizers it ships, Jinja2 3.1.6 under transformers 5.24.0.
# For a server author: nearly every tool answers in JSON. A server that renders the published template sends another prompt
#   than Mistral's own stack, and each of the two must be tested against its own reference only.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mistral-common==1.13.1 sentencepiece==0.2.3 transformers==5.24.0 jinja2==3.1.6
cat > t.py <<'PY'
import importlib.metadata
from pathlib import Path
import mistral_common
from mistral_common.integrations.chat_templates.template_generator import TemplateConfig, build_chat_template
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

print({name: importlib.metadata.version(name) for name in ("mistral-common", "transformers")})
data = Path(mistral_common.__file__).parent / "data"
tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}}
call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}

def after_call(text):
    return [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "abcdefghi", "name": "f", "content": text}]

space = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes "}, {"role": "user", "content": "more"}]
talk = [{**message, "content": message["content"].strip()} for message in space]
files = {"v1": "tokenizer.model.v1", "v2": "mistral_instruct_tokenizer_240216.model.v2",
         "v3": "mistral_instruct_tokenizer_240323.model.v3", "v3 tekken": "tekken_240911.json"}
for name, file in files.items():
    tokenizer = MistralTokenizer.from_file(str(data / file))
    version = tokenizer.instruct_tokenizer.tokenizer.version
    template = build_chat_template(TemplateConfig(version=version, spm=not file.endswith("json")))

    def both(messages, tools):
        request = ChatCompletionRequest.from_openai(messages, tools=tools)
        encoded = tokenizer.encode_chat_completion(request).text.replace("▁", " ")
        rendered = render_jinja_template(conversations=[messages], tools=tools, chat_template=template, bos_token="<s>", eos_token="</s>")[0][0]
        return encoded, rendered

    one, two = both(space, None)
    print(f"{name}, a turn that ends in a space: encoder {one!r} | template {two!r}")
    assert (one == two) == (name == "v1") and "yes </s>" in two
    assert len(set(both(talk, None))) == 1
    if name != "v1":
        one, two = both(after_call('{"t": 20}'), [tool])
        print(f"{name}, a JSON result: encoder {one[-70:]!r} | template {two[-70:]!r}")
        assert '"content": {"t": 20}' in one and '"content": "{\\"t\\": 20}"' in two
        assert len(set(both(after_call("sunny"), [tool]))) == 1
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
