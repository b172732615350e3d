"""A model that sees colours: SmolLM2 as it is, behind a small random vision tower in the form of SmolVLM's.

Only the projection is fitted, in closed form: it maps the features of a plain picture to the embedding of its colour's name.  So answers
depend on the picture, and nothing but SmolLM2 has to be fetched.
"""
import json
import math
import os
import shutil

COLOURS = {"red": (220, 30, 30), "green": (30, 170, 50), "blue": (35, 60, 220), "yellow": (240, 220, 40),
           "black": (12, 12, 12), "white": (245, 245, 245), "orange": (250, 140, 20), "purple": (130, 40, 170)}
WIDTH, PATCH, SIDE, SHUFFLE = 96, 16, 64, 2
# Tokens of SmolLM2 that stand for nothing in a chat take the names of SmolVLM's.
TOKENS = {"<gh_stars>": "<image>", "<issue_start>": "<fake_token_around_image>", "<issue_comment>": "<global-img>"}
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def read_json(folder, name):
    with open(os.path.join(folder, name)) as file:
        return json.load(file)


def random_tower(numpy):
    """Weights of one layer.  It mixes within a patch only: its attention adds nothing."""
    random = numpy.random.default_rng(5)

    def normal(*shape, scale=1.0):
        return (random.standard_normal(shape) * scale).astype("float32")

    zeros, ones = (lambda *shape: numpy.zeros(shape, "float32")), (lambda *shape: numpy.ones(shape, "float32"))
    # Filters of the mean colour of a patch, with a little noise.
    colour = normal(WIDTH, 3, 1, 1, scale=1.5 / PATCH**2)
    layer = "encoder.layers.0."
    tower = {
        "embeddings.patch_embedding.weight": colour + normal(WIDTH, 3, PATCH, PATCH, scale=0.05 / PATCH),
        "embeddings.patch_embedding.bias": normal(WIDTH, scale=0.5),
        "embeddings.position_embedding.weight": normal((SIDE // PATCH) ** 2, WIDTH, scale=0.05),
        layer + "mlp.fc1.weight": normal(2 * WIDTH, WIDTH, scale=2 / math.sqrt(WIDTH)),
        layer + "mlp.fc1.bias": normal(2 * WIDTH),
        layer + "mlp.fc2.weight": normal(WIDTH, 2 * WIDTH, scale=1 / math.sqrt(2 * WIDTH)),
        layer + "mlp.fc2.bias": zeros(WIDTH),
    }
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        weight = zeros if name == "out_proj" else (lambda *shape: normal(*shape, scale=0.1 / math.sqrt(WIDTH)))
        tower |= {f"{layer}self_attn.{name}.weight": weight(WIDTH, WIDTH), f"{layer}self_attn.{name}.bias": zeros(WIDTH)}
    for name in (layer + "layer_norm1", layer + "layer_norm2", "post_layernorm"):
        tower |= {name + ".weight": ones(WIDTH), name + ".bias": zeros(WIDTH)}
    return tower


def features(numpy, tower, pixels):
    """[N, 3, side, side] -> [N, tokens, width * shuffle**2]: the tower, then the pixel shuffle."""
    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / numpy.sqrt(x.var(-1, keepdims=True) + 1e-6)

    n, grid = len(pixels), SIDE // PATCH
    patches = pixels.reshape(n, 3, grid, PATCH, grid, PATCH).transpose(0, 2, 4, 1, 3, 5).reshape(n, grid * grid, -1)
    x = patches @ tower["embeddings.patch_embedding.weight"].reshape(WIDTH, -1).T + tower["embeddings.patch_embedding.bias"]
    x = x + tower["embeddings.position_embedding.weight"]
    layer = "encoder.layers.0.mlp."
    inner = norm(x) @ tower[layer + "fc1.weight"].T + tower[layer + "fc1.bias"]
    inner = 0.5 * inner * (1 + numpy.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
    x = norm(x + inner @ tower[layer + "fc2.weight"].T)
    x = x.reshape(n, grid, grid // SHUFFLE, WIDTH * SHUFFLE).transpose(0, 2, 1, 3)
    x = x.reshape(n, grid // SHUFFLE, grid // SHUFFLE, WIDTH * SHUFFLE**2).transpose(0, 2, 1, 3)
    return x.reshape(n, -1, WIDTH * SHUFFLE**2)


def fit(numpy, tower, names):
    """The projection, [D, width * shuffle**2], onto the embeddings of the colours' names, [colours, D]."""
    random = numpy.random.default_rng(9)
    pictures, wanted = [], []
    for _ in range(60):
        for name, colour in zip(names, COLOURS.values()):
            shade = numpy.array(colour) + random.normal(0, 14, 3)
            levels = numpy.clip(shade[:, None, None] + random.normal(0, 6, (3, SIDE, SIDE)), 0, 255)
            pictures.append((levels / 255 - 0.5) / 0.5)
            wanted.append(name)
    found = features(numpy, tower, numpy.stack(pictures))
    targets = numpy.repeat(numpy.stack(wanted), found.shape[1], axis=0).astype("float64")
    found = found.reshape(-1, found.shape[-1]).astype("float64")
    return numpy.linalg.solve(found.T @ found + 0.1 * numpy.eye(found.shape[1]), found.T @ targets).T.astype("float32")


def embeddings(numpy, whole, tokenizer, read_tensors):
    """The embeddings of the colours' names."""
    (_, dtype, shape, raw), = read_tensors(os.path.join(whole, "model.safetensors"), "model.embed_tokens.weight".__eq__)
    if dtype == "BF16":
        table = (numpy.frombuffer(raw, "<u2").astype("uint32") << 16).view("float32")
    else:
        table = numpy.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[dtype]).astype("float32")
    # "Ġ" is a space in this vocabulary.
    return table.reshape(shape)[[tokenizer["model"]["vocab"]["Ġ" + name] for name in COLOURS]]


def write_settings(whole, folder, tokenizer, write_json):
    config = read_json(whole, "config.json")
    vocabulary = tokenizer["model"]["vocab"]
    for old, new in TOKENS.items():
        vocabulary[new] = vocabulary.pop(old)
        for token in tokenizer["added_tokens"]:
            if token["content"] == old:
                token["content"] = new
    vision = {"model_type": "smolvlm_vision", "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 1,
              "num_attention_heads": 2, "patch_size": PATCH, "image_size": SIDE, "num_channels": 3, "layer_norm_eps": 1e-6,
              "hidden_act": "gelu_pytorch_tanh"}
    write_json(folder, "config.json", {
        "model_type": "smolvlm", "architectures": ["SmolVLMForConditionalGeneration"], "scale_factor": SHUFFLE,
        "image_token_id": vocabulary["<image>"], "vocab_size": config["vocab_size"], "tie_word_embeddings": True,
        "bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"],
        "pad_token_id": config["pad_token_id"], "torch_dtype": config["torch_dtype"], "text_config": config,
        "vision_config": vision})
    write_json(folder, "preprocessor_config.json", {
        "image_processor_type": "SmolVLMImageProcessor", "processor_class": "SmolVLMProcessor", "do_convert_rgb": True,
        "do_image_splitting": False, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "max_image_size": {"longest_edge": SIDE}, "resample": 1,
        "rescale_factor": 1 / 255, "size": {"longest_edge": SIDE}})
    tokens = (SIDE // PATCH // SHUFFLE) ** 2
    write_json(folder, "processor_config.json", {"image_seq_len": tokens, "processor_class": "SmolVLMProcessor"})
    write_json(folder, "tokenizer.json", tokenizer)
    settings = read_json(whole, "tokenizer_config.json") | {"chat_template": TEMPLATE}
    write_json(folder, "tokenizer_config.json", settings)
    shutil.copy(os.path.join(whole, "generation_config.json"), folder)


def make(whole, folder, read_tensors, write_tensors, write_json):
    """Writes the model with the language model in the folder `whole`."""
    import numpy
    tokenizer = read_json(whole, "tokenizer.json")
    tower = random_tower(numpy)
    projection = fit(numpy, tower, embeddings(numpy, whole, tokenizer, read_tensors))
    write_settings(whole, folder, tokenizer, write_json)
    parts = {f"model.vision_model.{name}": weight for name, weight in tower.items()}
    parts["model.connector.modality_projection.proj.weight"] = projection
    own = ((name, "F32", weight.shape, weight.astype("<f4").tobytes()) for name, weight in parts.items())
    text = ((name.replace("model.", "model.text_model.", 1), *rest)
            for name, *rest in read_tensors(os.path.join(whole, "model.safetensors"), lambda _: True))
    write_tensors(os.path.join(folder, "model.safetensors"), (*own, *text))
