#!/usr/bin/env bash
# Guess: the chat templates that ONNX Runtime GenAI can render give Transformers' prompts; what its engine does not know raises.
# Reality: templates that drop the reasoning of earlier turns keep it: the whole `<think>` block of an assistant's message is in the prompt of
#   Qwen 3, of DeepSeek R1's distillations and of LFM 2.5; Nemotron 3's have an empty one and the old one. The Nano's prompt begins with a
#   line end of its own. Templates without reasoning, like Qwen 2.5's and Phi 3.5's, give equal prompts.
# Versions: onnxruntime-extensions 0.15.2 (the tokenizer of ONNX Runtime GenAI), transformers 5.24.0, trl 1.16.0 (its templates).
# For a server author: each turn of a reasoning model carries all thoughts before it, so contexts fill many times faster, and the model reads a
#   form of conversation that it was not trained on. Render a second turn with reasoning in a test of any template engine.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile transformers==5.24.0 jinja2==3.1.6
v/bin/pip install -q --disable-pip-version-check --no-compile --no-deps trl==1.16.0 onnxruntime-extensions==0.15.2
cat > t.py <<'PY'
import json, os
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from importlib.metadata import distribution, version
from pathlib import Path
from onnxruntime_extensions.pp_api import Tokenizer as OrtTokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers.utils.chat_template_utils import render_jinja_template

print({name: version(name) for name in ("onnxruntime-extensions", "transformers", "trl")})
templates = Path(distribution("trl").locate_file("trl/chat_templates"))
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
made = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate([*letters, "ab"])}, merges=[("a", "b")]))
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.decoder = decoders.ByteLevel()
made.add_special_tokens(["<s>", "</s>"])
made.save("tokenizer.json")
settings = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "model_max_length": 512}
Path("tokenizer_config.json").write_text(json.dumps(settings))
ort = OrtTokenizer(".")
answer = "<think>\nOLD THOUGHT\n</think>\n\nok"
chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": answer}, {"role": "user", "content": "more"}]
for name, keeps in [("deepseek_r1_distill", True), ("lfm2_2_5", True), ("nemotron_3_5_lightning", True), ("nemotron_3_ultra", True),
                    ("qwen3", True),
                    ("nemotron_3_nano", None), ("qwen2_5", False), ("phi3_5", False)]:
    text = (templates / f"{name}.jinja").read_text()
    one = render_jinja_template([chat], chat_template=text, add_generation_prompt=True, bos_token="<s>", eos_token="</s>")[0][0]
    two = ort.apply_chat_template(json.dumps(chat), text)
    kept = ["OLD THOUGHT" in prompt for prompt in (one, two)]
    print(f"{name}: {'equal' if one == two else 'not equal'}; the old thought is in {kept.count(True)} of two prompts, {len(one)} and {len(two)} letters")
    print("  ", repr(one[:90]), "\n  ", repr(two[:90]))
    if keeps is None:
        assert two.startswith("\n") and not one.startswith("\n")
    else:
        assert (one == two) != keeps
    if keeps:
        assert kept == [False, True]
PY
v/bin/python t.py
