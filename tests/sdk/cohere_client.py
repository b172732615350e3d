"""The official Cohere SDK against mlxd: cohere_client.py BASE_URL EMBEDDING_MODEL RERANK_MODEL"""
import base64
import struct
import sys

import cohere

base_url, model, reranker = sys.argv[1:]
client = cohere.ClientV2(api_key="none", base_url=base_url, timeout=240)
TEXTS = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose by half a percent."]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


answer = client.embed(model=model, texts=TEXTS, input_type="search_document", embedding_types=["float", "base64", "ubinary", "binary"])
assert answer.response_type == "embeddings_by_type"
assert answer.texts == TEXTS
assert answer.meta.billed_units.input_tokens > 0
vectors = answer.embeddings.float_
assert [len(vector) for vector in vectors] == [384] * 3
assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2]) + 0.2
for vector, coded, bits, signed in zip(
    vectors, answer.embeddings.base64, answer.embeddings.ubinary, answer.embeddings.binary
):
    assert list(struct.unpack("<384f", base64.b64decode(coded))) == [struct.unpack("<f", struct.pack("<f", x))[0] for x in vector]
    positive = [bool(byte >> (7 - at) & 1) for byte in bits for at in range(8)]
    assert positive == [x > 0 for x in vector]
    assert [byte - 128 for byte in bits] == signed

parts = [{"content": [{"type": "text", "text": TEXTS[0]}]}]
single = client.embed(model=model, inputs=parts, input_type="search_query", embedding_types=["float"])
assert dot(single.embeddings.float_[0], vectors[0]) > 0.9999

long = client.embed(model=model, texts=["cat " * 2000], input_type="clustering")
assert len(long.embeddings.float_[0]) == 384
for options in [{"truncate": "NONE", "texts": ["cat " * 2000]}, {"embedding_types": ["int8"]}]:
    try:
        client.embed(**({"model": model, "texts": ["a"], "input_type": "classification"} | options))
    except cohere.errors.BadRequestError as e:
        assert e.body["error"]["type"] == "invalid_request_error", e.body
    else:
        raise AssertionError(f"{options} is taken")

ranked = client.rerank(model=reranker, query="a cat", documents=TEXTS, top_n=2)
assert len(ranked.results) == 2
assert ranked.results[0].relevance_score >= ranked.results[1].relevance_score

print("all checks passed")
