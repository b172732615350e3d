#!/usr/bin/env bash
# Guess: speculative decoding without sampling gives the answer that the model gives alone, or refuses the model.
# Reality: mlx-lm asks once, before the first token, whether the cache can be cut back. The caches of layers with a sliding window can, until they are full; then
#   cutting does nothing and returns 0, and each refused draft stays in the cache. Gemma 3, gpt-oss and Cohere 2 give another answer from the first refusal behind
#   the window on, without an error; a window that is never filled, and models without one, give the same answer.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU; toy models with random weights.
# For a server author: drafts must not be used with a ring buffer that has forgotten what it would have to bring back. Compare answers longer than the window.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2
cat > t.py <<'PY'
import importlib
from importlib.metadata import version
import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.generate import generate_step, speculative_generate_step
from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache, trim_prompt_cache

print({name: version(name) for name in ("mlx-lm", "mlx")})
mx.set_default_device(mx.cpu)
sizes = {"hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 64,
         "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "rope_theta": 10000.0}
more = {"llama": {}, "gemma3_text": {"query_pre_attn_scalar": 16, "sliding_window_pattern": 2}, "cohere2": {"sliding_window_pattern": 2, "layer_norm_eps": 1e-5},
        "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "layer_types": ["sliding_attention", "full_attention"] * 2}}

def toy(family, window=None):
    module = importlib.import_module(f"mlx_lm.models.{family}")
    model = module.Model(module.ModelArgs.from_dict({**sizes, **more[family], "model_type": family, **({"sliding_window": window} if window else {})}))
    mx.random.seed(0)
    model.update(tree_map(lambda one: mx.random.normal(one.shape) * 0.2 if one.ndim > 1 else one, model.parameters()))
    model.eval()
    return model

drafter = toy("llama")
prompt, count = mx.array([(7 * place * place + 3 * place + 1) % 61 for place in range(20)]), 40

def answers(model):
    alone = [int(token) for token, _ in generate_step(prompt, model, max_tokens=count)]
    drafted = [int(token) for token, _, _ in speculative_generate_step(prompt, model, drafter, max_tokens=count, num_draft_tokens=3)]
    return alone, drafted, next((place for place, pair in enumerate(zip(alone, drafted)) if pair[0] != pair[1]), None)

for family, window in (("llama", None), ("gemma3_text", 512), ("gemma3_text", 32), ("gemma3_text", 8), ("cohere2", 8), ("gpt_oss", 8)):
    alone, drafted, first = answers(toy(family, window))
    print(f"{family}, window {window}: first difference at token {first}: alone {alone[:14]}, with drafts {drafted[:14]}")
    # Prompt and answer up to there fill the window.
    assert len(alone) == len(drafted) == count and (first is None) == (window in (None, 512)), first
    assert first is None or first + len(prompt) >= window - 3, first

model = toy("gemma3_text", 8)
cache = make_prompt_cache(model)
before = can_trim_prompt_cache(cache)
model(prompt[None], cache=cache)
after, cut = can_trim_prompt_cache(cache), trim_prompt_cache(cache, 2)
print("can be cut before the first token:", before, "| behind the window:", after, "| tokens cut when asked for 2:", cut)
assert before and not after and cut == 0
PY
v/bin/python t.py
