#!/usr/bin/env bash
# Guess: a transparent PNG looks the same to one model in mlx-vlm and in Transformers; at most a border differs.
# Reality: mlx-vlm drops the alpha channel and shows the colour that lies under it, black in most exports. Transformers' processors paint
#   the picture on white. Black writing on a transparent ground, such as a logo, a formula or a screenshot, is one black square to mlx-vlm.
# Versions: mlx-vlm 0.7.10, mlx 0.32.4 (CPU), transformers 5.24.0, pillow 13.0.0, numpy 2.4.6 (PyPI)
# For a server author: decide on a ground, and say so. White is what the models' own processors use.
# Grounds: crossed (mlx-vlm and Transformers read one file), costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check 'mlx[cpu]==0.32.4' transformers==5.24.0 pillow==13.0.0 numpy==2.4.6 requests jinja2 safetensors
v/bin/pip install -q --disable-pip-version-check --no-deps mlx-vlm==0.7.10
cat > t.py <<'PY'
import numpy
from mlx_vlm.utils import load_image
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

# A black stroke on a transparent ground.
drawn = numpy.zeros((56, 56, 4), dtype=numpy.uint8)
drawn[24:32, 8:48] = (0, 0, 0, 255)
Image.fromarray(drawn).save("stroke.png")
levels = sorted(set(numpy.asarray(load_image("stroke.png")).flatten().tolist()))
print("mlx-vlm:", levels)
assert levels == [0], levels
plain = {"do_rescale": False, "do_normalize": False}
for processor in (SiglipImageProcessorPil(size={"height": 56, "width": 56}, do_convert_rgb=True, **plain),
                  Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=56 * 56, **plain)):
    pixels = numpy.asarray(processor(Image.open("stroke.png"), return_tensors="np")["pixel_values"])
    levels = sorted(set(pixels.flatten().tolist()))
    print(f"{type(processor).__name__}:", levels)
    assert levels[0] == 0 and levels[-1] == 255, levels
PY
v/bin/python t.py
