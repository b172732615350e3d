#!/usr/bin/env bash
# Guess: two loaders make the same RGB picture of a PNG, and 16 bits become 8 by leaving out the lower ones.
# Reality: Transformers paints what is transparent white, mlx-vlm drops the transparency and shows the colour below it, mostly black: a black drawing on nothing is
#   black on white in one and black all over in the other. A grey PNG of 16 bits is cut at 255 by both: all but the darkest 255 of 65536 values are white, so that
#   a scan, an X-ray or a depth map is an empty page. No warning; sizes and tokens are right.
# Versions: transformers 5.24.0 (its PIL processor, no torch), mlx-vlm 0.7.10 with mlx 0.32.2 on the CPU, Pillow 13.0.0.
# For a server author: decide about both before the pixels are made: paint transparency onto white, shift I;16 by 8 bits, and test with such pictures.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 pillow==13.0.0 mlx==0.32.2 mlx-cpu==0.32.2 mlx-lm==0.32.2 requests==2.34.2
v/bin/pip install -q --disable-pip-version-check --no-deps mlx-vlm==0.7.10
cat > t.py <<'PY'
import os
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from importlib.metadata import version
import numpy as np
from PIL import Image, ImageDraw
from mlx_vlm.utils import load_image
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

print({name: version(name) for name in ("transformers", "mlx-vlm", "pillow")})
drawing = Image.new("RGBA", (112, 112), (0, 0, 0, 0))
ImageDraw.Draw(drawing).rectangle((28, 28, 83, 83), fill=(0, 0, 0, 255))
drawing.save("drawing.png")
ramp = np.linspace(0, 65535, 112).astype(np.uint16)[None].repeat(112, 0)
Image.fromarray(ramp).save("ramp.png")

def shares(processor, image):
    """The shares of the red channel that are darkest and brightest, of what the processor makes, on a scale of 0 to 255."""
    pixels = np.array(processor(images=[image], return_tensors="np")["pixel_values"], dtype=np.float32)
    red = pixels.reshape(-1, 3, 2, 14, 14)[:, 0] if pixels.ndim == 2 else pixels[:, 0]
    levels = (red * processor.image_std[0] + processor.image_mean[0]) * 255
    return round(float((levels < 1).mean()), 2), round(float((levels > 254).mean()), 2)

for name in ("drawing.png", "ramp.png"):
    image = Image.open(name)
    seen = np.array(load_image(name))[..., 0]
    ours = round(float((seen == 0).mean()), 2), round(float((seen == 255).mean()), 2)
    print(f"{name}, {image.mode}: black and white in mlx-vlm {ours}", end="")
    for make in (Qwen2VLImageProcessorPil, Gemma3ImageProcessorPil):
        processor = make()
        theirs = shares(processor, image)
        print(f", in Transformers' {make.__name__} {theirs}", end="")
        if name == "drawing.png":
            assert ours == (1.0, 0.0) and 0.2 < theirs[0] < 0.3 and 0.7 < theirs[1] < 0.8, (ours, theirs)
        else:
            assert image.mode == "I;16" and ours[1] > 0.95 and theirs[1] > 0.95, (ours, theirs)
    print()
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
