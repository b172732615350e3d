#!/usr/bin/env bash
# Guess: how llama.cpp cuts a text into tokens follows from `tokenizer.ggml.*` of the file. `general.name` is a title for people.
# Reality: whether white space behind a control token is swallowed is decided by whether the title contains "phi-3" or "phi3": GGUF has no
#   such flag for a token. The same vocabulary with another title keeps the spaces as tokens. Ordinary tokens marked user-defined are
#   affected too, and `<|endoftext|>` is not.
# Versions: node-llama-cpp 3.22.1 (npm, with its llama.cpp), gguf 0.19.0, numpy 2.3.5.
# For a server author: a fine-tune of Phi 3 under its own title gets one more token behind each marker than the base model was trained with, and
#   renaming a file's title changes its prompts. Ids of one vocabulary are no test for another file with the same one.
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
special = ["<unk>", "<s>", "</s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
tokens = [*letters, "ab", *special, "<x>"]

def write(path, title):
    writer = GGUFWriter(path, "llama")
    writer.add_name(title)
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
    writer.add_token_types([1] * 257 + [3] * len(special) + [4])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(tokens.index("<|endoftext|>"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

texts = ["<|user|>\nab<|end|>\n<|assistant|>\n", "a <x> b", "<|endoftext|> b"]
expected = {True: ["<|user|> ab <|end|> <|assistant|>", "a Ġ <x> b", "<|endoftext|> Ġ b"],
            False: ["<|user|> Ċ ab <|end|> Ċ <|assistant|> Ċ", "a Ġ <x> Ġ b", "<|endoftext|> Ġ b"]}
for title, swallows in (("Phi-3 mini", True), ("notes of phi3", True), ("My fine-tune", False), ("Phi 3 mini", False)):
    write("vocabulary.gguf", title)
    seen = subprocess.run(["node", "t.mjs", json.dumps(texts)], capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    named = [" ".join(tokens[number] for number in ids) for ids in json.loads(seen)]
    print(f"{title!r}: {named}")
    assert named == expected[swallows]
PY
cat > t.mjs <<'JS'
import { getLlama } from "node-llama-cpp";
const llama = await getLlama({ gpu: false, build: "never", logLevel: "disabled" });
const model = await llama.loadModel({ modelPath: "vocabulary.gguf", vocabOnly: true });
console.log(JSON.stringify(JSON.parse(process.argv[2]).map(text => Array.from(model.tokenize(text, true)))));
await model.dispose();
JS
v/bin/python t.py
