#!/usr/bin/env bash
# Guess: mlx-lm's presence and frequency penalties count the tokens of the answer, as OpenAI's do, and drafts do not change what any penalty counts.
# Reality: all three penalties see the last 20 tokens of prompt and answer together: a word of the question is punished as if it had been answered, and one that
#   was answered 21 tokens ago is free again. With a draft model the prompt is not counted at all, so that a greedy answer with a penalty changes with the drafts.
# Versions: mlx-lm 0.32.2, mlx 0.32.2 on the CPU; a model that repeats a fixed order of tokens, and a toy Llama with random weights.
# For a server author: equal settings are no equal answers here. A penalty that one of the two sides counts otherwise looks like a wrong kernel in a comparison.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2
cat > t.py <<'PY'
from importlib.metadata import version
import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map
from mlx_lm.generate import generate_step, speculative_generate_step
from mlx_lm.models import llama
from mlx_lm.sample_utils import make_logits_processors

print({name: version(name) for name in ("mlx-lm", "mlx")})
mx.set_default_device(mx.cpu)

class Ordered(nn.Module):
    """Token 63 is the likeliest after any token, then 62 and so on, one unit apart."""
    layers = [None]
    def __call__(self, tokens, cache=None):
        return mx.broadcast_to(mx.arange(64, dtype=mx.float32), (*tokens.shape, 64))

def answer(prompt, count, **penalties):
    taken = make_logits_processors(**penalties)
    return [int(token) for token, _ in generate_step(mx.array(prompt), Ordered(), prompt_cache=[], max_tokens=count, logits_processors=taken)]

for name in ("presence_penalty", "frequency_penalty"):
    asked, other = answer([63, 1], 1, **{name: 2.0}), answer([2, 1], 1, **{name: 2.0})
    print(f"{name} of 2: first token {asked} if the prompt has token 63, {other} if it has not")
    assert asked == [62] and other == [63]
long = answer([1], 26, presence_penalty=100.0)
print("presence_penalty of 100, 26 tokens:", long)
# 20 tokens are punished, so the first one comes back after the 21st.
assert long[:20] == list(range(63, 43, -1)) and long[20] == 43 and long[21:] == list(range(63, 58, -1)), long

mx.random.seed(0)
toy = llama.Model(llama.ModelArgs.from_dict({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 64, "num_attention_heads": 4,
                                            "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 64, "rms_norm_eps": 1e-5}))
toy.update(tree_map(lambda one: mx.random.normal(one.shape) * 0.2 if one.ndim > 1 else one, toy.parameters()))
prompt = mx.array([(7 * place * place + 3 * place + 1) % 61 for place in range(20)])
seen = {}
for penalty in (None, 1.3):
    taken = make_logits_processors(repetition_penalty=penalty)
    alone = [int(token) for token, _ in generate_step(prompt, toy, max_tokens=24, logits_processors=taken)]
    drafted = [int(token) for token, _, _ in speculative_generate_step(prompt, toy, toy, max_tokens=24, logits_processors=taken)]
    print(f"toy Llama that drafts for itself, repetition_penalty {penalty}: alone {alone[:8]}, with drafts {drafted[:8]}")
    seen[penalty] = alone == drafted
    # Without the prompt's tokens the answers differ, with a prompt of one token they do not.
    short = [[int(one[0]) for one in step(prompt[:1], toy, *rest, max_tokens=24, logits_processors=taken)] for step, rest in ((generate_step, ()), (speculative_generate_step, (toy,)))]
    assert short[0] == short[1]
assert seen == {None: True, 1.3: False}, seen
PY
v/bin/python t.py
