"""Golden files for image-input: goldens_images.py OUT

OUT/pictures/    small image files of all kinds, made here
OUT/decoded/     what Pillow makes of those whose format is lossy, as PNG
OUT/decoded.json size and SHA-256 of the upright RGB bytes on white that Pillow and Transformers make of each file
OUT/prepared.json  settings as model folders have them, and for some pictures what AutoImageProcessor and the processor's
                 replace_image_token make of them: shape, grid, text with runs of image tokens as `token*count`, SHA-256 of
                 the little-endian float32 pixel_values, and a few of them

Needs torch, torchvision, transformers, numpy and Pillow.
"""
import hashlib
import io
import json
import os
import re
import shutil
import struct
import sys
import tempfile
import zlib
from types import SimpleNamespace

import numpy as np
import PIL.Image
import PIL.ImageOps
from transformers import AutoImageProcessor
from transformers.image_transforms import convert_to_rgb
from transformers.models.gemma3.processing_gemma3 import Gemma3Processor
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
from transformers.models.internvl.processing_internvl import InternVLProcessor
from transformers.models.llava.processing_llava import LlavaProcessor
from transformers.models.paligemma.processing_paligemma import PaliGemmaProcessor
from transformers.models.pixtral.processing_pixtral import PixtralProcessor
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor

CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
HALVES = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
ORIENTATION = 0x0112


def scene(width, height, noise=0, bands=3):
    """Slopes, edges, thin lines and some noise: whatever a filter may blur or overshoot."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [255 * x // max(width - 1, 1), 255 * y // max(height - 1, 1), (255 * ((x // 16 + y // 16) % 2)),
              255 - 255 * (x + y) // max(width + height - 2, 1)][:bands]
    picture = np.stack(planes, -1).astype(np.int64)
    picture[(x - width // 3) ** 2 + (y - height // 2) ** 2 < (min(width, height) // 4) ** 2] = [250, 20, 60, 128][:bands]
    picture[y == height // 5] = 0
    picture[x == 2 * width // 3] = 255
    if noise:
        picture += np.random.default_rng(7).integers(-noise, noise + 1, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def png(array, depth, kind):
    """A PNG of 16-bit samples, which Pillow does not write for most kinds."""
    height, width = array.shape[:2]

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def files():
    """Name and bytes of each picture."""
    made = {}

    def save(name, image, **options):
        into = io.BytesIO()
        image.save(into, name.split(".")[-1].replace("jpg", "jpeg").replace("tif", "tiff"), **options)
        made[name] = into.getvalue()

    def image(*size, **options):
        return PIL.Image.fromarray(scene(*size, **options))

    small = image(110, 75, noise=9)
    save("photo.png", small)
    save("wide.png", image(640, 200))
    save("tall.png", image(60, 200))
    save("large.png", image(1300, 900))
    save("square.png", image(224, 224))
    save("pixel.png", image(1, 1))
    save("line.png", PIL.Image.new("RGB", (20000, 1), (9, 99, 200)))
    save("bit.png", image(40, 30).convert("1"))
    save("grey.png", image(40, 30).convert("L"))
    save("palette.png", image(40, 30).quantize(17))
    save("palette_alpha.png", image(40, 30).quantize(17), transparency=bytes(range(0, 255, 15)))
    save("palette_key.png", image(40, 30).quantize(17), transparency=3)
    save("grey_key.png", image(40, 30).convert("L"), transparency=100)
    save("alpha.png", PIL.Image.fromarray(scene(110, 75, bands=4), "RGBA"))
    save("grey_alpha.png", PIL.Image.fromarray(scene(40, 30, bands=4), "RGBA").convert("LA"))
    deep = scene(40, 30, bands=4).astype(np.uint16) * 257 ^ 0x5a
    made["rgb16.png"] = png(deep[..., :3], 16, 2)
    made["rgba16.png"] = png(deep, 16, 6)
    made["grey_alpha16.png"] = png(deep[..., 2:], 16, 4)
    made["grey16.png"] = png(deep[..., :1], 16, 0)
    save("photo.jpg", small, quality=90, subsampling=0)
    save("photo_420.jpg", small, quality=90, subsampling=2)
    save("progressive.jpg", small, quality=80, subsampling=0, progressive=True)
    save("grey.jpg", small.convert("L"), quality=90)
    save("cmyk.jpg", image(40, 30).convert("CMYK"), quality=95)
    for orientation in range(1, 9):
        exif = PIL.Image.Exif()
        exif[ORIENTATION] = orientation
        save(f"exif{orientation}.jpg", image(24, 16), quality=95, subsampling=0, exif=exif)
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = 6
    save("exif6.png", image(24, 16), exif=exif)
    save("exif6.webp", image(24, 16), lossless=True, exif=exif)
    save("lossy.webp", small, quality=80)
    save("alpha.webp", PIL.Image.fromarray(scene(40, 30, bands=4), "RGBA"), lossless=True, exact=True)
    save("plain.gif", image(40, 30).quantize(64))
    frames = [image(40, 30).quantize(16), PIL.Image.new("P", (40, 30))]
    save("moving.gif", frames[0], save_all=True, append_images=frames[1:], transparency=2)
    save("plain.bmp", image(40, 30))
    save("plain.tif", image(40, 30), compression="tiff_lzw")
    return made


def read(data):
    """The upright RGB bytes on white, as Transformers reads a Pillow image."""
    return convert_to_rgb(PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data))), return_numpy=True)


def vision(**keys):
    return {"vision_config": keys}


IDEFICS = {"image_processor_type": "Idefics3ImageProcessor", "do_convert_rgb": True, "do_image_splitting": True,
           "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True, "resample": 1,
           "rescale_factor": 1 / 255, "max_image_size": {"longest_edge": 128}, "size": {"longest_edge": 512}} | HALVES
QWEN = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136, "max_pixels": 200704, "patch_size": 14,
        "merge_size": 2, "temporal_patch_size": 2} | CLIP
# Name: config.json, preprocessor_config.json, processor_config.json, pictures.
ALL = ["photo.png", "wide.png", "tall.png", "large.png", "square.png", "pixel.png", "alpha.png", "line.png"]
SETTINGS = {
    "smolvlm": ({"model_type": "smolvlm", "scale_factor": 4} | vision(patch_size=16, image_size=128),
                IDEFICS | {"image_processor_type": "SmolVLMImageProcessor"}, {"image_seq_len": 4}, ALL[:-1]),
    "idefics3": ({"model_type": "idefics3", "scale_factor": 2} | vision(patch_size=14, image_size=364),
                 IDEFICS | {"max_image_size": {"longest_edge": 364}, "size": {"longest_edge": 728}},
                 {"image_seq_len": 169}, ["photo.png", "large.png"]),
    "idefics3-single": ({"model_type": "idefics3", "scale_factor": 2} | vision(patch_size=16),
                        IDEFICS | {"do_image_splitting": False}, {"image_seq_len": 16}, ["photo.png", "wide.png", "tall.png"]),
    "idefics3-bicubic": ({"model_type": "idefics3", "scale_factor": 2} | vision(patch_size=16),
                         IDEFICS | {"resample": 3}, {"image_seq_len": 16}, ["photo.png", "wide.png"]),
    "qwen2_vl": ({"model_type": "qwen2_vl"}, QWEN, None, ALL),
    "qwen2_5_vl": ({"model_type": "qwen2_5_vl"}, QWEN | {"min_pixels": None, "max_pixels": None, "size": {
        "shortest_edge": 3136, "longest_edge": 50176}}, None, ["photo.png", "large.png"]),
    # New form, all in processor_config.json.
    "qwen3_vl": ({"model_type": "qwen3_vl"}, None, {"processor_class": "Qwen3VLProcessor", "image_processor": {
        "image_processor_type": "Qwen2VLImageProcessor", "patch_size": 16, "merge_size": 2, "temporal_patch_size": 2,
        "size": {"shortest_edge": 65536, "longest_edge": 262144}} | HALVES}, ["photo.png", "wide.png", "alpha.png"]),
    "gemma3": ({"model_type": "gemma3", "mm_tokens_per_image": 256} | vision(patch_size=14, image_size=896),
               {"image_processor_type": "Gemma3ImageProcessor", "do_pan_and_scan": None, "do_convert_rgb": None,
                "size": {"height": 896, "width": 896}, "resample": 2} | HALVES, {"image_seq_length": 256},
               ["photo.png", "large.png"]),
    "gemma3-small": ({"model_type": "gemma3"} | vision(patch_size=14, image_size=56),
                     {"image_processor_type": "Gemma3ImageProcessor", "size": {"height": 56, "width": 56}, "resample": 2}
                     | HALVES, {"image_seq_length": 4}, ALL[:-1]),
    "llava": ({"model_type": "llava", "vision_feature_select_strategy": "default"}
              | vision(model_type="clip_vision_model", patch_size=14, image_size=336),
              {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 336}, "do_center_crop": True,
               "crop_size": {"height": 336, "width": 336}, "resample": 3} | CLIP,
              {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1,
               "image_token": "<image>"}, ALL[:-1]),
    "llava-full": ({"model_type": "llava"} | vision(model_type="clip_vision_model", patch_size=14, image_size=56),
                   {"image_processor_type": "LlavaImageProcessor", "size": {"shortest_edge": 40}, "do_pad": True,
                    "crop_size": {"height": 56, "width": 56}} | CLIP,
                   {"patch_size": 14, "vision_feature_select_strategy": "full", "num_additional_image_tokens": 1},
                   ["photo.png", "wide.png", "tall.png"]),
    "mistral3": ({"model_type": "mistral3", "spatial_merge_size": 2} | vision(model_type="pixtral", patch_size=14),
                 {"image_processor_type": "PixtralImageProcessorFast", "patch_size": 14, "size": {"longest_edge": 1540}} | CLIP,
                 {"patch_size": 14, "spatial_merge_size": 2, "image_token": "[IMG]", "image_break_token": "[IMG_BREAK]",
                  "image_end_token": "[IMG_END]"}, ALL[:-1]),
    "pixtral": ({"model_type": "llava"} | vision(model_type="pixtral", patch_size=16),
                {"image_processor_type": "PixtralImageProcessor", "patch_size": {"height": 16, "width": 16},
                 "size": {"longest_edge": 256}} | CLIP, {"patch_size": 16, "image_token": "[IMG]"},
                ["photo.png", "large.png", "tall.png"]),
    "internvl": ({"model_type": "internvl", "image_seq_length": 256}
                 | vision(patch_size=[14, 14], image_size=[448, 448]),
                 {"image_processor_type": "GotOcr2ImageProcessorFast", "size": {"height": 448, "width": 448},
                  "min_patches": 1, "max_patches": 12, "crop_to_patches": False} | CLIP, {"image_seq_length": 256},
                 ["photo.png", "wide.png", "large.png"]),
    "internvl-small": ({"model_type": "internvl"} | vision(patch_size=[14, 14], image_size=[56, 56]),
                       {"image_processor_type": "GotOcr2ImageProcessor", "size": {"height": 56, "width": 56},
                        "max_patches": 6} | CLIP, {"image_seq_length": 4}, ALL[:-1]),
    "paligemma": ({"model_type": "paligemma"} | vision(patch_size=14, image_size=224),
                  {"image_processor_type": "SiglipImageProcessor", "size": {"height": 224, "width": 224},
                   "image_seq_length": 256} | HALVES, None, ["photo.png", "large.png", "pixel.png"]),
    "gemma4": ({"model_type": "gemma4"} | vision(patch_size=16),
               {"image_processor_type": "Gemma4ImageProcessor", "patch_size": 16, "max_soft_tokens": 70,
                "pooling_kernel_size": 3}, {"image_seq_length": 280}, ALL[:-2]),
}


def replacement(kind, processor, image_processor, out):
    """The text that stands for the image, by the processor's own function."""
    get = (processor or {}).get
    if kind in ("smolvlm", "idefics3"):
        # SmolVLM's function is the same, but its module needs another package.
        return Idefics3Processor.replace_image_token(SimpleNamespace(
            fake_image_token="<fake_token_around_image>", image_token="<image>", global_image_tag="<global-img>",
            image_seq_len=get("image_seq_len")), out, 0), "<image>"
    if kind.startswith("qwen"):
        return Qwen2VLProcessor.replace_image_token(SimpleNamespace(
            image_token="<|image_pad|>", image_processor=image_processor), out, 0), "<|image_pad|>"
    if kind == "gemma3":
        sequence = "<image_soft_token>" * get("image_seq_length")
        return Gemma3Processor.replace_image_token(SimpleNamespace(
            full_image_sequence=f"\n\n<start_of_image>{sequence}<end_of_image>\n\n"), out, 0), "<image_soft_token>"
    if kind == "mistral3" or "Pixtral" in type(image_processor).__name__:
        return PixtralProcessor.replace_image_token(SimpleNamespace(
            image_token="[IMG]", image_break_token="[IMG_BREAK]", image_end_token="[IMG_END]",
            patch_size=get("patch_size", 16), spatial_merge_size=get("spatial_merge_size", 1)), out, 0), "[IMG]"
    if kind == "llava":
        return LlavaProcessor.replace_image_token(SimpleNamespace(
            image_token="<image>", patch_size=get("patch_size"),
            vision_feature_select_strategy=get("vision_feature_select_strategy"),
            num_additional_image_tokens=get("num_additional_image_tokens")), out, 0), "<image>"
    if kind == "internvl":
        return InternVLProcessor.replace_image_token(SimpleNamespace(
            start_image_token="<img>", end_image_token="</img>", image_token="<IMG_CONTEXT>",
            image_seq_length=get("image_seq_length")), out, 0), "<IMG_CONTEXT>"
    if kind == "paligemma":
        return PaliGemmaProcessor.replace_image_token(SimpleNamespace(image_token="<image>", image_seq_length=256), out, 0), "<image>"
    return Gemma4Processor.replace_image_token(SimpleNamespace(
        boi_token="<|image>", image_token="<|image|>", eoi_token="<image|>"), out, 0), "<|image|>"


def options(kind, processor):
    """What the processor class gives its image processor at each call."""
    if kind in ("smolvlm", "idefics3"):
        return Idefics3Processor.images_kwargs
    if kind == "gemma3":
        return Gemma3Processor.images_kwargs
    if kind == "internvl":
        return InternVLProcessor.images_kwargs
    if processor and "spatial_merge_size" in processor:
        return {"patch_size": processor["patch_size"] * processor["spatial_merge_size"]}
    return {}


def prepared(kind, config, processor, image_processor, picture):
    out = image_processor(PIL.Image.fromarray(picture), return_tensors="pt", **options(kind, processor))
    pixels = out["pixel_values"]
    if kind in ("smolvlm", "idefics3"):
        pixels = pixels[0]
    if kind == "gemma4":
        # Without the rows that fill it up.
        pixels = pixels[0][(out["image_position_ids"][0] >= 0).all(-1)]
    if kind.startswith("qwen"):
        grid = out["image_grid_thw"][0].tolist()
    elif kind == "gemma4":
        columns, rows = (out["image_position_ids"][0].max(0).values + 1).tolist()
        grid = [1, rows, columns]
    else:
        patch = config["vision_config"]["patch_size"]
        patch = patch[0] if isinstance(patch, list) else patch
        grid = [pixels.shape[0], pixels.shape[-2] // patch, pixels.shape[-1] // patch]
    text, token = replacement(kind, processor, image_processor, out)
    pixels = pixels.numpy().astype("<f4")
    flat = pixels.reshape(-1)
    return {"shape": list(pixels.shape), "grid": grid, "features": text.count(token),
            "text": re.sub(f"(?:{re.escape(token)})+", lambda run: f"{token}*{len(run[0]) // len(token)}", text),
            "sha256": hashlib.sha256(flat.tobytes()).hexdigest(),
            "samples": {str(at): float(flat[at]) for at in range(0, len(flat), max(1, len(flat) // 6))}}


def write(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def main(out):
    for folder in ["pictures", "decoded"]:
        shutil.rmtree(os.path.join(out, folder), ignore_errors=True)
        os.makedirs(os.path.join(out, folder))
    pictures, decoded = {}, {}
    for name, data in files().items():
        with open(os.path.join(out, "pictures", name), "wb") as f:
            f.write(data)
        pictures[name] = rgb = read(data)
        decoded[name] = {"width": rgb.shape[1], "height": rgb.shape[0], "sha256": hashlib.sha256(rgb.tobytes()).hexdigest()}
        if name.endswith(".jpg") or name == "lossy.webp":
            PIL.Image.fromarray(rgb).save(os.path.join(out, "decoded", name + ".png"), optimize=True)
    write(os.path.join(out, "decoded.json"), decoded)
    goldens = []
    for name, (config, preprocessor, processor, chosen) in SETTINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            for file, value in [("config", config), ("preprocessor_config", preprocessor), ("processor_config", processor)]:
                if value is not None:
                    write(os.path.join(folder, file + ".json"), value)
            image_processor = AutoImageProcessor.from_pretrained(folder)
        results = {}
        for picture in chosen:
            try:
                results[picture] = prepared(config["model_type"], config, processor, image_processor, pictures[picture])
            except ValueError as error:
                results[picture] = {"error": str(error)}
        goldens.append({"name": name, "config": config, "preprocessor": preprocessor, "processor": processor, "results": results})
        print(name, type(image_processor).__name__, {k: v.get("shape", v.get("error")) for k, v in results.items()}, flush=True)
    write(os.path.join(out, "prepared.json"), goldens)


if __name__ == "__main__":
    main(sys.argv[1])
