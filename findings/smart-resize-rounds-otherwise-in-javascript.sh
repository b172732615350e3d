#!/usr/bin/env bash
# Guess: Qwen2-VL's `smart_resize` is one function; transformers.js and Transformers cut an image into the same number of patches.
# Reality: Python's `round` takes a half to the even number, `Math.round` upwards: 70x70 pixels are 56x56 and 4 image tokens in Python,
#   84x84 and 9 in JavaScript. Images with a side below 28 differ by more: transformers.js enlarges them first (as GLM's version of the
#   function does), so 14x300 is 28x588 and 21 tokens against 28x280 and 10.
# Versions: transformers 5.24.0 (its PIL processor, no torch), Pillow 13.0.0, @huggingface/transformers 4.3.2 (npm, about 500 MB).
# For a server author: Rust's `f64::round` is neither (halves away from zero: as in JavaScript here). One token too many and the positions
#   of all later text move; a test against transformers.js blesses the wrong one. Use `round_ties_even`; sides of 28 n + 14 are the test.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 pillow==13.0.0
npm install --silent --no-fund --no-audit --ignore-scripts @huggingface/transformers@4.3.2 > /dev/null
npm ls --depth=0 | grep @huggingface
cat > t.py <<'PY'
import json, subprocess
from importlib.metadata import version
import numpy as np
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

print({name: version(name) for name in ("transformers", "pillow")})
rows = [((70, 70), (56, 56), (84, 84)), ((98, 42), (112, 56), (112, 56)), ((126, 126), (112, 112), (140, 140)),
        ((210, 350), (224, 336), (224, 364)), ((640, 490), (644, 504), (644, 504)), ((14, 300), (28, 280), (28, 588))]
config = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, "size": {"shortest_edge": 3136, "longest_edge": 12845056}}
python = Qwen2VLImageProcessorPil(**config)
asked = json.dumps([config, [size for size, _, _ in rows]])
javascript = json.loads(subprocess.run(["node", "t.mjs", asked], capture_output=True, text=True, check=True).stdout)
for (size, one, two), other in zip(rows, javascript):
    image = Image.fromarray(np.zeros((size[1], size[0], 3), dtype=np.uint8))
    _, height, width = np.array(python(images=[image], return_tensors="np")["image_grid_thw"])[0].tolist()
    seen = (width * 14, height * 14), tuple(other)
    tokens = [width * height // 784 for width, height in seen]
    print(f"{size}: Python {seen[0]}, {tokens[0]} tokens; JavaScript {seen[1]}, {tokens[1]} tokens")
    assert seen == (one, two), seen
PY
cat > t.mjs <<'JS'
import { Qwen2VLImageProcessor } from "@huggingface/transformers";
const [config, sizes] = JSON.parse(process.argv[2]);
const processor = new Qwen2VLImageProcessor({ ...config, do_resize: true });
console.log(JSON.stringify(sizes.map(([width, height]) => processor.get_resize_output_image_size({ width, height }))));
JS
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
