"""Toy models that see, and what Transformers computes with them: goldens_vision.py OUT [FAMILY..]

OUT/<toy>/: config.json in the published form, model.safetensors, and reference.json: the pixels' seed and shape, their grid, the
prompt, features of the tower, logits of the last tokens, and greedy tokens. Everything is computed by torch in float32 with eager
attention.
"""
import json
import math
import shutil
import sys
from pathlib import Path

import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)

STEPS, LAST = 16, 3
IMAGE, VIDEO, START, END = 150, 151, 152, 153
TEXT = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6, "vocab_size": 160, "max_position_embeddings": 256, "hidden_act": "silu"}
SIGLIP = {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_channels": 3,
          "layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh"}
IDEFICS3 = {"text_config": TEXT | {"model_type": "llama", "rope_theta": 10000.0, "pad_token_id": 0, "tie_word_embeddings": False},
            "scale_factor": 2, "image_token_id": IMAGE, "pad_token_id": 0, "tie_word_embeddings": False,
            "vision_config": SIGLIP | {"model_type": "idefics3_vision", "patch_size": 8, "image_size": 48}}
QWEN_TOKENS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START, "vision_end_token_id": END}
QWEN_TOWER = {"depth": 2, "num_heads": 2, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}


def sections(*sizes, **more):
    return {"rope_type": "default", "mrope_section": list(sizes), "rope_theta": 10000.0} | more


# A toy: config.json, shape of the pixels, grid, and image tokens.
TOYS = {
    # Six by six patches of two tiles.
    "idefics3": (IDEFICS3, [2, 3, 48, 48], [2, 6, 6], 18),
    "smolvlm": (IDEFICS3 | {"scale_factor": 3, "vision_config": IDEFICS3["vision_config"] | {"model_type": "smolvlm_vision"}},
                [3, 3, 48, 48], [3, 6, 6], 12),
    # The older form: the language model's fields are outside.
    "qwen2_vl": (TEXT | QWEN_TOKENS | {
        "rope_theta": 10000.0, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, "tie_word_embeddings": False,
        "vision_config": QWEN_TOWER | {"patch_size": 8, "embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2,
                                       "hidden_act": "quick_gelu"}}, [48, 384], [1, 6, 8], 12),
    "qwen2_vl-nested": (QWEN_TOKENS | {
        "text_config": TEXT | {"model_type": "qwen2_vl_text", "rope_parameters": sections(2, 3, 3), "tie_word_embeddings": True},
        "tie_word_embeddings": True,
        "vision_config": QWEN_TOWER | {"patch_size": 8, "embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2,
                                       "hidden_act": "quick_gelu"}}, [32, 384], [1, 8, 4], 8),
    # Windows of four by four patches, the last ones smaller.
    "qwen2_5_vl": (TEXT | QWEN_TOKENS | {
        "rope_theta": 10000.0, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, "tie_word_embeddings": False,
        "vision_config": QWEN_TOWER | {"patch_size": 8, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64,
                                       "window_size": 32, "fullatt_block_indexes": [1], "hidden_act": "silu"}},
        [60, 384], [1, 6, 10], 15),
    "qwen3_vl": (QWEN_TOKENS | {
        "text_config": TEXT | {"model_type": "qwen3_vl_text", "head_dim": 16, "rope_theta": 10000.0, "attention_bias": False,
                               "rope_scaling": {"rope_type": "default", "mrope_section": [3, 3, 2], "mrope_interleaved": True}},
        "tie_word_embeddings": False,
        "vision_config": QWEN_TOWER | {"patch_size": 8, "hidden_size": 16, "intermediate_size": 48, "out_hidden_size": 64,
                                       "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1],
                                       "hidden_act": "gelu_pytorch_tanh"}}, [48, 384], [1, 6, 8], 12),
    "qwen3_vl_moe": (QWEN_TOKENS | {
        "text_config": TEXT | {"model_type": "qwen3_vl_moe_text", "head_dim": 16, "rope_theta": 10000.0, "attention_bias": False,
                               "rope_scaling": {"rope_type": "default", "mrope_section": [3, 3, 2], "mrope_interleaved": True},
                               "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1,
                               "mlp_only_layers": [], "norm_topk_prob": True},
        "tie_word_embeddings": False,
        "vision_config": QWEN_TOWER | {"patch_size": 8, "hidden_size": 16, "intermediate_size": 48, "out_hidden_size": 64,
                                       "num_position_embeddings": 16, "deepstack_visual_indexes": [1],
                                       "hidden_act": "gelu_pytorch_tanh"}}, [48, 384], [1, 6, 8], 12),
    "qwen3_5": (QWEN_TOKENS | {
        "text_config": TEXT | {"model_type": "qwen3_5_text", "num_hidden_layers": 2, "head_dim": 16, "linear_num_value_heads": 4,
                               "linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
                               "linear_conv_kernel_dim": 4, "layer_types": ["linear_attention", "full_attention"],
                               "full_attention_interval": 2, "tie_word_embeddings": False,
                               "rope_parameters": sections(1, 1, 0, mrope_interleaved=True, partial_rotary_factor=0.25)},
        "tie_word_embeddings": False,
        "vision_config": QWEN_TOWER | {"patch_size": 8, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64,
                                       "num_position_embeddings": 16, "deepstack_visual_indexes": [],
                                       "hidden_act": "gelu_pytorch_tanh"}}, [48, 384], [1, 8, 6], 12),
    # Read before the last layer, without the first token.
    "llava": ({"text_config": TEXT | {"model_type": "llama", "rope_theta": 10000.0, "tie_word_embeddings": False},
               "image_token_index": IMAGE, "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
               "image_seq_length": 16, "projector_hidden_act": "gelu", "tie_word_embeddings": False,
               "vision_config": {"model_type": "clip_vision_model", "num_hidden_layers": 3, "hidden_size": 32,
                                 "intermediate_size": 48, "projection_dim": 32, "num_attention_heads": 2, "patch_size": 8,
                                 "image_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}},
              [1, 3, 32, 32], [1, 4, 4], 16),
    "mistral3": ({"text_config": TEXT | {"model_type": "mistral", "head_dim": 16, "sliding_window": None, "rope_theta": 10000.0,
                                         "tie_word_embeddings": False},
                  "image_token_index": IMAGE, "spatial_merge_size": 2, "vision_feature_layer": -1,
                  "projector_hidden_act": "gelu", "multimodal_projector_bias": False, "tie_word_embeddings": False,
                  "vision_config": {"model_type": "pixtral", "num_hidden_layers": 2, "hidden_size": 32, "head_dim": 16,
                                    "intermediate_size": 48, "num_attention_heads": 2, "num_channels": 3, "image_size": 64,
                                    "patch_size": 8, "hidden_act": "silu", "rope_theta": 10000.0}},
                 [1, 3, 32, 48], [1, 4, 6], 6),
    # Its tower only; the language model is as small as it can be.
    "gemma3": ({"text_config": TEXT | {"model_type": "gemma3_text", "num_hidden_layers": 1, "head_dim": 16, "sliding_window": 64,
                                       "layer_types": ["full_attention"], "query_pre_attn_scalar": 16,
                                       "hidden_activation": "gelu_pytorch_tanh"},
                "image_token_index": IMAGE, "boi_token_index": START, "eoi_token_index": END, "mm_tokens_per_image": 4,
                "vision_config": SIGLIP | {"model_type": "siglip_vision_model", "patch_size": 8, "image_size": 48,
                                           "vision_use_head": False}}, [1, 3, 48, 48], [1, 6, 6], 4),
}


def pixels(seed, shape):
    """Numbers between -1 and 1 by SplitMix64."""
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(seed) + numpy.arange(1, math.prod(shape) + 1, dtype=numpy.uint64) * numpy.uint64(0x9e3779b97f4a7c15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xbf58476d1ce4e5b9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94d049bb133111eb)
        z = z ^ (z >> numpy.uint64(31))
    values = (z >> numpy.uint64(40)).astype(numpy.float32) / numpy.float32(1 << 23) - numpy.float32(1)
    return torch.tensor(values.reshape(shape))


def build(name, config):
    """The model with weights that follow from a seed."""
    config = transformers.AutoConfig.for_model(name, **json.loads(json.dumps(config)))
    config._attn_implementation = "eager"
    kind = transformers.AutoModelForImageTextToText._model_mapping[type(config)]
    model = kind(config).float().eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for path, weight in model.named_parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            is_norm = any(part in path for part in ("norm", "ln_q")) and path.endswith("weight")
            if is_norm:
                weight.copy_((0 if name.startswith("gemma3") and "vision" not in path else 1) + 0.1 * drawn)
            elif weight.ndim < 2:
                weight.copy_(0.1 * drawn)
            elif "embed" in path and "patch" not in path:
                weight.copy_(drawn)
            else:
                weight.copy_(1.5 * drawn / math.sqrt(max(1, math.prod(weight.shape[1:]))))
            # Half of the bits, so that the files are small and their numbers exact.
            weight.copy_(weight.bfloat16().float())
    return model


def inputs(name, x, grid):
    """The names that Transformers gives to the pixels and what belongs to them."""
    if name.startswith("qwen"):
        return {"pixel_values": x, "image_grid_thw": torch.tensor([grid])}
    if name in ("idefics3", "smolvlm"):
        return {"pixel_values": x[None]}
    if name in ("mistral3", "pixtral"):
        return {"pixel_values": x, "image_sizes": torch.tensor([list(x.shape[2:])])}
    return {"pixel_values": x}


def features(model, given):
    """The features of the image, and those that are added to later layers."""
    out = model.model.get_image_features(**given, return_dict=True)
    rows = out.pooler_output
    rows = torch.cat(list(rows)) if isinstance(rows, (list, tuple)) else rows
    deep = [torch.cat(list(layer)) if isinstance(layer, (list, tuple)) else layer
            for layer in getattr(out, "deepstack_features", None) or []]
    return rows.reshape(-1, rows.shape[-1]), [layer.reshape(-1, layer.shape[-1]) for layer in deep]


def flat(x):
    return [round(value, 6) for value in x.flatten().tolist()]


def reference(name, model, shape, grid, count):
    """What Transformers computes."""
    seed = 7
    given = inputs(name, pixels(seed, shape), grid)
    prompt = [2, 5, 9, 11, START] + [IMAGE] * count + [END, 13, 17, 19, 23, 29, 31, 37]
    ids, greedy, leads, first = torch.tensor([prompt]), [], [], None
    with torch.no_grad():
        rows, deep = features(model, given)
        for _ in range(STEPS):
            kinds = {"qwen": "mm_token_type_ids", "gemm": "token_type_ids"}.get(name[:4])
            more = {kinds: (ids == IMAGE).long()} if kinds else {}
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **given, **more).logits[0]
            first = logits if first is None else first
            # No token that stands for an image.
            chosen = logits[-1, :IMAGE]
            best = chosen.topk(2).values
            greedy.append(int(chosen.argmax()))
            leads.append(round(float(best[0] - best[1]), 5))
            ids = torch.cat([ids, torch.tensor([[greedy[-1]]])], 1)
    print(name, "features", list(rows.shape), "spread", round(float(first.std()), 2), "least lead", min(leads), flush=True)
    return {"seed": seed, "shape": shape, "grid": grid, "prompt": prompt, "image_token": IMAGE, "features": flat(rows),
            "deep": [flat(layer) for layer in deep], "logits": [flat(row) for row in first[-LAST:]], "greedy": greedy, "leads": leads}


def published(name, tensors):
    """The names that published files have; those of Transformers 5 differ."""
    return tensors


def main():
    out = Path(sys.argv[1])
    for toy, (config, shape, grid, count) in TOYS.items():
        if sys.argv[2:] and toy not in sys.argv[2:]:
            continue
        name = toy.split("-")[0]
        model = build(name, config)
        folder = out / toy
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        result = reference(name, model, shape, grid, count)
        (folder / "reference.json").write_text(json.dumps(result) + "\n")
        (folder / "config.json").write_text(json.dumps({"model_type": name} | config, indent=1) + "\n")
        model.save_pretrained(folder / "saved")
        tensors = {}
        for file in sorted((folder / "saved").glob("*.safetensors")):
            tensors |= load_file(file)
        shutil.rmtree(folder / "saved")
        tensors = {path: x.bfloat16().contiguous() for path, x in published(name, tensors).items()}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})


main()
