#!/usr/bin/env bash
# Guess: after `trim_prompt_cache` the tokens are gone, and `save_prompt_cache` writes the keys and values of the tokens that are left.
# Reality: the file has the whole buffer, which grows by 256 places: a chat of 10 tokens takes as much as one of 256, 25 times its own size.
#   What was trimmed is still in it, byte for byte. And `ConcatenateKVCache`, the simplest of mlx-lm's caches, says that it can be trimmed and that
#   it was, but the next step attends to all of the old tokens again.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU, numpy 2.3.5.
# For a server author: files of many short chats fill the disk, and a prefix that is cut back to its public part and given away carries the
#   rest. A model of one's own with the simple cache still reads the turns that were taken back. Copy the first `offset` places, and count
#   the keys after a trim.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2 numpy==2.3.5
cat > t.py <<'PY'
import os
from importlib.metadata import version
import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import ConcatenateKVCache, can_trim_prompt_cache, load_prompt_cache, make_prompt_cache, save_prompt_cache, trim_prompt_cache
from mlx_lm.utils import _get_classes

print({name: version(name) for name in ("mlx-lm", "mlx")})
mx.set_default_device(mx.cpu)
config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 1, "head_dim": 64,
          "num_key_value_heads": 1, "vocab_size": 256, "rms_norm_eps": 1e-5}
model, arguments = _get_classes(config)
mx.random.seed(1)
made = model(arguments.from_dict(config))

def saved(tokens, trimmed):
    cache = make_prompt_cache(made)
    made(mx.arange(tokens)[None], cache=cache)
    keys = np.array(cache[0].keys)[0, 0]
    assert trim_prompt_cache(cache, trimmed) == trimmed
    save_prompt_cache("chat.safetensors", cache)
    assert load_prompt_cache("chat.safetensors")[0].offset == tokens - trimmed
    return keys, np.array(mx.load("chat.safetensors")["0.0"])[0, 0], os.path.getsize("chat.safetensors")

for tokens, trimmed in ((10, 0), (250, 0), (40, 30)):
    keys, kept, size = saved(tokens, trimmed)
    needed = (tokens - trimmed) * 64 * 4 * 2
    print(f"{tokens} tokens, {trimmed} trimmed: {needed} bytes of keys and values are left, the file has {size} and {len(kept)} places")
    assert len(kept) == 256 and size > 131_072
    assert np.array_equal(kept[:tokens], keys[:tokens]) and np.abs(keys[:tokens]).max(axis=1).min() > 0.1

cache = [ConcatenateKVCache()]
some = mx.random.normal((1, 1, 20, 64))
cache[0].update_and_fetch(some, some)
assert can_trim_prompt_cache(cache) and trim_prompt_cache(cache, 15) == 15 and cache[0].offset == 5
keys, _ = cache[0].update_and_fetch(some[:, :, :1], some[:, :, :1])
print(f"ConcatenateKVCache: 20 tokens, 15 trimmed, one more: {keys.shape[2]} keys, offset {cache[0].offset}")
assert keys.shape[2] == cache[0].offset == 21
PY
v/bin/python t.py
