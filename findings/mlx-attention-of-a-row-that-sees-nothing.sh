#!/usr/bin/env bash
# Guess: attention of a query whose mask forbids every key is NaN or zero, and the two forms of a mask, booleans and numbers with
#   -infinity, mean the same to `mx.fast.scaled_dot_product_attention`.
# Reality: with booleans the row is the mean of all values, those that the mask forbids. With -infinity it is NaN. Both in float32,
#   float16 and bfloat16. Rows that see at least one key agree.
# Versions: mlx 0.32.2 (mlx-cpu), numpy 2.3.5. Nothing is said about Metal.
# For a server author: padding on the left makes such rows in every batch. With booleans they are finite, so no check for NaN finds them, and
#   they carry a mix of everything, other requests' padding included if keys are shared. Never read such a row, or zero it by the mask.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile mlx==0.32.2 mlx-cpu==0.32.2 numpy==2.3.5
cat > t.py <<'PY'
from importlib.metadata import version
import mlx.core as mx
import numpy as np

print({name: version(name) for name in ("mlx", "numpy")})
mx.set_default_device(mx.cpu)
mx.random.seed(1)
queries, keys = mx.random.normal((1, 2, 2, 32)), mx.random.normal((1, 2, 3, 32))
# The values of the three keys are 0, 1 and 5 in every coordinate.
values = mx.array([0.0, 1.0, 5.0])[None, None, :, None] * mx.ones((1, 2, 3, 32))
allowed = mx.array([[True, True, False], [False, False, False]])
numbers = mx.where(allowed, 0.0, -float("inf"))
for kind in (mx.float32, mx.float16, mx.bfloat16):
    seen = []
    for mask in (allowed, numbers.astype(kind)):
        inputs = [part.astype(kind) for part in (queries, keys, values)]
        out = mx.fast.scaled_dot_product_attention(*inputs, scale=32**-0.5, mask=mask)
        seen.append(np.array(out.astype(mx.float32))[0, 0, :, 0])
    print(f"{kind}: a row that sees two keys: {seen[0][0]:.3f} and {seen[1][0]:.3f}; none: booleans {seen[0][1]:.3f}, -infinity {seen[1][1]}")
    assert 0 < seen[0][0] < 1 and abs(seen[0][0] - seen[1][0]) < 0.01
    assert abs(seen[0][1] - 2) < 0.02 and np.isnan(seen[1][1])
PY
v/bin/python t.py
