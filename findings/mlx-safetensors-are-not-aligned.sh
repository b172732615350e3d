#!/usr/bin/env bash
# Guess: in a safetensors file every tensor starts at a multiple of its element's size, since the format pads its header with
#   spaces to 8 bytes; so a mapped file can be read in place.
# Reality: only the safetensors library pads. mlx writes the header as long as it comes out: here the data begin at an odd byte,
#   with float32 and bfloat16 in them. It puts tensors where they come, too, so that a byte tensor moves those behind it.
#   All readers take such files. Whether a model is aligned is luck: one more letter in a name changes it.
# Versions: mlx 0.32.2 on the CPU (mlx-cpu 0.32.2), safetensors 0.8.0, numpy 2.3.5.
# For a server author: almost every MLX model on the Hub was written by mlx. Casting mapped bytes to &[f32] or &[u16] fails there or is
#   undefined behaviour, and works in every test with files of the safetensors library. Copy, or read unaligned.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx==0.32.2 mlx-cpu==0.32.2 safetensors==0.8.0 numpy==2.3.5
cat > t.py <<'PY'
import json
from importlib.metadata import version
import mlx.core as mx
import numpy as np
from safetensors.numpy import load_file, save_file

print({name: version(name) for name in ("mlx", "safetensors")})
sizes = {"F32": 4, "BF16": 2, "F16": 2, "U8": 1}

def starts(path):
    data = open(path, "rb").read()
    length = int.from_bytes(data[:8], "little")
    tensors = {name: entry for name, entry in json.loads(data[8 : 8 + length]).items() if name != "__metadata__"}
    return 8 + length, {name: (8 + length + entry["data_offsets"][0], sizes[entry["dtype"]]) for name, entry in tensors.items()}

aligned = []
for letters in range(1, 9):
    name = "w" * letters
    mx.save_safetensors("mlx.safetensors", {name: mx.arange(4, dtype=mx.float32), "scales": mx.ones((3,), mx.uint8)}, {"format": "mlx"})
    begin, offsets = starts("mlx.safetensors")
    aligned.append(all(at % size == 0 for at, size in offsets.values()))
    print(f"mlx, name of {letters} letters: data begin at byte {begin}; (start, element size) {offsets}")
    assert load_file("mlx.safetensors")[name].tolist() == [0, 1, 2, 3]
    save_file({name: np.arange(4, dtype=np.float32), "scales": np.ones(3, np.uint8)}, "own.safetensors", {"format": "mlx"})
    begin, offsets = starts("own.safetensors")
    assert begin % 8 == 0 and all(at % size == 0 for at, size in offsets.values())
print("aligned files of mlx:", sum(aligned), "of", len(aligned), "| of the safetensors library: all")
assert 0 < sum(aligned) < len(aligned)
PY
v/bin/python t.py
