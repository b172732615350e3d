#!/usr/bin/env bash
# Guess: a prompt gets the same greedy answer alone and beside a longer one, or the family is not batched.
# Reality: Falcon Mamba, Jamba, RWKV 7, OLMo Hybrid, Recurrent Gemma and Ling's linear models let the padding into their recurrent state: the shorter prompts of a
#   batch get other logits, by more than one unit, and other tokens; the longest is right, and so is a length that fills its steps. Mamba 2, Granite 4, LFM2,
#   Qwen3-Next and Kimi Linear are right. The caches of all of them can be merged, which is what mlx_lm.server asks before it batches.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU; toy models with random weights.
# For a server author: the answer depends on who asks at the same time, and a test with one request, or with prompts of one length, cannot see it.
# Grounds: costly
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
from mlx_lm.generate import BatchGenerator, generate_step
from mlx_lm.models.cache import make_prompt_cache

print({name: version(name) for name in ("mlx-lm", "mlx")})
mx.set_default_device(mx.cpu)
base = {"hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 64,
        "rms_norm_eps": 1e-5, "norm_eps": 1e-5, "layer_norm_epsilon": 1e-5, "max_position_embeddings": 4096, "rope_theta": 10000.0, "tie_word_embeddings": True}
mamba = {"use_bias": False, "use_conv_bias": True, "conv_kernel": 4, "state_size": 16, "time_step_rank": 4}
experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "num_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}
linear = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4}
granite = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_n_groups": 1, "mamba_conv_bias": True, "mamba_proj_bias": False}
conv = {"conv_bias": False, "conv_L_cache": 3, "block_dim": 64, "block_ff_dim": 64, "block_multiple_of": 16, "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": False}
wrong = {
    "mamba": mamba,
    "jamba": {"attn_layer_offset": 1, "attn_layer_period": 2, "expert_layer_offset": 1, "expert_layer_period": 2, "mamba_d_conv": 4, "mamba_d_state": 16, "mamba_expand": 1,
              "num_experts": 4, "num_experts_per_tok": 2},
    "rwkv7": {"a_low_rank_dim": 8, "v_low_rank_dim": 8, "gate_low_rank_dim": 8, "decay_low_rank_dim": 8},
    "olmo_hybrid": {**linear, "linear_allow_neg_eigval": True, "attention_bias": False, "layer_types": ["linear_attention", "full_attention"] * 2},
    "recurrent_gemma": {"attention_bias": False, "conv1d_width": 4, "logits_soft_cap": 30.0, "attention_window_size": 64, "num_key_value_heads": 1,
                        "block_types": ["recurrent", "attention"]},
    "bailing_moe_linear": {**experts, "group_norm_size": 2, "layer_group_size": 2, "norm_topk_prob": True, "use_bias": False, "use_qkv_bias": False,
                           "routed_scaling_factor": 1.0, "rope_scaling": None, "use_qk_norm": True, "score_function": "sigmoid"},
}
right = {
    "mamba2": {**mamba, "num_heads": 4, "n_groups": 1, "time_step_limit": [0.001, 100.0]},
    "granitemoehybrid": {**granite, "attention_bias": False, "embedding_multiplier": 1.0, "attention_multiplier": 0.25, "logits_scaling": 1.0, "residual_multiplier": 1.0,
                         "layer_types": ["mamba", "attention"] * 2, "shared_intermediate_size": 32, "num_local_experts": 4, "num_experts_per_tok": 2},
    "lfm2": {**conv, "layer_types": ["conv", "full_attention"] * 2},
    "qwen3_next": {**linear, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "decoder_sparse_step": 1,
                   "mlp_only_layers": [], "partial_rotary_factor": 0.5, "full_attention_interval": 2},
    "kimi_linear": {"linear_attn_config": {"kda_layers": [1, 3], "full_attn_layers": [2, 4], "num_heads": 4, "head_dim": 16, "short_conv_kernel_size": 4},
                    "model_max_length": 4096, "num_experts": 4, "num_experts_per_token": 2, "num_shared_experts": 1, "moe_intermediate_size": 32, "kv_lora_rank": 16,
                    "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 16},
}
prompts = [[(7 * place * place + 3 * place + start) % 61 for place in range(length)] for start, length in ((1, 5), (2, 17), (3, 30))]

def toy(family, more):
    module = importlib.import_module(f"mlx_lm.models.{family}")
    mx.random.seed(0)
    model = module.Model(module.ModelArgs.from_dict({**base, **more, "model_type": family}))
    model.update(tree_map(lambda one: mx.random.normal(one.shape) * 0.2 if one.ndim > 1 else one, model.parameters()))
    model.eval()
    return model

def batch(model, **options):
    generator = BatchGenerator(model, max_tokens=8, **options)
    seen = {uid: [] for uid in generator.insert(prompts)}
    while responses := generator.next_generated():
        for one in responses:
            seen[one.uid].append((int(one.token), one.logprobs))
    return list(seen.values())

for family, more in {**wrong, **right}.items():
    model = toy(family, more)
    alone = [[(int(token), logprobs) for token, logprobs in generate_step(mx.array(prompt), model, max_tokens=8)] for prompt in prompts]
    off = {}
    for name, options in (("one step", {}), ("steps of 7", {"prefill_step_size": 7})):
        together = batch(model, **options)
        off[name] = [round(float(mx.abs(a[0][1] - b[0][1]).max()), 3) for a, b in zip(alone, together)]
        if name == "one step":
            tokens = [[token for token, _ in a] == [token for token, _ in b] for a, b in zip(alone, together)]
    merges = all(hasattr(one, "merge") for one in make_prompt_cache(model))
    print(f"{family}: first logits off by {off}, same 8 tokens {tokens}, caches merge: {merges}")
    assert merges and tokens[2] and max(one[2] for one in off.values()) < 0.001
    if family in wrong:
        assert all(min(one[:2]) > 0.2 and max(one[:2]) > 1 for one in off.values()) and not all(tokens[:2])
    else:
        assert max(map(max, off.values())) < 0.001 and all(tokens)
PY
v/bin/python t.py
