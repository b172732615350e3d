#!/usr/bin/env bash
# Guess: mlx-embeddings pools as the folder's `1_Pooling/config.json` says, or says that it cannot.
# Reality: `text_embeds` of a BERT are the mean of all tokens whatever that file says; for BGE, mxbai and Arctic, which were trained with the
#   first token's state, the vector is another one. No file of sentence-transformers is read at all: without a Normalize module vectors
#   are scaled to length 1 nevertheless. Nothing is said at load.
# Versions: mlx-embeddings 0.1.0, mlx-vlm 0.7.10, mlx 0.32.2 on the CPU, transformers 5.24.0.
# For a server author: an index that was built with one server finds less through the other, without an error: both vectors have the right
#   width and length. Take `last_hidden_state` and pool by the folder's own file.
# Grounds: far
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check --no-compile transformers==5.24.0 mlx==0.32.2 mlx-cpu==0.32.2
v/bin/pip install -q --disable-pip-version-check --no-compile mlx-lm==0.32.2 pillow==13.0.0 requests==2.34.2
v/bin/pip install -q --disable-pip-version-check --no-compile --no-deps mlx-vlm==0.7.10 mlx-embeddings==0.1.0
cat > t.py <<'PY'
import json, os
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from importlib.metadata import version
from pathlib import Path
import mlx.core as mx
import mlx_embeddings
from mlx.utils import tree_flatten
from mlx_embeddings.models import bert
from tokenizers import Tokenizer, models, pre_tokenizers, processors

print({name: version(name) for name in ("mlx-embeddings", "mlx-vlm", "mlx", "transformers")})
mx.set_default_device(mx.cpu)
config = {"model_type": "bert", "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 32,
          "max_position_embeddings": 16, "vocab_size": 64, "architectures": ["BertModel"]}
mx.random.seed(1)
weights = dict(tree_flatten(bert.Model(bert.ModelArgs.from_dict(config)).parameters()))
special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
made = Tokenizer(models.WordPiece({token: number for number, token in enumerate([*special, *"abcdefgh"])}, unk_token="[UNK]"))
made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
made.add_special_tokens(special)

def folder(mode, normalises):
    path = Path(f"{mode}-{normalises}")
    (path / "1_Pooling").mkdir(parents=True)
    mx.save_safetensors(str(path / "model.safetensors"), weights)
    made.save(str(path / "tokenizer.json"))
    kinds = ["Transformer", "Pooling", "Normalize"][:3 if normalises else 2]
    modules = [{"idx": place, "name": str(place), "path": "" if place == 0 else f"{place}_{kind}", "type": f"sentence_transformers.models.{kind}"}
               for place, kind in enumerate(kinds)]
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": mode == "first", "pooling_mode_mean_tokens": mode == "mean"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    for name, value in [("config.json", config), ("modules.json", modules), ("1_Pooling/config.json", pooling), ("tokenizer_config.json", settings)]:
        (path / name).write_text(json.dumps(value))
    return str(path)

for mode, normalises in (("mean", True), ("first", True), ("first", False)):
    model, tokenizer = mlx_embeddings.load(folder(mode, normalises))
    out = mlx_embeddings.generate(model, tokenizer, texts=["a b c d"])
    states, vector = out.last_hidden_state[0], out.text_embeds[0]
    length = lambda one: mx.sqrt((one * one).sum()).item()
    alike = {name: ((vector * one).sum().item() / length(vector) / length(one)) for name, one in (("mean", states.mean(axis=0)), ("first", states[0]))}
    print(f"the folder says {mode}, {'normalised' if normalises else 'not normalised'}: length {length(vector):.3f}, cosine with", alike)
    assert alike["mean"] > 0.9999 and alike["first"] < 0.95 and abs(length(vector) - 1) < 1e-4
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
