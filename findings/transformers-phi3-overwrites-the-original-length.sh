#!/usr/bin/env bash
# Guess: a config whose `rope_scaling` states `original_max_position_embeddings` is read with that length, whatever its family.
# Reality: Transformers' Phi3Config has a class default of 4096 for a field of the same name one level up, and copies it over the
#   value in the file, silently. A Phi with an original length of 8192, given only inside `rope_scaling`, switches from short to
#   long factors at 4096. LlamaConfig with the same block keeps the file's value; there the outer field, if given too, stays
#   beside it with its own value, so the two disagree in one config.
# Versions: transformers 5.24.0.
# For a server author: decide which of the two lengths you take, per family, and test with a config that has only the inner one.
#   Files written by older versions have the outer field, so the loss shows first in files that people edit to extend the context.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0
cat > t.py <<'PY'
import transformers
from transformers import LlamaConfig, Phi3Config

transformers.logging.set_verbosity_error()
print("transformers", transformers.__version__)
block = {"type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48, "original_max_position_embeddings": 8192}
phi = Phi3Config(rope_scaling=dict(block), max_position_embeddings=131072)
inner = phi.rope_parameters["original_max_position_embeddings"]
print(f"   Phi3Config: the file says 8192, the config {phi.original_max_position_embeddings}, its rope_parameters {inner}")
assert (phi.original_max_position_embeddings, inner) == (4096, 4096)
stated = Phi3Config(rope_scaling=dict(block), original_max_position_embeddings=8192, max_position_embeddings=131072)
assert stated.rope_parameters["original_max_position_embeddings"] == 8192

yarn = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 4096}
llama = LlamaConfig(rope_scaling=dict(yarn), max_position_embeddings=32768)
assert llama.rope_parameters["original_max_position_embeddings"] == 4096
both = LlamaConfig(rope_scaling=dict(yarn), original_max_position_embeddings=2048, max_position_embeddings=32768)
inner = both.rope_parameters["original_max_position_embeddings"]
print(f"   LlamaConfig with both: the config {both.original_max_position_embeddings}, its rope_parameters {inner}")
assert (both.original_max_position_embeddings, inner) == (2048, 4096)
PY
v/bin/python t.py
