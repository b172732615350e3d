"""Golden files for the worker's parity tests: goldens.py OUT REAL_MODEL_FOLDER...

Everything is computed by mlx-lm in float32 and rendered by Transformers.

OUT/<name>/            toy models with random weights: config.json, weights, golden.json
OUT/adapters/<name>/   adapters for toy models and, for each, a golden file
OUT/real/<model>.json  real models: token ids, logits and greedy continuations
OUT/templates.json     chat templates with what Transformers makes of them
"""
import copy
import json
import os
import shutil
import sys

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.convert import mixed_quant_predicate_builder
from mlx_lm.models import (gemma, gemma2, gemma3, gemma3_text, gpt_oss, lfm2, llama, mistral3, mixtral, phi3, qwen2, qwen3,
                           qwen3_5, qwen3_moe, smollm3)
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model, quantize_model
from pathlib import Path
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

mx.set_default_device(mx.cpu)
STEPS = 64

LLAMA = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96,
         "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 160,
         "max_position_embeddings": 256, "rope_theta": 10000.0, "tie_word_embeddings": True}
TOYS = {
    "llama": (llama, LLAMA | {
        "tie_word_embeddings": False, "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64}}),
    "llama-tied": (llama, LLAMA | {"num_key_value_heads": 4, "head_dim": 32, "attention_bias": True, "mlp_bias": True,
                                   "rope_scaling": {"type": "linear", "factor": 2.0}}),
    "qwen2": (qwen2, LLAMA | {"model_type": "qwen2", "rms_norm_eps": 1e-6, "rope_theta": 1000000.0}),
    "gemma3_text": (gemma3_text, {
        "model_type": "gemma3_text", "hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 96,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-6, "vocab_size": 160,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "query_pre_attn_scalar": 24.0,
        "sliding_window": 8, "sliding_window_pattern": 3, "max_position_embeddings": 256}),
    "mistral": (llama, LLAMA | {"model_type": "mistral", "tie_word_embeddings": False, "head_dim": 32,
                                "sliding_window": None}),
    "qwen3": (qwen3, LLAMA | {"model_type": "qwen3", "head_dim": 32, "rope_theta": 1000000.0}),
    "smollm3": (smollm3, LLAMA | {"model_type": "smollm3", "num_hidden_layers": 3, "no_rope_layer_interval": 2}),
    "gemma": (gemma, LLAMA | {"model_type": "gemma", "head_dim": 32, "num_key_value_heads": 1}),
    # Without a window: mlx-lm has none here.
    "gemma2": (gemma2, LLAMA | {"model_type": "gemma2", "head_dim": 32, "query_pre_attn_scalar": 24.0,
                                "attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0}),
    "phi3": (phi3, LLAMA | {"model_type": "phi3", "tie_word_embeddings": False, "partial_rotary_factor": 0.75,
                            "original_max_position_embeddings": 64,
                            "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 6,
                                             "long_factor": [1.0, 1.1, 1.3, 2.0, 3.5, 6.0]}}),
    "mixtral": (mixtral, LLAMA | {"model_type": "mixtral", "intermediate_size": 32, "num_local_experts": 4,
                                  "num_experts_per_tok": 2}),
    # One layer with experts, two whose turn it is not, one that is named as plain.
    "qwen3_moe": (qwen3_moe, LLAMA | {"model_type": "qwen3_moe", "num_hidden_layers": 4, "intermediate_size": 32,
                                      "num_attention_heads": 2, "num_key_value_heads": 1, "num_experts": 5,
                                      "num_experts_per_tok": 3, "moe_intermediate_size": 32, "decoder_sparse_step": 2,
                                      "mlp_only_layers": [3], "norm_topk_prob": True, "head_dim": 16}),
    # The ramp lies within the waves, and the rotated values grow.
    "qwen3-yarn": (qwen3, LLAMA | {"model_type": "qwen3", "head_dim": 16, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 8.0}}),
    "llama-yarn": (llama, LLAMA | {"head_dim": 32, "rope_scaling": {
        "type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32, "mscale": 1.5, "mscale_all_dim": 0.5}}),
    "gpt_oss": (gpt_oss, LLAMA | {"model_type": "gpt_oss", "head_dim": 16, "intermediate_size": 32, "num_local_experts": 4,
                                  "num_experts_per_tok": 2, "sliding_window": 8, "attention_bias": True,
                                  "tie_word_embeddings": False,
                                  "layer_types": ["sliding_attention", "full_attention"],
                                  "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32.0,
                                                   "beta_slow": 1.0, "original_max_position_embeddings": 64}}),
}
# A vision model. Its language model's fields are in an object of their own, which omits defaults.
TOYS["gemma3"] = (gemma3, {"model_type": "gemma3", "vocab_size": 160, "text_config": {
    **{k: v for k, v in TOYS["gemma3_text"][1].items() if k not in ("vocab_size", "num_attention_heads", "num_key_value_heads")},
    "head_dim": 16}})
TOYS["mistral3"] = (mistral3, {"model_type": "mistral3", "text_config": {
    **{k: v for k, v in LLAMA.items() if k != "tie_word_embeddings"}, "model_type": "mistral", "head_dim": 32,
    "sliding_window": None}})
# Convolutions over four tokens, with biases, before, between and after layers with attention.
TOYS["lfm2"] = (lfm2, {
    "model_type": "lfm2", "hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2,
    "norm_eps": 1e-5, "vocab_size": 160, "max_position_embeddings": 256, "conv_bias": True, "conv_L_cache": 4,
    "block_dim": 64, "block_ff_dim": 144, "block_multiple_of": 32, "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": True, "full_attn_idxs": [1, 3], "rope_theta": 1000000.0})
# Two layers with linear attention, whose keys serve two heads of values each.
TOYS["qwen3_5"] = (qwen3_5, {
    "model_type": "qwen3_5", "text_config": {
        "model_type": "qwen3_5_text", "hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 96,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-6, "vocab_size": 160,
        "max_position_embeddings": 256, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
        "linear_key_head_dim": 16, "linear_value_head_dim": 24, "linear_conv_kernel_dim": 4,
        "tie_word_embeddings": True, "full_attention_interval": 2,
        "rope_parameters": {"type": "default", "rope_theta": 100000.0, "partial_rotary_factor": 0.25}}})
# Seeds other than a toy's place. gpt_oss's router would choose other experts in bf16 with that, in mlx-lm too.
SEEDS = {"gpt_oss": 22, "lfm2": 17, "qwen3_5": 28}
# The families whose norms are stored as the difference from one.
FROM_ONE = (gemma, gemma2, gemma3, gemma3_text)


def packed(bits):
    return lambda model, config: quantize_model(model, config, group_size=32, bits=bits)


def mixed(recipe):
    """mlx-lm's recipes: some layers get more bits than others."""
    return lambda model, config: quantize_model(
        model, config, group_size=32, bits=4, quant_predicate=mixed_quant_predicate_builder(recipe, model, 32))


def mxfp4(model, config):
    """As mlx-community's gpt-oss: experts in MXFP4, the rest with 8 bits."""
    rest = lambda path, _: True if "experts" in path else {"group_size": 32, "bits": 8}
    return quantize_model(model, config, group_size=32, bits=4, mode="mxfp4", quant_predicate=rest)


def openai(model, config):
    """As OpenAI's own gpt-oss: only experts are packed."""
    return quantize_model(model, config, group_size=32, bits=4, mode="mxfp4", quant_predicate=lambda path, _: "experts" in path)


FORMS = {"fp32": (mx.float32, None), "bf16": (mx.bfloat16, None), "4bit": (mx.float32, packed(4)), "8bit": (mx.float32, packed(8))}
# Toys in forms that not every toy needs.
MORE_FORMS = [("llama", f"{bits}bit", packed(bits)) for bits in (2, 3, 5, 6)] + [
    ("llama", "mixed46", mixed("mixed_4_6")), ("gemma3", "mixed36", mixed("mixed_3_6")),
    ("gpt_oss", "mxfp4", mxfp4), ("gpt_oss", "openai", openai)]


def as_openai(weights, config):
    """Names and shapes of OpenAI's own files: gates and ups row by row in turn, packed weights as bytes."""
    whole, parts = {}, {}
    for path, x in weights.items():
        before, found, part = path.partition("experts.")
        if not found:
            whole[path] = x
            continue
        layer, kind = part.split("_proj.")
        name = {"weight": "_blocks", "scales": "_scales", "bias": "_bias"}[kind]
        if kind == "weight":
            x = x.view(mx.uint8).reshape(*x.shape[:-1], -1, 16)
        parts[before + found, layer, name] = x
    for (path, layer, name), x in parts.items():
        if layer == "down":
            whole[f"{path}down_proj{name}"] = x
        elif layer == "gate":
            both = mx.stack([x, parts[path, "up", name]], axis=2)
            whole[f"{path}gate_up_proj{name}"] = both.reshape(x.shape[0], -1, *x.shape[2:])
    config = {k: v for k, v in config.items() if not k.startswith("quantization")}
    left = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    return whole, config | {"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": left}}


def log_probs(logits):
    return logits - mx.logsumexp(logits, -1, keepdims=True)


def follow(model, ids):
    """(logits after the prompt, greedy tokens, leads in nats over the runner-up)."""
    cache = make_prompt_cache(model)
    last = model(mx.array([ids]), cache=cache)[0, -1].astype(mx.float32)
    first, tokens, leads = last, [], []
    for _ in range(STEPS):
        second, best = mx.sort(log_probs(last))[-2:].tolist()
        tokens.append(mx.argmax(last).item())
        leads.append(round(best - second, 4))
        last = model(mx.array([[tokens[-1]]]), cache=cache)[0, -1].astype(mx.float32)
    return first, tokens, leads


def write(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def toy(out, name, module, config, dtype, pack, seed):
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    mx.random.seed(seed)
    model = module.Model(module.ModelArgs.from_dict(copy.deepcopy(config)))
    if module is gemma3_text:
        model.sanitize({})  # ties the output layer
    if module is gemma3:
        model.language_model.sanitize({})
    def random(path, x):
        # Wide enough that one token leads clearly; norms stay near what they are at rest.
        scale = 0.1 if "norm" in path else 0.25
        rest = 1.0 if "norm" in path and module not in FROM_ONE else 0.0
        return rest + scale * mx.random.normal(x.shape)
    model.load_weights([(path, random(path, x)) for path, x in tree_flatten(model.parameters())])
    model.set_dtype(dtype)
    config = dict(config)
    if pack:
        model, config = pack(model, config)
    weights = dict(tree_flatten(model.parameters()))
    if pack is openai:
        weights, config = as_openai(weights, config)
    if module in (gemma3, mistral3):  # the vision part
        weights |= {"vision_tower.post_layernorm.weight": mx.ones((8,)), "multi_modal_projector.norm.weight": mx.ones((8,))}
    if name == "llama-bf16":  # this one in two shards
        names = sorted(weights)
        parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
        for file, part in parts.items():
            mx.save_safetensors(os.path.join(folder, file), {k: weights[k] for k in part}, {"format": "mlx"})
        write(os.path.join(folder, "model.safetensors.index.json"),
              {"weight_map": {k: file for file, part in parts.items() for k in part}})
    else:
        mx.save_safetensors(os.path.join(folder, "model.safetensors"), weights, {"format": "mlx"})
    write(os.path.join(folder, "config.json"), config)
    # The golden comes from the written folder, in float32.
    model, _ = load_model(Path(folder))
    model.set_dtype(mx.float32)
    prompt = [(7 * i * i + 3 * i + seed) % 160 for i in range(40)]
    logits, tokens, leads = follow(model, prompt)
    write(os.path.join(folder, "golden.json"),
          {"prompt": prompt, "logits": logits.tolist(), "greedy": tokens, "leads": leads})
    print(name, "spread", round(mx.std(logits).item(), 2), "clear leads", sum(x > 0.05 for x in leads), "of", STEPS, flush=True)


# Kind, toys it is laid over (of equal shapes), and keys; without keys every layer of the last `num_layers` blocks.
ADAPTERS = {
    "lora": ("lora", ["llama-fp32", "llama-bf16", "llama-4bit"], 1, None),
    # Only some of the fused projections, and layers outside the blocks.
    "lora-some": ("lora", ["llama-tied-fp32", "llama-tied-4bit"], 2,
                  ["self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "model.embed_tokens"]),
    "lora-experts": ("lora", ["mixtral-fp32", "mixtral-4bit"], 2,
                     ["block_sparse_moe.gate"] + [f"block_sparse_moe.switch_mlp.{x}_proj" for x in ("gate", "up", "down")]),
    "dora": ("dora", ["llama-tied-fp32", "llama-tied-4bit"], 2, ["self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"]),
    "full": ("full", ["llama-fp32"], 2, ["model.norm.weight", "model.layers.1.self_attn.k_proj.weight"]),
}


def adapter(out, name, kind, bases, num_layers, keys, seed):
    folder = os.path.join(out, "adapters", name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    mx.random.seed(1000 + seed)
    parameters = {"rank": 4, "scale": 2.0, "dropout": 0.0} | ({"keys": keys} if keys else {})
    model, _ = load_model(Path(out) / bases[0])
    if kind == "full":
        wanted = lambda path: path in keys
    else:
        linear_to_lora_layers(model, num_layers, parameters, use_dora=kind == "dora")
        wanted = lambda path: path.rsplit(".", 1)[-1] in ("lora_a", "lora_b", "m")
    weights = {path: x for path, x in tree_flatten(model.parameters()) if wanted(path)}
    weights = {path: x + 0.25 * mx.random.normal(x.shape) if kind == "full" or path.endswith(".m")
               else 0.25 * mx.random.normal(x.shape) for path, x in weights.items()}
    mx.save_safetensors(os.path.join(folder, "adapters.safetensors"), weights, {"format": "mlx"})
    write(os.path.join(folder, "adapter_config.json"),
          {"fine_tune_type": kind, "num_layers": num_layers, "lora_parameters": parameters})
    for base in bases:
        model, config = load_model(Path(out) / base)
        model.set_dtype(mx.float32)
        load_adapters(model, folder)
        prompt = [(7 * i * i + 3 * i + seed) % config["vocab_size"] for i in range(40)]
        logits, tokens, leads = follow(model, prompt)
        os.makedirs(os.path.join(folder, base))
        write(os.path.join(folder, base, "golden.json"),
              {"prompt": prompt, "logits": logits.tolist(), "greedy": tokens, "leads": leads})
        print(name, base, "clear leads", sum(x > 0.05 for x in leads), "of", STEPS, flush=True)


CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": "You answer in one word."}, {"role": "user", "content": "Grüße! 日本語? 🦀"},
     {"role": "assistant", "content": "Ja."}, {"role": "user", "content": "  spaces  and\nlines\n"}],
]
TEXTS = ["The quick brown fox jumps over the lazy dog. In 1969, Neil Armstrong became the first man to walk on the moon.",
         "2, 4, 6, 8,"]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather <now> & \"then\"",
          "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]


def real(out, folder):
    model, _ = load_model(Path(folder))
    model.set_dtype(mx.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = [{"text": text, "ids": tokenizer.encode(text)} for text in TEXTS]
    for messages in CHATS:
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        prompts.append({"messages": messages, "ids": ids})
    for prompt in prompts:
        logits, prompt["greedy"], prompt["leads"] = follow(model, prompt["ids"])
        count = logits.shape[0]
        some = [i * count // 512 for i in range(512)]
        top = mx.argsort(-logits)[:20].tolist()
        prompt["logits"] = [[i, round(logits[i].item(), 5)] for i in sorted(set(some + top))]
        prompt["decoded"] = tokenizer.decode(prompt["greedy"], skip_special_tokens=True)
    if "tools" in (tokenizer.chat_template or ""):
        text = tokenizer.apply_chat_template(CHATS[1], tools=TOOLS, add_generation_prompt=True, tokenize=False)
        prompts.append({"messages": CHATS[1], "tools": TOOLS, "rendered": text})
    os.makedirs(os.path.join(out, "real"), exist_ok=True)
    name = os.path.basename(folder)
    write(os.path.join(out, "real", name + ".json"), {"model": name, "prompts": prompts})
    print(name, [p.get("decoded", "")[:40] for p in prompts], flush=True)


TEMPLATES = {
    "chatml": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
              "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "first-system": "{{ bos_token }}{%- if messages[0]['role'] == 'system' %}\n    {%- set system = messages[0]['content'] | trim %}\n"
                    "    {%- set rest = messages[1:] %}\n{%- else %}\n    {%- set system = '' %}\n    {%- set rest = messages %}\n"
                    "{%- endif %}\n[{{ system }}]\n{%- for m in rest %}{{ loop.index0 }}{{ m.role }}:{{ m.content }}{{ eos_token }}"
                    "{% if not loop.last %}|{% endif %}{% endfor %}",
    "alternation": "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
                   "{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}{{ m['content'] }}{% endfor %}",
    "blocks": "  {% if messages %}\n    {% for m in messages %}\n- {{ m.role }}\n    {% endfor %}\n  {% endif %}\nend\n",
    "methods": "{% for m in messages %}{{ m.content.strip().upper() }}/{{ m.content.split(' ')[-1] }}/"
               "{{ m.content.startswith('Gr') }}/{{ m.content.replace('e', '3') }}/{{ m.content.rstrip('\\n').title() }}/"
               "{{ m.content | length }};{% endfor %}",
    "loops": "{% for m in messages %}{% if m.role == 'assistant' %}{% continue %}{% endif %}{{ m.role }}"
             "{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}",
    "namespace": "{% set ns = namespace(n=0, seen='') %}{% for m in messages %}{% set ns.n = ns.n + m.content | length %}"
                 "{% set ns.seen = ns.seen ~ m.role[0] %}{% endfor %}{{ ns.n }}{{ ns.seen }}",
    "tests": "{% for m in messages %}{{ m is mapping }}{{ m.content is string }}{{ m.tool_calls is defined }}"
             "{{ m.content is iterable }}{{ tools is none }}{{ missing is defined }}{% endfor %}",
    "macro": "{% macro turn(role, text, end='.') %}<{{ role }}>{{ text }}{{ end }}{% endmacro %}"
             "{% for m in messages %}{{ turn(m.role, m.content, end='!') }}{% endfor %}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
                  "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "json": "{{ messages | tojson }}\n{{ extra | tojson }}\n{{ extra | tojson(indent=2) }}\n{{ 'a<b>&\"c\\'' | tojson }}",
    "kwargs": "{% if enable_thinking is defined and enable_thinking is false %}quiet{% else %}loud{% endif %}"
              "{{ messages | map(attribute='role') | join(',') }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
    "numbers": "{{ 7 // 2 }} {{ 7 % 3 }} {{ 2 ** 5 }} {{ 1.5 + 1 }} {{ true and none }} {{ [1, 2] + [3] }} {{ 'a' ~ 1 }} {{ -3 | abs }}",
    "undefined": "[{{ missing }}][{{ messages[0].missing }}]{{ messages[0].missing.deeper }}",
}
EXTRA = {"enable_thinking": False, "extra": {"z": [1, 2.5, True, None], "a": "ü<&>\"\\", "nested": {"k": []}, "empty": {}}}


def templates(out):
    cases = []
    for name, template in TEMPLATES.items():
        for n, messages in enumerate(CHATS):
            case = {"name": f"{name}-{n}", "template": template, "messages": messages, "extra": EXTRA,
                    "tokens": {"bos_token": "<s>", "eos_token": "</s>"}}
            try:
                rendered, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True,
                                                    bos_token="<s>", eos_token="</s>", **EXTRA)
                case["rendered"] = rendered[0]
            except Exception as e:
                case["error"] = str(e)
            cases.append(case)
    write(os.path.join(out, "templates.json"), cases)
    print("templates", len(cases), "of which errors", [c["name"] for c in cases if "error" in c], flush=True)


def main():
    out, *folders = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    templates(out)
    for seed, (name, (module, config)) in enumerate(TOYS.items()):
        for form, (dtype, pack) in FORMS.items():
            toy(out, f"{name}-{form}", module, config, dtype, pack, SEEDS.get(name, seed))
        for _, form, pack in [more for more in MORE_FORMS if more[0] == name]:
            toy(out, f"{name}-{form}", module, config, mx.float32, pack, SEEDS.get(name, seed))
    for seed, (name, (kind, bases, num_layers, keys)) in enumerate(ADAPTERS.items()):
        adapter(out, name, kind, bases, num_layers, keys, seed)
    for folder in folders:
        real(out, folder)


if __name__ == "__main__":
    main()
