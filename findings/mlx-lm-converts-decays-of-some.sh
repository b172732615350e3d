#!/usr/bin/env bash
# Guess: a conversion keeps in float32 what the files have in float32 for a reason: the logarithms of the decays (`A_log`) of every recurrent family.
# Reality: mlx_lm.convert keeps them for Qwen 3.5 and Kimi Linear. Those of Qwen3-Next, Granite 4 and OLMo Hybrid become bfloat16
#   with the rest, and the rates of decay are off by 0.3 to 0.6 % here.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU; toy models with random weights.
# For an author of a converter: the list of kept names is one per family (`cast_predicate`). Bit for bit means to copy its gaps too.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2
cat > t.py <<'PY'
import importlib, json, os
from importlib.metadata import version
import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm import convert
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

print({name: version(name) for name in ("mlx-lm", "mlx")})
mx.set_default_device(mx.cpu)
base = {"hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 64,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16"}
linear = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4}
families = {
    "qwen3_5": (linear, True),
    "kimi_linear": ({"linear_attn_config": {"kda_layers": [1, 3], "full_attn_layers": [2, 4], "num_heads": 4, "head_dim": 16, "short_conv_kernel_size": 4},
                     "model_max_length": 4096, "num_experts": 4, "num_experts_per_token": 2, "num_shared_experts": 1, "moe_intermediate_size": 32, "kv_lora_rank": 16,
                     "first_k_dense_replace": 1, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 16}, True),
    "qwen3_next": ({**linear, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "decoder_sparse_step": 1,
                    "mlp_only_layers": [], "partial_rotary_factor": 0.5, "full_attention_interval": 2}, False),
    "granitemoehybrid": ({"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_expand": 1, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_n_groups": 1, "mamba_conv_bias": True, "mamba_proj_bias": False,
                          "attention_bias": False, "embedding_multiplier": 1.0, "attention_multiplier": 0.25, "logits_scaling": 1.0, "residual_multiplier": 1.0,
                          "layer_types": ["mamba", "attention"] * 2, "shared_intermediate_size": 32, "num_local_experts": 4, "num_experts_per_tok": 2}, False),
    "olmo_hybrid": ({**linear, "linear_allow_neg_eigval": True, "attention_bias": False, "layer_types": ["linear_attention", "full_attention"] * 2}, False),
}
for family, (more, kept) in families.items():
    config = {**base, **more, "model_type": family}
    module = importlib.import_module(f"mlx_lm.models.{family}")
    mx.random.seed(0)
    model = module.Model(module.ModelArgs.from_dict(dict(config)))
    # Decays between 0.06 and 16 a token, as models begin with.
    weights = {name: mx.random.uniform(-2.7, 2.7, one.shape) if name.endswith("A_log") else one.astype(mx.bfloat16) for name, one in tree_flatten(model.parameters())}
    os.makedirs(family)
    mx.save_safetensors(f"{family}/model.safetensors", weights, {"format": "mlx"})
    json.dump(config, open(f"{family}/config.json", "w"))
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({str(n): n for n in range(64)}, unk_token="0"))).save_pretrained(family)
    convert(family, mlx_path=f"{family}-converted")
    after = mx.load(f"{family}-converted/model.safetensors")
    names = [name for name in weights if name.endswith("A_log")]
    off = max(mx.abs(mx.exp(after[name].astype(mx.float32)) / mx.exp(weights[name]) - 1).max().item() for name in names)
    kinds = {str(after[name].dtype) for name in names}
    print(f"{family}: A_log {kinds}, rates of decay off by {100 * off:.2f} %", flush=True)
    assert names and kinds == {"mlx.core.float32" if kept else "mlx.core.bfloat16"}
    assert off == 0 if kept else 0.002 < off < 0.01
PY
v/bin/python t.py
