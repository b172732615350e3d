"""Golden files for models that read texts: goldens_reading.py OUT [REAL_MODEL_FOLDER]

OUT/<name>/        toys with random weights, in Transformers' own form: config.json, weights, sentence-transformers' files,
                   golden.json with token ids and what Transformers makes of them, each text alone and in float32
OUT/<model>.json   a real model: texts and what sentence-transformers makes of them
"""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import save_file
from transformers import (BertConfig, BertForSequenceClassification, BertModel, Gemma3TextConfig, Gemma3TextModel,
                          ModernBertConfig, ModernBertForSequenceClassification, ModernBertModel, Qwen3Config, Qwen3Model,
                          XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel)

SMALL = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "attn_implementation": "eager"}
BERT = SMALL | {"max_position_embeddings": 64, "type_vocab_size": 2}
ROBERTA = SMALL | {"max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
MODERN = SMALL | {"num_hidden_layers": 4, "local_attention": 8, "max_position_embeddings": 64, "pad_token_id": 0}
GEMMA = SMALL | {"num_hidden_layers": 3, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 12,
                 "sliding_window_pattern": 3, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
                 "query_pre_attn_scalar": 8, "max_position_embeddings": 64, "use_bidirectional_attention": True,
                 "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0}
QWEN = SMALL | {"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64, "rope_theta": 1000000.0}
ONE = {"num_labels": 1}
# Name: model, configuration, pooling (None: a cross-encoder), normalised, outputs of a Dense layer.
TOYS = {
    "bert": (BertModel, BertConfig(**BERT), "mean", True, None),
    "bert-cls": (BertModel, BertConfig(**BERT | {"hidden_act": "gelu_new"}), "cls", False, None),
    "bert-max": (BertModel, BertConfig(**BERT), "max", False, None),
    "bert-weighted": (BertModel, BertConfig(**BERT), "weightedmean", False, None),
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig(**ROBERTA), "cls", True, None),
    "modernbert": (ModernBertModel, ModernBertConfig(**MODERN), "mean", True, None),
    "qwen3": (Qwen3Model, Qwen3Config(**QWEN), "lasttoken", True, None),
    "gemma3_text": (Gemma3TextModel, Gemma3TextConfig(**GEMMA), "mean", True, 12),
    "bert-cross": (BertForSequenceClassification, BertConfig(**BERT | ONE), None, False, None),
    "xlm-roberta-cross": (XLMRobertaForSequenceClassification, XLMRobertaConfig(**ROBERTA | ONE), None, False, None),
    "modernbert-cross": (ModernBertForSequenceClassification,
                         ModernBertConfig(**MODERN | ONE | {"classifier_pooling": "mean"}), None, False, None),
}
LENGTHS = [40, 1, 17, 33, 17, 2]


def write(path, value, indent=1):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=indent)
        f.write("\n")


def pooled(hidden, mode):
    count = hidden.shape[0]
    if mode == "weightedmean":
        weights = torch.arange(1, count + 1, dtype=torch.float32)
        return (hidden * weights[:, None]).sum(0) / weights.sum()
    return {"mean": hidden.mean(0), "cls": hidden[0], "lasttoken": hidden[-1], "max": hidden.max(0).values}[mode]


def randomise(model, from_one):
    for name, x in model.named_parameters():
        norm = "norm" in name.lower()
        rest = 1.0 if norm and name.endswith("weight") and not from_one else 0.0
        x.data = rest + (0.1 if norm else 0.25) * torch.randn_like(x)


def toy(out, name, kind, config, mode, normalize, dense):
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(7)
    model = kind(config).eval().float()
    randomise(model, kind is Gemma3TextModel)
    model.save_pretrained(folder)
    linear = torch.nn.Linear(16, dense, bias=False) if dense else None
    if mode:
        modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
        write(os.path.join(folder, "1_Pooling/config.json"), {"word_embedding_dimension": 16, "pooling_mode": mode})
        if dense:
            modules.append(("2_Dense", "Dense"))
            write(os.path.join(folder, "2_Dense/config.json"),
                  {"in_features": 16, "out_features": dense, "bias": False,
                   "activation_function": "torch.nn.modules.linear.Identity"})
            save_file({"linear.weight": linear.weight.detach()}, os.path.join(folder, "2_Dense/model.safetensors"))
        if normalize:
            modules.append(("3_Normalize", "Normalize"))
        write(os.path.join(folder, "modules.json"),
              [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
               for i, (path, kind) in enumerate(modules)])
    texts = [[(7 * i * i + 3 * i + n) % 62 + 2 for i in range(count)] for n, count in enumerate(LENGTHS)]
    results, second = [], []
    for ids in texts:
        second.append(len(ids) // 2 + 1 if mode is None and config.model_type == "bert" else len(ids))
        types = {"token_type_ids": torch.tensor([[int(i >= second[-1]) for i in range(len(ids))]])} \
            if config.model_type == "bert" else {}
        with torch.no_grad():
            answer = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), **types)
            if mode is None:
                x = torch.sigmoid(answer.logits[0])
            else:
                x = pooled(answer.last_hidden_state[0], mode)
                x = linear(x) if dense else x
                x = torch.nn.functional.normalize(x, dim=0) if normalize else x
        results.append([round(v, 7) for v in x.tolist()])
    write(os.path.join(folder, "golden.json"), {"texts": texts, "second": second, "results": results}, None)
    print(name, results[0][:3], flush=True)


SENTENCES = ["This is an example sentence", "Each sentence is converted", "Grüße! 日本語? 🦀  spaces\nand lines", "a",
             "In 1969, Neil Armstrong became the first man to walk on the moon. " * 6,
             "The quick brown fox jumps over the lazy dog. " * 40]


def real(out, folder):
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(folder, device="cpu")
    vectors = model.encode(SENTENCES, batch_size=1)
    ids = [model.tokenizer(text, truncation=True, max_length=model.max_seq_length)["input_ids"] for text in SENTENCES]
    cases = [{"text": text, "tokens": len(tokens), "vector": [round(float(x), 6) for x in vector]}
             for text, tokens, vector in zip(SENTENCES, ids, vectors)]
    write(os.path.join(out, os.path.basename(os.path.normpath(folder)) + ".json"), cases, None)


def main():
    out, *folders = sys.argv[1:]
    for name, parts in TOYS.items():
        toy(out, name, *parts)
    for folder in folders:
        real(out, folder)


main()
