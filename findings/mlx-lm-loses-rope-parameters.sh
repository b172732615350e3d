#!/usr/bin/env bash
# Guess: a Llama folder that Transformers 5 has saved again means the same to mlx-lm: both read the rotary base and its
#   scaling from config.json.
# Reality: Transformers 5 writes both under `rope_parameters` only. mlx-lm reads that key for some families (qwen3), not for
#   `llama`: the base falls back to 10000 and the scaling "llama3" is gone. Nothing is raised and nothing is logged.
# Versions: transformers 5.24.0, mlx-lm 0.32.2 with mlx 0.32.2 on the CPU, Python 3.11.
# For a server author: who takes mlx-lm's answers as the reference for a fine-tuned Llama 3.x tests against broken angles, and
#   who copies its reader serves them: short prompts look almost right, long ones do not.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2
cat > t.py <<'PY'
import json
from importlib.metadata import version
import mlx_lm.models.llama as llama, mlx_lm.models.qwen3 as qwen3
from transformers import LlamaConfig, Qwen3Config

print({name: version(name) for name in ("transformers", "mlx-lm", "mlx")})
small = {"hidden_size": 64, "intermediate_size": 64, "vocab_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
         "num_key_value_heads": 4, "head_dim": 16, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
         "max_position_embeddings": 131072, "rope_theta": 500000.0}
scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 8192}

def rope(module, config):
    made = module.Model(module.ModelArgs.from_dict(config)).layers[0].self_attn.rope
    return type(made).__name__, getattr(made, "base", None)

older = {**small, "model_type": "llama", "rope_scaling": scaling}
newer = json.loads(LlamaConfig.from_dict(dict(older)).to_json_string())
print("saved by Transformers:", {key: value for key, value in newer.items() if "rope" in key})
seen = rope(llama, older), rope(llama, newer)
print("llama, published file:", seen[0], "| saved again:", seen[1])
assert newer["rope_parameters"]["rope_theta"] == 500000.0 and "rope_theta" not in newer and "rope_scaling" not in newer
assert seen[0][0] == "Llama3RoPE" and seen[1] == ("RoPE", 10000), seen

older = {**small, "model_type": "qwen3"}
newer = json.loads(Qwen3Config.from_dict(dict(older)).to_json_string())
print("qwen3, published file:", rope(qwen3, older), "| saved again:", rope(qwen3, newer))
assert rope(qwen3, newer) == rope(qwen3, older) == ("RoPE", 500000.0)
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
