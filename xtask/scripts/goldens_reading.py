"""Golden files for models that read texts: goldens_reading.py OUT [REAL_MODEL_FOLDER]

OUT/<name>/        toys with random weights, in Transformers' own form: config.json, weights, sentence-transformers' files,
                   golden.json with token ids and what Transformers makes of them, each text alone and in float32;
                   of cross-encoders also a tokenizer.json, and pairs.json with texts and their scores;
                   of gemma3_text, which is made like EmbeddingGemma, a tokenizer, prompts, and sentences.json with what
                   sentence-transformers makes of texts
OUT/<model>.json   a real model: texts and what sentence-transformers makes of them
"""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (BertConfig, BertForSequenceClassification, BertModel, Gemma3TextConfig, Gemma3TextModel,
                          ModernBertConfig, ModernBertForSequenceClassification, ModernBertModel, Qwen3Config, Qwen3Model,
                          XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel)
from transformers import PreTrainedTokenizerFast

SMALL = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "attn_implementation": "eager"}
BERT = SMALL | {"max_position_embeddings": 64, "type_vocab_size": 2}
ROBERTA = SMALL | {"max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
MODERN = SMALL | {"num_hidden_layers": 4, "local_attention": 8, "max_position_embeddings": 64, "pad_token_id": 0}
GEMMA = SMALL | {"num_hidden_layers": 3, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 12,
                 "sliding_window_pattern": 3, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
                 "query_pre_attn_scalar": 8, "max_position_embeddings": 64, "use_bidirectional_attention": True,
                 "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "vocab_size": 352}
QWEN = SMALL | {"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64, "rope_theta": 1000000.0}
ONE = {"num_labels": 1}
# Name: model, configuration, pooling (None: a cross-encoder), normalised, outputs of Dense layers.
TOYS = {
    "bert": (BertModel, BertConfig(**BERT), "mean", True, []),
    "bert-cls": (BertModel, BertConfig(**BERT | {"hidden_act": "gelu_new"}), "cls", False, []),
    "bert-max": (BertModel, BertConfig(**BERT), "max", False, []),
    "bert-weighted": (BertModel, BertConfig(**BERT), "weightedmean", False, []),
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig(**ROBERTA), "cls", True, []),
    "modernbert": (ModernBertModel, ModernBertConfig(**MODERN), "mean", True, []),
    "qwen3": (Qwen3Model, Qwen3Config(**QWEN), "lasttoken", True, []),
    "gemma3_text": (Gemma3TextModel, Gemma3TextConfig(**GEMMA), "mean", True, [24, 12]),
    "bert-cross": (BertForSequenceClassification, BertConfig(**BERT | ONE), None, False, []),
    "xlm-roberta-cross": (XLMRobertaForSequenceClassification, XLMRobertaConfig(**ROBERTA | ONE), None, False, []),
    "modernbert-cross": (ModernBertForSequenceClassification,
                         ModernBertConfig(**MODERN | ONE | {"classifier_pooling": "mean"}), None, False, []),
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
    linears = [torch.nn.Linear(before, after, bias=False) for before, after in zip([16, *dense], dense)]
    if mode:
        modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
        write(os.path.join(folder, "1_Pooling/config.json"), {"word_embedding_dimension": 16, "pooling_mode": mode})
        for at, linear in enumerate(linears, 2):
            modules.append((f"{at}_Dense", "Dense"))
            write(os.path.join(folder, f"{at}_Dense/config.json"),
                  {"in_features": linear.in_features, "out_features": linear.out_features, "bias": False,
                   "activation_function": "torch.nn.modules.linear.Identity"})
            save_file({"linear.weight": linear.weight.detach()}, os.path.join(folder, f"{at}_Dense/model.safetensors"))
        if normalize:
            modules.append((f"{2 + len(linears)}_Normalize", "Normalize"))
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
                for linear in linears:
                    x = linear(x)
                x = torch.nn.functional.normalize(x, dim=0) if normalize else x
        results.append([round(v, 7) for v in x.tolist()])
    if mode is None and config.model_type in ("bert", "xlm-roberta"):
        pairs(folder, model, config.model_type == "bert")
    if kind is Gemma3TextModel:
        sentences(folder)
    write(os.path.join(folder, "golden.json"), {"texts": texts, "second": second, "results": results}, None)
    print(name, results[0][:3], flush=True)


WORDS = "what is a an the of in on it that who where moon sun sea ship bird first man walk fly swim deep high blue red old new ##s ##ed".split()
QUERY = "Who walked on the moon first?"
DOCUMENTS = ["The first man walked on the moon.", "A ship swims in the deep blue sea", "red", "It is the moon that is high, and the bird flys. " * 3]


def tokenizer(folder, bert):
    """A vocabulary of a few words, with the special tokens of the model's family."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] if bert else ["<s>", "<pad>", "</s>", "<unk>"]
    unknown, begin, end = (special[1], special[2], special[3]) if bert else (special[3], special[0], special[2])
    vocabulary = {word: at for at, word in enumerate(special + WORDS)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pair = f"{begin}:0 $A:0 {end}:0 $B:1 {end}:1" if bert else f"{begin}:0 $A:0 {end}:0 {end}:0 $B:0 {end}:0"
    made.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", pair=pair, special_tokens=[(begin, vocabulary[begin]), (end, vocabulary[end])])
    made.save(os.path.join(folder, "tokenizer.json"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=special[0] if bert else special[1])


def pairs(folder, model, bert):
    """Of a cross-encoder, each document with the query, whole and cut to three tokens."""
    made = tokenizer(folder, bert)

    def score(document, most):
        whole = made(document, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        document = document[:whole[:most][-1][1]]
        read = made(QUERY, document, return_tensors="pt", return_token_type_ids=bert)
        with torch.no_grad():
            return round(torch.sigmoid(model(**read).logits[0, 0]).item(), 7)

    write(os.path.join(folder, "pairs.json"), {
        "query": QUERY, "documents": DOCUMENTS, "scores": [score(text, 1000) for text in DOCUMENTS],
        "cut": 3, "cut_scores": [score(text, 3) for text in DOCUMENTS]}, None)


def sentences(folder):
    """A tokenizer as Gemma's are made, EmbeddingGemma's prompts, and sentence-transformers' results."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    made.train_from_iterator([" ".join([QUERY, *DOCUMENTS])], trainers.BpeTrainer(
        vocab_size=GEMMA["vocab_size"], special_tokens=special + bytes_, show_progress=False))
    # The bytes are tokens like others: a text that writes one out does not mean it.
    state = json.loads(made.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in special]
    made = Tokenizer.from_str(json.dumps(state))
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> <bos>:1 $B:1 <eos>:1", special_tokens=[("<bos>", 2), ("<eos>", 1)])
    names = {f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk")}
    PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(folder)
    write(os.path.join(folder, "sentence_bert_config.json"), {"max_seq_length": 60, "do_lower_case": False})
    write(os.path.join(folder, "config_sentence_transformers.json"), {
        "model_type": "SentenceTransformer", "prompts": {
            "query": "task: search result | query: ", "document": "title: none | text: ", "BitextMining": "task: search result | query: "},
        "default_prompt_name": None, "similarity_fn_name": "cosine"})
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(folder, device="cpu", model_kwargs={"attn_implementation": "eager"})
    cases = []
    for text in [*DOCUMENTS, QUERY, "Grüße! 日本語? 🦀  spaces\nand lines", "a"]:
        for prompt in (None, "query", "document"):
            whole = model.prompts.get(prompt, "") + text
            tokens = model.tokenizer(whole, truncation=True, max_length=model.max_seq_length)["input_ids"]
            vector = model.encode([text], prompt_name=prompt)[0]
            cases.append({"text": text, "prompt": prompt, "tokens": tokens, "vector": [round(float(x), 7) for x in vector]})
    write(os.path.join(folder, "sentences.json"), cases, None)


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
