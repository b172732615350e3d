#!/usr/bin/env bash
# Guess: config.json holds numbers where Transformers has numbers; an infinite limit is written as Infinity, as Python's json does,
#   or left out.
# Reality: Transformers 5 writes {"__float__": "Infinity"} in its place, anywhere in the file. GraniteMoeHybrid and Nemotron-H have
#   such a number by default (time_step_limit [0.0, inf]). Transformers and mlx-lm turn the tag back when they read. A reader with
#   typed fields refuses the folder, and a lenient one compares a number with an object.
# Versions: transformers 5.24.0, mlx-lm 0.32.2 with mlx 0.32.2 on the CPU.
# For a server author: it shows up only in folders that were saved again (fine-tuned, quantised), never in the published ones that
#   a reader was tested with. Decode the tag before the fields are read, wherever it stands.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 mlx-lm==0.32.2 mlx==0.32.2 mlx-cpu==0.32.2
cat > t.py <<'PY'
import json, math
from importlib.metadata import version
from pathlib import Path
from mlx_lm.utils import load_config
from transformers import AutoConfig, GraniteMoeHybridConfig

print({name: version(name) for name in ("transformers", "mlx-lm")})
folder = Path("model")
GraniteMoeHybridConfig(num_hidden_layers=2, layer_types=["mamba", "attention"]).save_pretrained(folder)
plain = json.loads((folder / "config.json").read_text())["time_step_limit"]
read = load_config(folder)["time_step_limit"], list(AutoConfig.from_pretrained(folder).time_step_limit)
print("config.json:", json.dumps(plain), "| mlx-lm:", read[0], "| Transformers:", read[1])
assert plain == [0.0, {"__float__": "Infinity"}]
assert read == ([0.0, math.inf], [0.0, math.inf])
try:
    print(min(0.5, plain[1]))
except TypeError as error:
    print("as it stands in the file:", error)
else:
    raise SystemExit("the tag compares with a number now")
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
