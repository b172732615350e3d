#!/usr/bin/env bash
# Guess: mlx's affine quantisation is the usual one, as its documentation has it: scale = (max - min) / (2^bits - 1) > 0 and
#   bias = min, so that packed integers grow with the weights.
# Reality: the bias is the edge with the larger magnitude. Where that is the maximum the scale is negative and the integers run
#   backwards: half of all groups of a usual matrix. The scale is bent, too, so that zero is met exactly, and then the edge on
#   the other side is missed.
# Versions: mlx 0.32.2 on the CPU (mlx-cpu 0.32.2), numpy 2.3.5.
# For a server author: a kernel or converter with unsigned scales and zero points (AWQ, GPTQ, Q4_1) or one that takes the bias for
#   the minimum is wrong in every second group; so is a quantiser of one's own that is compared with mlx byte for byte.
# Grounds: deep
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
row = np.zeros((1, 64), np.float32)
row[0, :2] = -1.0, 3.5
packed, scale, bias = mx.quantize(mx.array(row), group_size=64, bits=4)
back = np.array(mx.dequantize(packed, scale, bias, group_size=64, bits=4))[0]
print(f"-1 … 3.5: scale {scale.item():.4f} (guess {4.5 / 15:.4f}), bias {bias.item()} (guess -1.0), -1 comes back as {back[0]:.4f}, 0 as {back[2]}")
assert scale.item() < 0 and bias.item() == 3.5 and back[1] == 3.5 and back[2] == 0.0 and back[0] != -1.0
digits = [(int(np.array(packed)[0, 0]) >> 4 * at) & 15 for at in range(3)]
print("packed integers of -1, 3.5 and 0:", digits)
assert digits[1] == 0 < digits[2] < digits[0]

weights = np.random.default_rng(7).standard_normal((256, 256), dtype=np.float32)
_, scales, biases = (np.array(part) for part in mx.quantize(mx.array(weights), group_size=64, bits=4))
groups = weights.reshape(256, 4, 64)
low, high = groups.min(-1), groups.max(-1)
print(f"a normal matrix: {(scales < 0).mean():.0%} of the scales are negative")
assert 0.4 < (scales < 0).mean() < 0.6
assert np.array_equal(scales < 0, high >= -low)
assert np.allclose(biases, np.where(high >= -low, high, low), atol=0.25)
PY
v/bin/python t.py
