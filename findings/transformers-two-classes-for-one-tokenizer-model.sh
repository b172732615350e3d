#!/usr/bin/env bash
# Guess: a folder with a SentencePiece `tokenizer.model` and `"tokenizer_class": "LlamaTokenizer"` is tokenised the same by
#   AutoTokenizer and by LlamaTokenizer, and as Mistral's own library does, with <s> in front.
# Reality (Transformers 5.24): AutoTokenizer does not take the class that the folder names. It builds a generic backend that puts
#   a "▁" of its own behind every control token, so "[INST] hi[/INST]" has one token more than with LlamaTokenizer and
#   mistral-common. Neither of the two Transformers classes adds <s> unless tokenizer_config.json says add_bos_token.
# Versions: transformers 5.24.0, mistral-common 1.13.1 (its v3 SentencePiece model), sentencepiece 0.2.3, tokenizers 0.23.3.
# For a server author: folders without tokenizer.json are converted by such a call. The stray token before each user turn stays
#   invisible in the text, and the model answers a little worse. Compare ids with mistral-common, not with AutoTokenizer.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3 mistral-common==1.13.1 sentencepiece==0.2.3 protobuf==7.36.2
cat > t.py <<'PY'
import json, shutil
from importlib.metadata import version
from pathlib import Path
import mistral_common
from mistral_common.protocol.instruct.messages import UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from transformers import AutoTokenizer, LlamaTokenizer

print({name: version(name) for name in ("transformers", "tokenizers", "mistral-common")})
model = Path(mistral_common.__file__).parent / "data" / "mistral_instruct_tokenizer_240323.model.v3"
folder = Path("model")
folder.mkdir()
shutil.copy(model, folder / "tokenizer.model")
(folder / "config.json").write_text('{"model_type": "mistral"}')
tokens = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

own = MistralTokenizer.from_file(str(model)).encode_chat_completion(ChatCompletionRequest(messages=[UserMessage(content="hi")])).tokens
print("mistral-common:", own)
for settings in ({}, {"add_bos_token": True}):
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokens, **settings}))
    auto, llama = AutoTokenizer.from_pretrained(folder), LlamaTokenizer.from_pretrained(folder)
    seen = [tokenizer("[INST] hi[/INST]").input_ids for tokenizer in (auto, llama)]
    for tokenizer, ids in zip((auto, llama), seen):
        print(settings, type(tokenizer).__name__, ids, tokenizer.convert_ids_to_tokens(ids))
    assert type(auto).__name__ == "TokenizersBackend" and type(llama) is LlamaTokenizer
    assert seen[1] == (own if settings else own[1:])
    begin = seen[1].index(own[1])
    assert seen[0] == seen[1][: begin + 1] + [auto.convert_tokens_to_ids("▁")] + seen[1][begin + 1 :]
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
