"""Golden files of families whose toys are made where they are needed: goldens_families.py OUT

The weights follow from a seed and the tensors' names (`numbers`), so no file holds them; worker/tests/common/made.rs makes
the same.
Everything else is computed by mlx-lm in float32.

OUT/<name>.json: seed, config.json, shapes of the tensors, prompt, and for each form logits, greedy tokens and their leads; of
packed forms also `quantization` of config.json and the SHA-256 of the tensors
"""
import copy
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy
from mlx.utils import tree_flatten
from mlx_lm.models import (cohere2, deepseek_v2, deepseek_v3, ernie4_5, exaone4, gemma4, gemma4_text, glm4, glm4_moe, glm4_moe_lite, granite, hunyuan_v1_dense, lfm2_moe,
                           minimax, ministral3, mistral3, olmo2, olmo3, qwen3_5_moe, qwen3_next, seed_oss)
from mlx_lm.utils import load_model

from goldens import LLAMA, STEPS, follow, packed, write

mx.set_default_device(mx.cpu)

BASE = LLAMA | {"tie_word_embeddings": False}
MINISTRAL3 = {k: v for k, v in BASE.items() if k != "rope_theta"} | {
    "model_type": "ministral3", "head_dim": 32, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24,
    "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 16,
                        "beta_fast": 8.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                        "llama_4_scaling_beta": 0.5}}
# Two layers with linear attention, whose keys serve two heads of values each.
LINEAR = {"num_hidden_layers": 4, "head_dim": 32, "rms_norm_eps": 1e-6, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
          "linear_key_head_dim": 16, "linear_value_head_dim": 24, "linear_conv_kernel_dim": 4, "full_attention_interval": 2,
          "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
          "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}
# Two kinds of layers with keys of their own, and two layers that read those of others.
GEMMA4 = {"hidden_size": 64, "num_hidden_layers": 5, "intermediate_size": 64, "num_attention_heads": 4, "head_dim": 8,
          "global_head_dim": 16, "rms_norm_eps": 1e-6, "vocab_size": 160, "vocab_size_per_layer_input": 160,
          "num_key_value_heads": 2, "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 32, "sliding_window": 8,
          "max_position_embeddings": 256, "final_logit_softcapping": 30.0, "use_double_wide_mlp": True,
          "layer_types": ["sliding_attention", "full_attention"] * 2 + ["sliding_attention"], "rope_parameters": {
              "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
              "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}}}
# The first layer is dense.
LATENT = {k: v for k, v in BASE.items() if k not in ("head_dim", "tie_word_embeddings")} | {
    "num_hidden_layers": 3, "num_key_value_heads": 4, "intermediate_size": 96, "moe_intermediate_size": 32,
    "n_shared_experts": 1, "n_routed_experts": 6, "num_experts_per_tok": 2, "routed_scaling_factor": 1.5,
    "first_k_dense_replace": 1, "kv_lora_rank": 64, "q_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32,
    "v_head_dim": 64, "attention_bias": False}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 8, "beta_slow": 1, "mscale": 1.0,
        "mscale_all_dim": 1.0}
TOYS = {
    "glm4": (glm4, BASE | {"head_dim": 16, "attention_bias": True, "partial_rotary_factor": 0.5}),
    # Inputs that groups of 64 divide: some layers have a packing of their own.
    "granite": (granite, BASE | {"intermediate_size": 128, "attention_bias": True, "mlp_bias": True,
                                 "embedding_multiplier": 3.0, "attention_multiplier": 0.125, "residual_multiplier": 0.5,
                                 "logits_scaling": 0.5}),
    "olmo2": (olmo2, BASE),
    # The fourth layer attends to the whole text.
    "olmo3": (olmo3, BASE | {"num_hidden_layers": 4, "sliding_window": 8, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 8.0}}),
    "cohere2": (cohere2, {k: v for k, v in LLAMA.items() if k not in ("rms_norm_eps", "tie_word_embeddings")} | {
        "num_hidden_layers": 4, "head_dim": 16, "layer_norm_eps": 1e-5, "sliding_window": 8, "sliding_window_pattern": 2,
        "logit_scale": 0.5}),
    "seed_oss": (seed_oss, BASE | {"head_dim": 32, "attention_bias": True, "attention_out_bias": False}),
    "ernie4_5": (ernie4_5, LLAMA | {"head_dim": None, "use_bias": True}),
    # Queries grow from the 16th token on.
    "ministral3": (ministral3, MINISTRAL3),
    "mistral3-ministral3": (mistral3, {"model_type": "mistral3", "text_config": MINISTRAL3}),
    "hunyuan_v1_dense": (hunyuan_v1_dense, LLAMA | {"head_dim": 32, "use_qk_norm": True, "rope_scaling": {
        "type": "dynamic", "alpha": 50.0, "factor": 1.0, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0,
        "mscale_all_dim": 0.0}}),
    "exaone4": (exaone4, BASE | {"num_hidden_layers": 4, "head_dim": 16, "sliding_window": 8,
                                 "sliding_window_pattern": "LLG", "rope_scaling": {
                                     "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                     "original_max_position_embeddings": 64}}),
    "exaone4-global": (exaone4, LLAMA | {"head_dim": 16, "sliding_window": None, "sliding_window_pattern": None,
                                         "rope_scaling": None}),
    # The first layer is dense.
    "glm4_moe": (glm4_moe, BASE | {"num_hidden_layers": 3, "head_dim": 16, "attention_bias": True, "use_qk_norm": True,
                                   "partial_rotary_factor": 0.5, "rope_scaling": None, "moe_intermediate_size": 32,
                                   "n_routed_experts": 5, "num_experts_per_tok": 2, "n_shared_experts": 2, "n_group": 1,
                                   "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.5,
                                   "first_k_dense_replace": 1}),
    "minimax_m2": (minimax, BASE | {"head_dim": 32, "intermediate_size": 32, "shared_intermediate_size": 0,
                                    "num_local_experts": 4, "num_experts_per_tok": 2, "rotary_dim": 16,
                                    "use_qk_norm": True}),
    "qwen3_5_moe": (qwen3_5_moe, {"model_type": "qwen3_5_moe", "text_config": LLAMA | LINEAR | {
        "model_type": "qwen3_5_moe_text",
        "rope_parameters": {"type": "default", "rope_theta": 100000.0, "partial_rotary_factor": 0.25}}}),
    # The third layer is dense.
    "qwen3_next": (qwen3_next, BASE | LINEAR | {"partial_rotary_factor": 0.25, "mlp_only_layers": [2]}),
    # The first layer is dense.
    "lfm2_moe": (lfm2_moe, {
        "hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2, "norm_eps": 1e-5,
        "vocab_size": 160, "max_position_embeddings": 256, "conv_bias": False, "conv_L_cache": 3, "intermediate_size": 96,
        "moe_intermediate_size": 32, "num_experts": 5, "num_experts_per_tok": 2, "norm_topk_prob": True,
        "use_expert_bias": True, "num_dense_layers": 1, "routed_scaling_factor": 1.5, "rope_theta": 1000000.0,
        "full_attn_idxs": [1, 3]}),
    "gemma4": (gemma4, {"vocab_size": 160, "text_config": GEMMA4}),
    # The form of the largest models: experts, values that are the keys, and no embeddings of layers.
    "gemma4_text-experts": (gemma4_text, GEMMA4 | {
        "num_hidden_layers": 4, "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0, "attention_k_eq_v": True,
        "num_global_key_value_heads": 1, "enable_moe_block": True, "num_experts": 3, "top_k_experts": 2,
        "moe_intermediate_size": 32}),
    "deepseek_v2": (deepseek_v2, LATENT | {"q_lora_rank": None, "topk_method": "greedy", "rope_scaling": YARN | {
        "mscale": 0.707, "mscale_all_dim": 0.707}}),
    # A token may use two of three groups of experts.
    "deepseek_v3": (deepseek_v3, LATENT | {"n_group": 3, "topk_group": 2, "rope_scaling": YARN}),
    "glm4_moe_lite": (glm4_moe_lite, LATENT),
}
# Numbers of seeds with a clear lead of every token, or nearly so, in float32, and a clear choice of experts.
SEEDS = {"glm4": 886, "granite": 44, "olmo2": 161, "olmo3": 89, "cohere2": 134, "seed_oss": 127, "ernie4_5": 287,
         "ministral3": 303, "mistral3-ministral3": 18, "hunyuan_v1_dense": 44, "exaone4": 189, "exaone4-global": 11,
         "glm4_moe": 967, "minimax_m2": 726, "qwen3_5_moe": 132, "qwen3_next": 375, "lfm2_moe": 174, "gemma4": 954,
         "gemma4_text-experts": 966, "deepseek_v2": 44, "deepseek_v3": 5, "glm4_moe_lite": 89}
FORMS = {"fp32": (mx.float32, None), "bf16": (mx.bfloat16, None), "4bit": (mx.float32, packed(4)), "8bit": (mx.float32, packed(8))}


def numbers(seed, name, shape):
    """float32 numbers that follow from seed and name by SplitMix64: norms near one, others between -7/16 and 7/16."""
    state = 0xcbf29ce484222325
    for byte in f"{seed}/{name}".encode():
        state = (state ^ byte) * 0x100000001b3 % (1 << 64)
    count = int(numpy.prod(shape))
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(state) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9e3779b97f4a7c15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xbf58476d1ce4e5b9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94d049bb133111eb)
        z = z ^ (z >> numpy.uint64(31))
    centred = (z >> numpy.uint64(40)).astype(numpy.float32) / numpy.float32(1 << 23) - numpy.float32(1)
    if "norm" in name:
        values = numpy.float32(1) + centred * numpy.float32(0.1875)
    else:
        values = centred * numpy.float32(0.4375)
    return mx.array(values.reshape(shape))


def digest(weights):
    """SHA-256 of names and bytes, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(name.encode())
        sha.update(numpy.array(weights[name]).tobytes())
    return sha.hexdigest()


def form(model, seed, config, dtype, pack, prompt):
    """The results of the model in one form, and the shapes of its tensors before packing."""
    shapes = {path: list(x.shape) for path, x in tree_flatten(model.parameters())}
    model.load_weights([(path, numbers(seed, path, shape)) for path, shape in shapes.items()])
    model.set_dtype(dtype)
    config = copy.deepcopy(config)
    if pack:
        model, config = pack(model, config)
    weights = dict(tree_flatten(model.parameters()))
    with tempfile.TemporaryDirectory() as folder:
        mx.save_safetensors(os.path.join(folder, "model.safetensors"), weights, {"format": "mlx"})
        write(os.path.join(folder, "config.json"), config)
        model, _ = load_model(Path(folder))
    model.set_dtype(mx.float32)
    logits, tokens, leads = follow(model, prompt)
    results = {"logits": [round(x, 5) for x in logits.tolist()], "greedy": tokens, "leads": leads}
    if pack:
        results |= {"quantization": config["quantization"], "sha256": digest(weights)}
    return shapes, results, mx.std(logits).item()


def rows(value, depth):
    """JSON with a line for each field of the outer objects."""
    if depth == 0 or not isinstance(value, dict):
        return json.dumps(value)
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {rows(item, depth - 1)}" for key, item in value.items()) + "\n}"


def main():
    out, = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for at, (name, (module, config)) in enumerate(TOYS.items()):
        config = config | {"model_type": name.split("-")[0]}
        prompt = [(7 * i * i + 3 * i + at) % 160 for i in range(40)]
        seed = f"{name} {SEEDS[name]}"
        golden = {"seed": seed, "config": config, "tensors": None, "prompt": prompt, "forms": {}}
        for key, (dtype, pack) in FORMS.items():
            model = module.Model(module.ModelArgs.from_dict(copy.deepcopy(config)))
            golden["tensors"], golden["forms"][key], spread = form(model, seed, config, dtype, pack, prompt)
            clear = sum(x > 0.05 for x in golden["forms"][key]["leads"])
            print(name, key, "spread", round(spread, 2), "clear leads", clear, "of", STEPS, flush=True)
        with open(os.path.join(out, name + ".json"), "w", encoding="utf-8") as f:
            f.write(rows(golden, 2) + "\n")


main()
