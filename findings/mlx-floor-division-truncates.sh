#!/usr/bin/env bash
# Guess: `//` of MLX arrays rounds down, as in Python, NumPy and PyTorch, and goes with `%`: `a // b * b + a % b` is `a`.
# Reality: for integers `//` rounds towards zero, while `%` rounds down: -7 // 2 is -3 and -7 % 2 is 1, which makes -5. `mx.divmod` of the same
#   arrays says -4 and 1. Floating-point arrays and unsigned ones are as guessed, so a test with one of them shows nothing.
# Versions: mlx 0.32.2 (mlx-cpu), numpy 2.3.5. Nothing is said about Metal.
# For a server author: buckets of relative positions, block numbers of a negative offset, padding to a multiple (`-n // 64`) are off by one
#   without an error in code ported from NumPy. Take the quotient from `mx.divmod`, or compute such numbers in Python.
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
over, under = [7, -7, 7, -7, -8], [2, 2, -2, -2, 4]
for kind, numpy_kind in ((mx.int8, np.int8), (mx.int32, np.int32), (mx.int64, np.int64)):
    a, b = mx.array(over, dtype=kind), mx.array(under, dtype=kind)
    quotient, rest = (a // b).tolist(), (a % b).tolist()
    both = [part.tolist() for part in mx.divmod(a, b)]
    right = (np.array(over, numpy_kind) // np.array(under, numpy_kind)).tolist()
    print(f"{kind}: {over} // {under} is {quotient}, NumPy {right}, divmod {both[0]}; % is {rest}")
    assert quotient == [3, -3, -3, 3, -2] and right == both[0] == [3, -4, -4, 3, -2]
    assert rest == both[1] == [1, 1, -1, -1, 0]
    again = (a // b * b + a % b).tolist()
    print("   a // b * b + a % b is", again)
    assert again == [7, -5, 5, -7, -8]
padded = [-(-mx.array(length) // 64) * 64 for length in (64, 65, 127)]
print("64, 65 and 127 rounded up to a multiple of 64 by -(-n // 64) * 64:", [number.item() for number in padded])
assert [number.item() for number in padded] == [64, 64, 64]
assert (mx.array(over, dtype=mx.float32) // mx.array(under, dtype=mx.float32)).tolist() == [3, -4, -4, 3, -2]
PY
v/bin/python t.py
