#!/usr/bin/env bash
# Guess: llama.cpp ends an answer at the tokens that the file's metadata name, `tokenizer.ggml.eos_token_id` and its kin; an ordinary token
#   stays ordinary.
# Reality: every token whose text is on a list in llama.cpp ends an answer as well, though its type is normal, and is made a control token:
#   `</s>`, `<|im_end|>`, `<eos>`, `<|end|>`, `<|endoftext|>`. `</b>` and `<|stop|>` are not on it. The only trace is a warning at load.
# Versions: node-llama-cpp 3.22.1 (npm, with its llama.cpp), gguf 0.19.0, numpy 2.3.5.
# For a server author: a model with `</s>` (HTML's strikethrough) or another model's marker among its ordinary tokens stops amid an answer here
#   and nowhere else. A vocabulary that was extended for a new chat format keeps the old marker as an end. Check for such texts.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile gguf==0.19.0 numpy==2.3.5
npm install --silent --no-fund --no-audit --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1 > /dev/null
npm ls --depth=0 | grep llama
cat > t.py <<'PY'
import json, subprocess
from importlib.metadata import version
from gguf import GGUFWriter

print("gguf", version("gguf"))
# The letters of byte-level tokens, in the order of their code points.
shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
letters = [chr(byte) for byte in shown] + [chr(256 + number) for number in range(256 - len(shown))]
ordinary = ["</s>", "<|im_end|>", "<eos>", "<|end|>", "<|endoftext|>", "</b>", "<|stop|>"]
tokens = [*letters, "ab", *ordinary, "FINISH"]
writer = GGUFWriter("vocabulary.gguf", "llama")
writer.add_context_length(512)
writer.add_embedding_length(32)
writer.add_block_count(1)
writer.add_feed_forward_length(32)
writer.add_head_count(2)
writer.add_head_count_kv(2)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("gpt-2")
writer.add_token_list(tokens)
writer.add_token_types([1] * (257 + len(ordinary)) + [3])
writer.add_token_merges(["a b"])
writer.add_eos_token_id(tokens.index("FINISH"))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
asked = json.dumps([[number, text] for number, text in enumerate(tokens)])
seen = json.loads(subprocess.run(["node", "t.mjs", asked], capture_output=True, text=True, check=True).stdout.splitlines()[-1])
print("named as the end: FINISH; end an answer:", seen["ends"], "\nread as one token in a text with special tokens:", seen["whole"])
assert seen["ends"] == ["</s>", "<|im_end|>", "<eos>", "<|end|>", "<|endoftext|>", "FINISH"]
assert seen["whole"] == seen["ends"]
PY
cat > t.mjs <<'JS'
import { getLlama } from "node-llama-cpp";
const llama = await getLlama({ gpu: false, build: "never", logLevel: "disabled" });
const model = await llama.loadModel({ modelPath: "vocabulary.gguf", vocabOnly: true });
const tokens = JSON.parse(process.argv[2]);
const ends = tokens.filter(([number]) => model.isEogToken(number)).map(([, text]) => text);
const whole = tokens.slice(257).filter(([, text]) => model.tokenize(text, true).length === 1).map(([, text]) => text);
console.log(JSON.stringify({ ends, whole }));
await model.dispose();
JS
v/bin/python t.py
