"""The official OpenAI SDK against mlxd's embeddings: openai_embeddings.py BASE_URL MODEL CHAT_MODEL"""
import json
import math
import sys
import urllib.request

import openai

base_url, model, chat_model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
TEXTS = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose by half a percent."]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def refused(field, **options):
    try:
        client.embeddings.create(**({"model": model, "input": "a"} | options))
    except openai.BadRequestError as e:
        assert e.body["param"] == field, e.body
        return e.body["message"]
    raise AssertionError(f"{options} is taken")


# The SDK asks for base64 where nothing is said, and decodes it.
coded = client.embeddings.create(model=model, input=TEXTS)
plain = client.embeddings.create(model=model, input=TEXTS, encoding_format="float")
vectors = [one.embedding for one in plain.data]
assert [one.index for one in plain.data] == [0, 1, 2] and plain.model == model and plain.object == "list"
for one, other in zip(coded.data, vectors):
    assert len(one.embedding) == 384 and max(abs(a - b) for a, b in zip(one.embedding, other)) < 1e-6
assert all(math.isclose(dot(v, v), 1, abs_tol=1e-5) for v in vectors)
assert dot(vectors[0], vectors[1]) > 0.4 > 0.2 > dot(vectors[0], vectors[2]), "like texts lie near each other"
assert plain.usage.prompt_tokens == plain.usage.total_tokens == 28, plain.usage

raw = client.embeddings.with_raw_response.create(model=model, input="a")
assert raw.headers["x-ratelimit-limit-requests"] == raw.headers["x-ratelimit-remaining-requests"], "none is left to do"

ids = [101, 1037, 4937, 7719, 2006, 1996, 13523, 1012, 102]
for tokens in (ids, [ids]):
    same = client.embeddings.create(model=model, input=tokens, encoding_format="float").data[0].embedding
    assert dot(same, vectors[0]) > 0.99999, "token ids are the same text"

long = "word " * 400
assert "402 tokens" in refused("input[0]", input=long) and "256" in refused("input[0]", input=long)
cut = client.embeddings.create(model=model, input=long, extra_body={"truncate": True})
assert cut.usage.prompt_tokens == 256
refused("dimensions", dimensions=100)
assert len(client.embeddings.create(model=model, input="a", dimensions=384).data[0].embedding) == 384
refused("input", input=[])
refused("input[0]", input="")
assert "query" in refused("prompt_name", extra_body={"prompt_name": "clustering"})
# A model that has none is asked as sentence-transformers asks it: with nothing before the text.
named = client.embeddings.create(model=model, input=[ids], encoding_format="float", extra_body={"prompt_name": "query"})
assert dot(named.data[0].embedding, vectors[0]) > 0.99999 and named.usage.prompt_tokens == len(ids)
spelt = client.embeddings.create(model=model, input="word", encoding_format="float", extra_body={"prompt_name": "query"})
assert spelt.usage.prompt_tokens == 3, spelt.usage
assert "generates text" in refused("model", model=chat_model)
try:
    client.completions.create(model=model, prompt="a")
    raise AssertionError("an embedding model generates")
except openai.BadRequestError as e:
    assert e.body["param"] == "model", e.body

body = json.dumps({"model": model, "query": "a", "documents": ["b"]}).encode()
try:
    urllib.request.urlopen(urllib.request.Request(base_url + "/rerank", body, {"content-type": "application/json"}))
    raise AssertionError("an embedding model ranks")
except urllib.error.HTTPError as e:
    assert e.code == 400 and json.load(e)["error"]["param"] == "model"
print("all checks passed")
