#!/usr/bin/env bash
# Guess: MXFP4 is a standard; gguf and mlx make the same numbers of the same 32 weights and differ at most in how they pack them.
# Reality: a quarter of the blocks of a normal matrix come out different. gguf takes the specification's exponent,
#   floor(log2(max)) - 2, and clips what lies above 6 steps; mlx takes ceil(log2(max / 6)), which never clips and is coarser.
#   Packing differs as well: gguf puts weights i and i + 16 into one byte behind its scale, mlx puts neighbours together and
#   scales into a tensor of their own.
# Versions: gguf 0.19.0, mlx 0.32.2 on the CPU (mlx-cpu 0.32.2), numpy 2.3.5.
# For a server author: two makers' MXFP4 files of one model are two models, so checksums and logits never agree between them,
#   and a repacking from GGUF that keeps the order of nibbles gives noise of the right magnitude.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check gguf==0.19.0 mlx==0.32.2 mlx-cpu==0.32.2 numpy==2.3.5
cat > t.py <<'PY'
from importlib.metadata import version
import mlx.core as mx
import numpy as np
from gguf import GGMLQuantizationType, quants

print({name: version(name) for name in ("gguf", "mlx")})
kind = GGMLQuantizationType.MXFP4

def both(blocks):
    first = quants.quantize(blocks, kind)
    packed, scales = mx.quantize(mx.array(blocks), mode="mxfp4")
    second = np.array(mx.dequantize(packed, scales, mode="mxfp4", dtype=mx.float32))
    return quants.dequantize(first, kind), second, first, np.array(packed).view(np.uint8), np.array(scales)

blocks = np.random.default_rng(7).standard_normal((1000, 32), dtype=np.float32)
one, two, first, packed, scales = both(blocks)
same = np.all(one == two, axis=1)
print(f"equal blocks: {same.mean():.0%}; errors: gguf {np.abs(one - blocks).mean():.4f}, mlx {np.abs(two - blocks).mean():.4f}")
assert 0.6 < same.mean() < 0.85

exponent = np.floor(np.log2(np.abs(blocks).max(1))).astype(int) - 2 + 127
larger = np.ceil(np.log2(np.abs(blocks).max(1) / 6)).astype(int) + 127
assert np.array_equal(first[:, 0], exponent) and np.array_equal(scales[:, 0], larger)
assert np.array_equal(larger != exponent, ~same)
for top in (3.9, 7.5):
    one, two, *_ = both(np.linspace(-top, top, 32, dtype=np.float32)[None])
    print(f"largest weight {top}: gguf {one.max()}, mlx {two.max()}")
    assert one.max() < top < two.max()

# A block that both read the same: weights 1, 2 and 4 at places 0, 1 and 16.
block = np.zeros((1, 32), np.float32)
block[0, [0, 1, 16]] = 1, 2, 4
one, two, first, packed, scales = both(block)
print("gguf bytes:", first[0, :4].tolist(), "| mlx bytes:", packed[0, :3].tolist(), "… scale", scales[0].tolist())
assert np.array_equal(one, two) and first[0, 0] == scales[0, 0] == 127
assert first[0, 1:3].tolist() == [0x62, 0x04] and packed[0, 0] == 0x42 and packed[0, 8] == 0x06
PY
v/bin/python t.py
