#!/usr/bin/env bash
# Guess: float8 E4M3 is one conversion: NaN stays NaN, for the format has a code for it, and what is too large is either cut to 448 or NaN, the
#   same way in two libraries.
# Reality: `mx.to_fp8` cuts everything to 448: 460, infinity and NaN too, so that a NaN comes back as the largest number. ml_dtypes rounds
#   460 to 448 and makes NaN of the rest. mxfp8 goes further: of 31 ones and one NaN come 32 times 896.
# Versions: mlx 0.32.2 (mlx-cpu), ml_dtypes 0.6.0, numpy 2.3.5.
# For a server author: a broken weight or an overflow is hidden by the conversion, and a check for NaN behind it finds nothing; float8 bytes of
#   two tools differ exactly where something is wrong. Look for NaN and infinity before quantising.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile mlx==0.32.2 mlx-cpu==0.32.2 ml_dtypes==0.6.0 numpy==2.3.5
cat > t.py <<'PY'
import warnings
warnings.filterwarnings("ignore")
from importlib.metadata import version
import ml_dtypes
import mlx.core as mx
import numpy as np

print({name: version(name) for name in ("mlx", "ml_dtypes", "numpy")})
mx.set_default_device(mx.cpu)
numbers = np.array([1, 448, 460, 500, 1e5, np.inf, -np.inf, np.nan], np.float32)
codes = np.array(mx.to_fp8(mx.array(numbers)))
other = numbers.astype(ml_dtypes.float8_e4m3fn)
back = np.array(mx.from_fp8(mx.array(codes), dtype=mx.float32))
print("numbers:  ", numbers.tolist())
print("mlx:      ", back.tolist())
print("ml_dtypes:", other.astype(np.float32).tolist())
assert back.tolist() == [1, 448, 448, 448, 448, 448, -448, 448]
assert other.astype(np.float32)[:3].tolist() == [1, 448, 448] and np.isnan(other.astype(np.float32)[3:]).all()
# Codes of ordinary numbers agree, so the format is the same.
usual = np.random.default_rng(1).uniform(-400, 400, 10_000).astype(np.float32)
assert np.array_equal(np.array(mx.to_fp8(mx.array(usual))), usual.astype(ml_dtypes.float8_e4m3fn).view(np.uint8))

weights = np.ones((1, 32), np.float32)
weights[0, 5] = np.nan
packed, scales = mx.quantize(mx.array(weights), mode="mxfp8")
block = np.array(mx.dequantize(packed, scales, mode="mxfp8", dtype=mx.float32))[0]
print("mxfp8 block of ones with one NaN:", sorted(set(block.tolist())))
assert (block == 896).all()
PY
v/bin/python t.py
