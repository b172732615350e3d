#!/usr/bin/env bash
# Guess: mode "nvfp4" of mlx keeps about as much of a matrix as "mxfp4" does whatever its scale, for the scales are floats.
# Reality: mlx.core.quantize keeps one E4M3 scale for 16 weights and no scale for the whole tensor. Below about 0.002 a scale
#   is no number that E4M3 has: with a standard deviation of 0.003 half of all weights become zero, with 0.001 every one does.
#   Nothing is raised. mxfp4 and mxfp8 (scales are powers of two) and affine do not care.
# Versions: mlx 0.32.2 on the CPU (mlx-cpu 0.32.2), numpy 2.3.5.
# For a server author: quantising at load time, or converting with mlx-lm's nvfp4 mode, deletes layers whose weights are small
#   (wide models, low-rank factors, down projections) and the model only talks worse. Files of other makers carry a global
#   scale that has to be multiplied in. Check the share of zeros after quantising.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx==0.32.2 mlx-cpu==0.32.2 numpy==2.3.5
cat > t.py <<'PY'
import mlx.core as mx
import numpy as np

print("mlx", mx.__version__)
normal = np.random.default_rng(7).standard_normal((256, 256), dtype=np.float32)
zeros = {}
for deviation in (1.0, 0.02, 0.003, 0.001):
    weights = mx.array(normal * np.float32(deviation))
    row = []
    for mode in ("nvfp4", "mxfp4", "mxfp8", "affine"):
        packed, scales, *biases = mx.quantize(weights, mode=mode)
        back = np.array(mx.dequantize(packed, scales, *biases, mode=mode, dtype=mx.float32))
        error = float(np.sqrt(((back / deviation - normal) ** 2).mean()))
        zeros[mode, deviation] = float((back == 0).mean())
        row.append(f"{mode}: error {error:.3f}, zeros {zeros[mode, deviation]:.3f}")
    print(f"deviation {deviation}:", " | ".join(row))
assert zeros["nvfp4", 1.0] < 0.1 and zeros["nvfp4", 0.02] < 0.1
assert 0.4 < zeros["nvfp4", 0.003] < 0.7 and zeros["nvfp4", 0.001] == 1.0
assert all(share < 0.15 for (mode, _), share in zeros.items() if mode != "nvfp4")
PY
v/bin/python t.py
