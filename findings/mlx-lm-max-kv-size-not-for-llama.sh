#!/usr/bin/env bash
# Guess: `max_kv_size` (`--max-kv-size`) bounds the KV cache of every text model whose layers are all of one kind, above all Llama's.
# Reality: it counts only for models that do not make their own cache. Since Llama's class learned sliding layers it makes one, so for
#   `llama` and `mistral` the limit is dropped without a word: 80 tokens with a limit of 16 keep 80. Qwen 2 and 3, Phi 3 and Mixtral obey.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU.
# For a server author: who sizes memory by this option is wrong for the most usual family, and finds out when a long chat swaps. Measure the
#   cache after a run, or bound the prompt. Equal settings also give other texts: the families that obey forget the prompt's middle.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2
cat > t.py <<'PY'
from importlib.metadata import version
import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes

print({name: version(name) for name in ("mlx-lm", "mlx")})
mx.set_default_device(mx.cpu)
small = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 64,
         "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 1e4, "max_position_embeddings": 512, "tie_word_embeddings": True,
         "num_local_experts": 2, "num_experts_per_tok": 1}
for family, obeys in [("llama", False), ("mistral", False), ("qwen2", True), ("qwen3", True), ("phi3", True), ("mixtral", True)]:
    config = {**small, "model_type": family}
    model, arguments = _get_classes(config)
    made = model(arguments.from_dict(config))
    cache = make_prompt_cache(made, max_kv_size=16)
    made_tokens = sum(1 for _ in generate_step(mx.arange(20), made, prompt_cache=cache, max_tokens=60))
    kept = cache[0].size()
    print(f"{family}: 20 tokens and {made_tokens} more, limit 16: {type(cache[0]).__name__} keeps {kept}, {cache[0].nbytes} bytes a layer")
    assert made_tokens == 60 and kept == (16 if obeys else 80)
PY
v/bin/python t.py
