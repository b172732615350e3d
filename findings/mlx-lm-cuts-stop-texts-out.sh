#!/usr/bin/env bash
# Guess: mlx_lm.server ends an answer where the text of `stop` appears, as OpenAI's API does, and leaves an answer that ends by itself whole.
# Reality: it ends at the tokens into which it encodes the stop text. If the model writes the same text with other tokens, as `.\n` in one token for the stop "\n", the
#   answer runs on, and the stop text is cut out: "One.\nTwo." becomes "One.Two.". And an answer that ends by itself with the beginning of a stop text loses
#   it: with "**Note" for a stop, "**bold**" arrives as "**bold". A last "<" is lost without any `stop` if the vocabulary has `<think>`. Streams are the same.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU, transformers 5.24.0, tokenizers 0.23.3; a toy Llama that writes a fixed answer.
# For a server author: search the decoded text, end there, and give back what was held when the answer ends. A stop text of one line end is common, and a
#   token that holds it behind a full stop is in most vocabularies.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2 transformers==5.24.0 tokenizers==0.23.3
cat > make.py <<'PY'
"""Writes a Llama whose next token depends on the last one only: it answers a prompt that ends with a token of `answers`."""
import json, sys
from pathlib import Path
import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models import llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

mx.set_default_device(mx.cpu)
answers = json.loads(sys.argv[1])
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
merges = [(".", "Ċ"), ("*", "*"), ("E", "N"), ("EN", "D")]
vocabulary = {piece: number for number, piece in enumerate([*letters, *map("".join, merges)])}
made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), decoders.ByteLevel()
size, following = 512, {}
made.add_special_tokens(["<s>", "</s>", "<think>", "</think>"])
end = made.token_to_id("</s>")
for question, pieces in answers.items():
    path = [made.token_to_id(question), *(made.token_to_id(piece) for piece in pieces), end]
    assert None not in path, (question, pieces)
    following.update(zip(path, path[1:]))
model = llama.Model(llama.ModelArgs.from_dict({"model_type": "llama", "hidden_size": size, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 4,
                                              "num_key_value_heads": 4, "vocab_size": size, "rms_norm_eps": 1e-5, "tie_word_embeddings": False}))
weights = {name: mx.zeros(value.shape) if value.ndim > 1 else mx.ones(value.shape) for name, value in tree_flatten(model.parameters())}
weights["model.embed_tokens.weight"] = mx.eye(size)
head = [[0.0] * size for _ in range(size)]
for last, next_one in following.items():
    head[next_one][last] = 1.0
weights["lm_head.weight"] = mx.array(head)
folder = Path("toy")
folder.mkdir(exist_ok=True)
mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
(folder / "config.json").write_text(json.dumps({**{name: value for name, value in vars(model.args).items() if value is not None}, "eos_token_id": end}))
made.save(str(folder / "tokenizer.json"))
settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
(folder / "tokenizer_config.json").write_text(json.dumps(settings))
(folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
PY
cat > t.py <<'PY'
import json, socket, subprocess, sys, time, urllib.error, urllib.request
from importlib.metadata import version

print({name: version(name) for name in ("mlx-lm", "mlx", "transformers", "tokenizers")})
answers = {"1": ["O", "n", "e", ".Ċ", "T", "w", "o", "."], "2": ["x", "EN", "D", "y"], "3": ["z", "END", "q"], "4": ["b", "u", "l", "d", "**"], "5": ["s", "<"]}
subprocess.run([sys.executable, "make.py", json.dumps(answers)], check=True)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
log = open("server.txt", "w")
server = subprocess.Popen([sys.executable, "-m", "mlx_lm.server", "--model", "toy", "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log)

def fetch(path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body and json.dumps(body).encode(), {"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=60).read().decode()

def ask(question, stop, stream):
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "stream": stream, **({"stop": stop} if stop else {})}
    text = fetch("/v1/chat/completions", body)
    if not stream:
        return json.loads(text)["choices"][0]["message"]["content"] or ""
    parts = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return "".join(part["choices"][0]["delta"].get("content") or "" for part in parts)

try:
    for _ in range(240):
        try:
            fetch("/health")
            break
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    for question, stop, expected, right in (
        ("1", None, "One.\nTwo.", "One.\nTwo."), ("1", "\n", "One.Two.", "One."), ("2", "END", "xy", "x"), ("3", "END", "z", "z"),
        ("4", None, "buld**", "buld**"), ("4", "**Note", "buld", "buld**"), ("5", None, "s", "s<"),
    ):
        seen = [ask(question, stop, stream) for stream in (False, True)]
        print(f"the model writes {answers[question]}, stop {stop!r}: {seen[0]!r}, streamed {seen[1]!r}; by the text of the stop {right!r}")
        assert seen == [expected, expected], seen
finally:
    server.terminate()
    server.wait()
PY
v/bin/python t.py
