#!/usr/bin/env bash
# Guess: `resample` in preprocessor_config.json is the filter that an image is resized with; who ports a processor reads it there.
# Reality: HunYuan-VL's says 1 (Lanczos). Transformers reads the key and resizes with bicubic whatever it says; mlx-vlm's own processor
#   has no such setting and takes bilinear. Same grid, same tokens, other pixels: by up to a fifth of the range on a noisy image.
# Versions: transformers 5.24.0 (its PIL processor, no torch), mlx-vlm 0.7.10 with mlx 0.32.2 on the CPU, Pillow 13.0.0.
# For a server author: a port that follows the config is wrong here, and a test against mlx-vlm blesses another wrong one. Compare pixels, not
#   grids, with the family's reference before trusting any of the keys.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 pillow==13.0.0 mlx==0.32.2 mlx-cpu==0.32.2 mlx-lm==0.32.2 requests==2.34.2
v/bin/pip install -q --disable-pip-version-check --no-deps mlx-vlm==0.7.10
cat > t.py <<'PY'
from importlib.metadata import version
import numpy as np
from PIL import Image
from transformers.models.hunyuan_vl.image_processing_pil_hunyuan_vl import HunYuanVLImageProcessorPil
from mlx_vlm.models.hunyuan_vl.processing_hunyuan_vl import HunYuanVLImageProcessor

print({name: version(name) for name in ("transformers", "mlx-vlm", "pillow")})
image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8))
config = {"resample": 1, "patch_size": 16, "merge_size": 2, "temporal_patch_size": 1}
one = HunYuanVLImageProcessorPil(**config)
two = HunYuanVLImageProcessor(**config)
first, second = one(images=[image], return_tensors="np"), two(images=[image])
grid = np.array(first["image_grid_thw"])[0].tolist()
assert grid == np.array(second["image_grid_thw"])[0].tolist()
size = grid[2] * 16, grid[1] * 16
pixels = {"Transformers": np.array(first["pixel_values"], dtype=np.float32), "mlx-vlm": np.array(second["pixel_values"], dtype=np.float32)}
best = {}
for name, seen in pixels.items():
    off = {}
    for taken in ("LANCZOS", "BICUBIC", "BILINEAR"):
        resized = image.resize(size, getattr(Image.Resampling, taken))
        same = np.array(one(images=[resized], return_tensors="np")["pixel_values"], dtype=np.float32)
        off[taken] = float(np.abs(same - seen.reshape(same.shape)).max())
    best[name] = min(off, key=off.get)
    print(f"{name}, config says LANCZOS: nearest {best[name]}", {taken: round(by, 4) for taken, by in off.items()})
    assert off[best[name]] < 1e-4
assert best == {"Transformers": "BICUBIC", "mlx-vlm": "BILINEAR"}
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
