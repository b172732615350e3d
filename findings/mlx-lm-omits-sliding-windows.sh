#!/usr/bin/env bash
# Guess: `sliding_window` in config.json is how far a layer of Mistral 7B, Mixtral, Phi 3 or StarCoder 2 sees, in mlx-lm as elsewhere: the key is
#   the same in all of them, and mlx-lm has windows for Gemma, gpt-oss and others.
# Reality: four families do not read it. A layer with a window of 8 still answers by tokens 24 places back. The same weights as `mistral` with
#   `layer_types` beside the key do slide, but published folders of those models have no such list. Nothing is said at load.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU, transformers 5.24.0 (its config classes, no torch).
# For a server author: Phi-3-mini-4k has a window of 2047 and Mistral-7B-v0.1 one of 4096: longer prompts get other logits than from
#   Transformers, and the KV cache of each layer grows without need. mlx-lm is no reference there; test with a window shorter than the prompt.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2 transformers==5.24.0
cat > t.py <<'PY'
import os
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from importlib.metadata import version
import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import _get_classes
from transformers import AutoConfig

print({name: version(name) for name in ("mlx-lm", "mlx", "transformers")})
mx.set_default_device(mx.cpu)
small = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 64,
         "rms_norm_eps": 1e-5, "norm_epsilon": 1e-5, "rope_theta": 1e4, "max_position_embeddings": 512, "num_local_experts": 2,
         "num_experts_per_tok": 1, "sliding_window": 8}
for family in ("mistral", "mixtral", "phi3", "starcoder2"):
    config = {**small, "model_type": family}
    read = AutoConfig.for_model(**config)
    assert read.sliding_window == 8
    model, arguments = _get_classes(config)
    mx.random.seed(1)
    made = model(arguments.from_dict(config))
    text = mx.arange(1, 33)[None]
    # One layer: the last token can see the last 8 tokens, and only 8 others are changed.
    other = mx.concatenate([mx.full((1, 8), 50), text[:, 8:]], axis=1)
    cache = make_prompt_cache(made)
    change = mx.abs(made(text, cache=cache)[0, -1] - made(other)[0, -1]).max().item()
    print(f"{family}: Transformers reads a window of {read.sliding_window}; the last logits change by {change:.3f}, {type(cache[0]).__name__}")
    assert change > 0.1 and type(cache[0]).__name__ == "KVCache"
config = {**small, "model_type": "mistral", "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}
model, arguments = _get_classes(config)
cache = make_prompt_cache(model(arguments.from_dict(config)))
print("mistral with layer_types:", [type(layer).__name__ for layer in cache], "of", cache[0].max_size)
assert type(cache[0]).__name__ == "RotatingKVCache" and cache[0].max_size == 8
PY
v/bin/python t.py
