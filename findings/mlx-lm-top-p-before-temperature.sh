#!/usr/bin/env bash
# Guess: mlx-lm samples as Transformers and vLLM do: logits are divided by the temperature, then top_p cuts the tail of what results.
#   `top_p=0` leaves the likeliest token.
# Reality: `make_sampler` cuts first and warms afterwards, so the same tokens stay at each temperature: of 0.5, 0.3, 0.15, 0.05 with
#   top_p 0.6 two stay at temperature 0.5, 2 and 5. In the usual order it is one, two and three. top_k cuts last, after top_p. And
#   `top_p=0`, which is its default, turns the filter off: every token can come.
# Versions: mlx-lm 0.32.2, mlx 0.32.2.
# For a server author: settings do not carry over. Below temperature 1 mlx-lm lets less likely tokens through than a server that divides
#   first, above 1 it holds more back; no comparison of samplers with equal settings means anything then.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx==0.32.2 mlx-cpu==0.32.2 mlx-lm==0.32.2
cat > t.py <<'PY'
from importlib.metadata import version
import mlx.core as mx
from mlx_lm.sample_utils import make_sampler

print({name: version(name) for name in ("mlx-lm", "mlx")})
probabilities = [0.5, 0.3, 0.15, 0.05]

def drawn(**settings):
    """How many of the tokens come in 400 draws."""
    mx.random.seed(7)
    return len(set(make_sampler(**settings)(mx.log(mx.array([probabilities] * 400))).tolist()))

def usual(temp, top_p):
    """How many tokens stay when the temperature comes first."""
    weights = [p ** (1 / temp) for p in probabilities]
    kept = total = 0
    while total < top_p * sum(weights):
        total += weights[kept]
        kept += 1
    return kept

for temp, there, elsewhere in [(0.5, 2, 1), (1.0, 2, 2), (2.0, 2, 2), (5.0, 2, 3)]:
    seen = drawn(temp=temp, top_p=0.6), usual(temp, 0.6)
    print(f"temperature {temp}, top_p 0.6: mlx-lm keeps {seen[0]} tokens, temperature first keeps {seen[1]}")
    assert seen == (there, elsewhere)
assert drawn(temp=1.0, top_p=0.0) == 4 and drawn(temp=1.0, top_p=0.01) == 1
print("top_p 0 keeps 4 tokens, top_p 0.01 keeps 1")
# Within the top 3 the second token ends at 0.84 of the weight, of all tokens at 0.8: top_p 0.82 keeps 2 after top_k and 3 before it.
assert drawn(temp=1.0, top_p=0.82, top_k=3) == 3
print("top_k 3 with top_p 0.82 keeps 3 tokens; top_k first keeps 2")
PY
v/bin/python t.py
