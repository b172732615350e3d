#!/usr/bin/env bash
# Guess: a safetensors type that mlx does not compute with is an error at load, or comes as its values.
# Reality: F8_E4M3 and F8_E8M0 come as uint8, the bytes as they are, without a word; F8_E5M2, F4 and F64 raise. Saved again they are U8, so
#   the file no longer says what they were. A Llama folder whose matrices were cast to float8, with no quantization in config.json, loads
#   in mlx-lm without error or warning and computes with integers: its logits are more than a thousand times too large.
# Versions: mlx 0.32.2, mlx-lm 0.32.2 on the CPU, safetensors 0.8.0, Python 3.11.
# For a server author: mlx' loader is no check of types. Look at the header's `dtype` before loading and refuse F8 without scales (or decode
#   it by `from_fp8`); a shape check passes.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2 safetensors==0.8.0
cat > t.py <<'PY'
import json, struct
from importlib.metadata import version
from pathlib import Path
import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models import llama
from mlx_lm.utils import load_model
from safetensors import safe_open

print({name: version(name) for name in ("mlx", "mlx-lm", "safetensors")})

def save(path, tensors):
    header, body = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)

def dtype_in(path, name):
    with safe_open(path, "np") as file:
        return file.get_slice(name).get_dtype()

one = Path("one.safetensors")
expected = {"F8_E4M3": mx.uint8, "F8_E8M0": mx.uint8, "F8_E5M2": None, "F4": None, "F64": None}
for dtype, wanted in expected.items():
    save(one, {"w": (dtype, [8] if dtype != "F64" else [1], bytes([0x38] * (4 if dtype == "F4" else 8)))})
    try:
        loaded = mx.load(str(one))["w"]
        seen = loaded.dtype
        mx.save_safetensors("two.safetensors", {"w": loaded})
        print(f"{dtype}: {seen}, first value {loaded[0].item()}, saved again as {dtype_in('two.safetensors', 'w')}")
        assert loaded[0].item() == 0x38 and dtype_in("two.safetensors", "w") == "U8"
    except RuntimeError as error:
        seen = None
        print(f"{dtype}: {error}")
    assert seen == wanted, seen

config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 64, "vocab_size": 64, "num_hidden_layers": 1,
          "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
          "max_position_embeddings": 128, "rope_theta": 10000.0}
mx.random.seed(0)
model = llama.Model(llama.ModelArgs.from_dict(config))
weights = dict(tree_flatten(model.parameters()))
folder = Path("folder")
folder.mkdir()
(folder / "config.json").write_text(json.dumps(config))
plain = {name: ("F32", list(value.shape), np.array(value).tobytes()) for name, value in weights.items()}
cast = {name: ("F8_E4M3", list(value.shape), np.array(mx.to_fp8(value)).tobytes()) for name, value in weights.items() if value.ndim == 2}
save(folder / "model.safetensors", {**plain, **cast})
loaded, _ = load_model(folder)
model.load_weights([(name, mx.from_fp8(mx.to_fp8(value), dtype=mx.float32) if value.ndim == 2 else value) for name, value in weights.items()])
prompt = mx.array([[1, 2, 3]])
right, seen = (float(mx.abs(made(prompt)).max()) for made in (model, loaded))
print(f"largest logit: {right:.1f} from the decoded weights, {seen:.1f} from mlx-lm's load of the folder")
assert loaded.layers[0].self_attn.q_proj.weight.dtype == mx.uint8 and seen > 100 * right
PY
v/bin/python t.py
