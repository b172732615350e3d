#!/usr/bin/env bash
# Guess: sums over float16 and bfloat16 are accumulated in float32, as matrix products are, and rounded once at the end. `mx.softmax`
#   without `precise=True` is a little less exact, and its weights sum to about 1.
# Reality: on the CPU backend a sum is kept in the type of its elements, and stops growing where adding 1 no longer changes it: 70,000
#   ones are 2048 in float16 and 256 in bfloat16. The mean of 512 ones in bfloat16 is 0.5. The softmax of 512 equal scores sums to 2,
#   of 4096 to 16. `matmul`, `logsumexp`, `fast.rms_norm` and `softmax(precise=True)` are right; `var`, `linalg.norm` and `cumsum` are not.
# Versions: mlx 0.32.2 (mlx-cpu), numpy 2.3.5. Nothing is said about Metal.
# For a server author: mean pooling, a vector's length or a hand-written attention is off by factors on a CPU, only for long
#   inputs. Cast to float32 first, or pool by a product with a row of 1/n.
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

print("mlx", version("mlx"))
mx.set_default_device(mx.cpu)
for kind, stop in ((mx.float16, 2048), (mx.bfloat16, 256)):
    for count in (256, 512, 4096, 70_000):
        ones, scores = mx.ones((count,), dtype=kind), mx.zeros((count,), dtype=kind)
        # Both limits are powers of two, so these numbers are exact.
        shown = min(count, stop)
        total, mean, last = ones.sum().item(), ones.mean().item(), mx.cumsum(ones)[-1].item()
        soft, precise = [sum(mx.softmax(scores, precise=exact).astype(mx.float32).tolist()) for exact in (False, True)]
        print(f"{kind}, {count} ones: sum {total:.0f}, mean {mean:.4f}; {count} equal scores: softmax sums to {soft:.2f}, precise {precise:.2f}")
        assert (total, last) == (shown, shown)
        assert abs(mean - shown / count) < 0.01 * mean
        assert abs(soft - count / shown) < 0.01 * soft and abs(precise - 1) < 0.01
half = mx.ones((1, 4096), dtype=mx.bfloat16)
assert (half @ half.T).item() == 4096 and mx.linalg.norm(half).item() == 16
assert abs(mx.logsumexp(half - 1).item() - np.log(4096)) < 0.05 and mx.fast.rms_norm(half, None, 1e-5)[0, 0].item() == 1
signs = mx.concatenate([half, -half], axis=1)
print("bfloat16, 4096 ones: product 4096, norm", mx.linalg.norm(half).item(), "instead of 64; variance of signs", mx.var(signs).item())
assert mx.var(signs).item() < 0.1
mx.random.seed(1)
vectors = (mx.random.normal((1, 500, 384)) + 1).astype(mx.bfloat16)
pooled, exact = vectors.mean(axis=1).astype(mx.float32), vectors.astype(mx.float32).mean(axis=1)
print("mean of 500 vectors around 1: wrong by up to", round(mx.abs(pooled - exact).max().item(), 3))
assert mx.abs(pooled - exact).max().item() > 0.03
assert np.ones(60_000, dtype=np.float16).sum() == 60_000
PY
v/bin/python t.py
