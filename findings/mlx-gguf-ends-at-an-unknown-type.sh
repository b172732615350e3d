#!/usr/bin/env bash
# Guess: `mx.load` of a GGUF file returns every tensor, or raises at a type that it does not know.
# Reality: at the first tensor of MXFP4, NVFP4, TQ1_0 or TQ2_0 it stops without a word: that tensor and all behind it are missing, plain float32 ones too. IQ4_NL,
#   Q5_0 and Q3_K raise. BF16 becomes float16, so that 70000 is infinite and 1e-30 is 0.
# Versions: mlx 0.32.2 on the CPU, gguf 0.19.0, numpy 2.3.5.
# For a server author: compare the names with those of the header before loading. With weights that are not checked (`strict=False`) the rest of such a model stays
#   random: gpt-oss is published as MXFP4.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx==0.32.2 mlx-cpu==0.32.2 gguf==0.19.0 numpy==2.3.5
cat > t.py <<'PY'
from importlib.metadata import version
import gguf, mlx.core as mx, numpy as np
from gguf import GGMLQuantizationType as Type

print({name: version(name) for name in ("mlx", "gguf", "numpy")})
mx.set_default_device(mx.cpu)
plain = (np.random.default_rng(0).standard_normal((4, 256)) * 0.1).astype(np.float32)

def write(tensors):
    writer = gguf.GGUFWriter("t.gguf", "llama")
    for name, (data, kind) in tensors.items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

def packed(kind):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    # Any bytes are a valid block of these types.
    return np.full((4, 256 // block * size), 3, dtype=np.uint8)

expected = {Type.MXFP4: "ends", Type.NVFP4: "ends", Type.TQ1_0: "ends", Type.TQ2_0: "ends", Type.IQ4_NL: "raises", Type.Q5_0: "raises", Type.Q3_K: "raises",
            Type.Q4_0: "loads", Type.Q8_0: "loads", Type.Q4_K: "loads"}
for kind, wanted in expected.items():
    write({"a.weight": (plain, None), "b.weight": (packed(kind), kind), "c.weight": (plain * 2, None)})
    names = [tensor.name for tensor in gguf.GGUFReader("t.gguf").tensors]
    try:
        loaded = mx.load("t.gguf")
        seen = "loads" if "b.weight" in loaded else "ends"
        shown = sorted(loaded)
        assert ("c.weight" in loaded) == (seen == "loads") and np.array_equal(np.array(loaded["a.weight"]), plain)
    except RuntimeError as error:
        seen, shown = "raises", error
    print(f"{kind.name}: the file has {names}; mlx {seen}: {shown}")
    assert seen == wanted, seen

values = np.array([[70000, 1e30, 1e-30, 1]], np.float32)
write({"b": (gguf.quants.quantize(values, Type.BF16), Type.BF16)})
loaded = mx.load("t.gguf")["b"]
print("BF16", values.tolist(), "->", loaded.dtype, loaded.tolist())
assert loaded.dtype == mx.float16 and loaded.tolist() == [[float("inf"), float("inf"), 0.0, 1.0]]
PY
v/bin/python t.py
