#!/usr/bin/env bash
# Guess: preprocessor_config.json says how Gemma 3 cuts a wide picture: `do_pan_and_scan: true` adds crops.
# Reality: only the image processor alone heeds it. Gemma3Processor, which everything calls, has its own defaults for the four fields of
#   pan and scan, and they win over the folder's: one picture, no crops, no word. The fields count as arguments of the call, all of them:
#   `do_pan_and_scan=True` alone still has a smallest crop of 256 pixels. save_pretrained writes the folder's values back as if they counted.
# Versions: transformers 5.24.0, tokenizers 0.23.3, pillow 13.0.0, numpy 2.4.6 (PyPI)
# For a server author: a folder with `do_pan_and_scan: true` is served by Transformers, and was evaluated, without crops. Parity means
#   ignoring the field; a setting of the request must bring all four.
# Grounds: crossed (a folder's settings and its processor's defaults), 2026
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3 pillow==13.0.0 numpy==2.4.6
cat > t.py <<'PY'
import numpy
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma3.processing_gemma3 import Gemma3Processor

words = ["<pad>", "<unk>", "<start_of_image>", "<end_of_image>", "<image_soft_token>", "see"]
tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", extra_special_tokens={
    "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"})
images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32}, do_pan_and_scan=True, pan_and_scan_min_crop_size=8,
                                 pan_and_scan_max_num_crops=4, pan_and_scan_min_ratio_to_activate=1.2)
processor = Gemma3Processor(image_processor=images, tokenizer=tokenizer, image_seq_length=4)
wide = Image.fromarray(numpy.random.default_rng(0).integers(0, 255, (32, 128, 3), dtype=numpy.uint8))


def count(made):
    return len(numpy.asarray(made["pixel_values"]))


def processed(**more):
    return count(processor(text="see <start_of_image>", images=wide, return_tensors="np", **more))


found = {
    "the image processor": count(images(wide, return_tensors="np")),
    "the whole processor": processed(),
    "with do_pan_and_scan=True": processed(do_pan_and_scan=True),
    "with the smallest crop, too": processed(do_pan_and_scan=True, pan_and_scan_min_crop_size=8),
}
for who, pictures in found.items():
    print(f"{who}: {pictures} pictures")
assert list(found.values()) == [5, 1, 1, 5], found
assert images.do_pan_and_scan, "the settings themselves stay"
PY
v/bin/python t.py
