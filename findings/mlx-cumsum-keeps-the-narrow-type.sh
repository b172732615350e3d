#!/usr/bin/env bash
# Guess: `cumsum` counts as `sum` does, as in NumPy and PyTorch: positions from an attention mask are right whatever integers the mask has.
# Reality: the sum of int8 or uint8 is 32 bits wide, its cumulative sum stays 8 bits wide: after 127 tokens positions are negative, or begin at 0 again after 255.
#   A mask of booleans is counted in 32 bits. In bfloat16 the cumulative sum of ones stops at 256 on the CPU, in float16 at 2048.
# Versions: mlx 0.32.2 on the CPU, numpy 2.3.5.
# For a server author: cast a mask before counting it. Short tests cannot see this, and a wrong position is no error anywhere: rotary embeddings take any number.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx==0.32.2 mlx-cpu==0.32.2 numpy==2.3.5
cat > t.py <<'PY'
from importlib.metadata import version
import mlx.core as mx
import numpy as np

print({name: version(name) for name in ("mlx", "numpy")})
mx.set_default_device(mx.cpu)
# A mask of 300 tokens behind four of padding; the last position is 299.
mask = np.array([0] * 4 + [1] * 300)
expected = {"int8": 43, "uint8": 43, "int16": 299, "bool": 299}
for name, last in expected.items():
    theirs, ours = np.cumsum(mask.astype(name)), mx.cumsum(mx.array(mask.astype(name)))
    total, positions = mx.sum(mx.array(mask.astype(name))), (ours.astype(mx.int32) - 1).tolist()
    falls = next((place for place in range(5, 304) if positions[place] < positions[place - 1]), None)
    print(f"{name}: NumPy {theirs.dtype} {theirs[-1] - 1}, mlx sum {total.dtype} {total.item() - 1}, cumsum {ours.dtype}: last position {positions[-1]}, smallest {min(positions[4:])}, falls at token {falls and falls - 4}")
    assert theirs[-1] - 1 == 299 and total.item() == 300 and positions[-1] == last
    assert (falls and falls - 4) == {"int8": 127, "uint8": 255}.get(name)
for kind, last in ((mx.bfloat16, 256), (mx.float16, 2048)):
    seen = mx.cumsum(mx.ones((5000,), dtype=kind))[-1].item()
    print(kind, "cumsum of 5000 ones:", seen)
    assert seen == last
PY
v/bin/python t.py
