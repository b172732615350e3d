#!/usr/bin/env bash
# Guess: mlx-lm turns gpt-oss' positions as its config.json says; `truncate: false` stands there for a reason.
# Reality: mlx-lm's YaRN reads six keys of `rope_scaling`. `truncate` is not among them: the ramp's edges are always rounded to whole
#   waves, so with gpt-oss' published numbers 9 of 32 waves have another length, one of them by 43 %. Nor is `attention_factor`,
#   so a config that sets it to 1 still gets its vectors scaled. Both configs load without a word.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU, Python 3.11; the numbers for comparison are the formula of the YaRN paper as Transformers
#   documents it, in the script.
# For a server author: mlx-lm's answers are no reference for gpt-oss at the level of logits, and who copies its function serves other
#   angles than the model was trained with. Read both keys; a test that toggles `truncate` must see a change.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2
cat > t.py <<'PY'
import math
from importlib.metadata import version
import mlx.core as mx
import mlx_lm.models.gpt_oss as gpt_oss

print({name: version(name) for name in ("mlx-lm", "mlx")})
small = {"model_type": "gpt_oss", "num_hidden_layers": 2, "num_local_experts": 2, "num_experts_per_tok": 1, "vocab_size": 64, "hidden_size": 64,
         "intermediate_size": 64, "head_dim": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "rope_theta": 150000,
         "sliding_window": 128}
scaling = {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "original_max_position_embeddings": 4096}

def rope(**more):
    made = gpt_oss.Model(gpt_oss.ModelArgs.from_dict({**small, "rope_scaling": {**scaling, **more}}))
    return made.layers[0].self_attn.rope

def lengths(truncate):
    edge = lambda turns: 64 * math.log(4096 / (turns * 2 * math.pi)) / (2 * math.log(150000))
    low, high = edge(32.0), edge(1.0)
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 63)
    print(f"   ramp with truncate {truncate}: {low:.2f} to {high:.2f}")
    part = [min(max((wave - low) / (high - low), 0), 1) for wave in range(32)]
    return [150000 ** (2 * wave / 64) / (share / 32 + 1 - share) for wave, share in enumerate(part)]

seen = {truncate: rope(truncate=truncate)._freqs.tolist() for truncate in (False, True)}
assert seen[False] == seen[True]
off = {truncate: [abs(one / two - 1) for one, two in zip(seen[False], lengths(truncate))] for truncate in (False, True)}
wrong = sum(by > 0.001 for by in off[False])
print(f"truncate false: {wrong} of 32 waves differ, by up to {max(off[False]):.1%}; from truncate true by {max(off[True]):.0e}")
assert wrong == 9 and 0.4 < max(off[False]) < 0.5 and max(off[True]) < 1e-3

scale = [rope(**more).mscale for more in ({}, {"attention_factor": 1.0})]
print("scale of the vectors, without attention_factor and with 1.0:", scale)
assert scale[0] == scale[1] == 0.1 * math.log(32) + 1
PY
v/bin/python t.py
