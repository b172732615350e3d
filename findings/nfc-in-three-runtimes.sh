#!/usr/bin/env bash
# Guess: the normaliser NFC of tokenizer.json, which all of Qwen's models have, changes nothing in texts that are composed already, in any
#   library that loads the file; a runtime without it just takes decomposed texts as they are.
# Reality: ExecuTorch's tokenizer decomposes and then drops the marks: "tiếng Việt" becomes "tieng Viet", "café" "cafe", and Hangul loses
#   everything but the first consonant of each syllable. Decomposed text keeps its marks. ONNX Runtime's and llama.cpp's do not normalise.
# Versions: tokenizers 0.23.3, pytorch-tokenizers 1.5.0, onnxruntime-extensions 0.15.2 (PyPI); node-llama-cpp 3.22.1 (npm), gguf 0.19.0.
# For a server author: a model on a phone reads another text than was typed, and answers it; nothing is logged per text. A model that is
#   compared between runtimes needs test texts with accents in both forms. With ids equal on ASCII alone nothing is proven.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile tokenizers==0.23.3 gguf==0.19.0 numpy==2.3.5
v/bin/pip install -q --disable-pip-version-check --no-compile pytorch-tokenizers==1.5.0 tiktoken==0.14.0 sentencepiece==0.2.3
v/bin/pip install -q --disable-pip-version-check --no-compile --no-deps onnxruntime-extensions==0.15.2
npm install --silent --no-fund --no-audit --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1 > /dev/null
cat > t.py <<'PY'
import json, subprocess, unicodedata
from importlib.metadata import version
from pathlib import Path
from gguf import GGUFWriter
from onnxruntime_extensions.pp_api import Tokenizer as OrtTokenizer
from pytorch_tokenizers import CppHFTokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

print({name: version(name) for name in ("tokenizers", "pytorch-tokenizers", "onnxruntime-extensions", "gguf")})
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
whole = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate([*letters, "ab"])}, merges=[("a", "b")]))
whole.normalizer = normalizers.NFC()
whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
whole.decoder = decoders.ByteLevel()
whole.add_special_tokens(["<|endoftext|>"])
whole.save("tokenizer.json")
settings = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>", "model_max_length": 512}
Path("tokenizer_config.json").write_text(json.dumps(settings))
writer = GGUFWriter("vocabulary.gguf", "qwen2")
writer.add_context_length(512)
writer.add_embedding_length(32)
writer.add_block_count(1)
writer.add_feed_forward_length(32)
writer.add_head_count(2)
writer.add_head_count_kv(2)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("qwen2")
writer.add_token_list([*letters, "ab", "<|endoftext|>"])
writer.add_token_types([1] * 257 + [3])
writer.add_token_merges(["a b"])
writer.add_eos_token_id(257)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

executorch, ort = CppHFTokenizer(), OrtTokenizer(".")
executorch.load("tokenizer.json")
typed = ["plain text", "café", "tiếng Việt", "한국어"]
texts = [unicodedata.normalize(form, text) for text in typed for form in ("NFC", "NFD")]
llama = json.loads(subprocess.run(["node", "t.mjs", json.dumps(texts)], capture_output=True, text=True, check=True).stdout.splitlines()[-1])
read = lambda ids: whole.decode([int(number) for number in ids])
for text, ids in zip(texts, llama):
    seen = {"tokenizers": read(whole.encode(text).ids), "ExecuTorch": read(executorch.encode(text, 0, 0)), "ONNX Runtime": read(ort.tokenize(text)),
            "llama.cpp": read(ids)}
    form = "composed" if text == unicodedata.normalize("NFC", text) else "decomposed"
    print(f"{unicodedata.normalize('NFC', text)!r}, {form}: {seen}")
    assert seen["tokenizers"] == unicodedata.normalize("NFC", text) and seen["ONNX Runtime"] == seen["llama.cpp"] == text
    if form == "composed":
        # Of a Hangul syllable the first of its two or three letters is left.
        lost = "".join(unicodedata.normalize("NFD", letter)[0] for letter in text)
        assert seen["ExecuTorch"] == lost, (seen, lost)
    else:
        # It composes one pair at a time, so some stay apart, but nothing is lost.
        assert unicodedata.normalize("NFD", seen["ExecuTorch"]) == text
PY
cat > t.mjs <<'JS'
import { getLlama } from "node-llama-cpp";
const llama = await getLlama({ gpu: false, build: "never", logLevel: "disabled" });
const model = await llama.loadModel({ modelPath: "vocabulary.gguf", vocabOnly: true });
console.log(JSON.stringify(JSON.parse(process.argv[2]).map(text => Array.from(model.tokenize(text)))));
await model.dispose();
JS
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
