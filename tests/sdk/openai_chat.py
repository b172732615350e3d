"""The official OpenAI SDK against mlxd: openai_chat.py BASE_URL MODEL"""
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import openai
import pydantic

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
EVEN = [{"role": "system", "content": "You continue number sequences."},
        {"role": "user", "content": "Continue: 2, 4, 6, 8, 10, 12,"}]


def chat(**options):
    return client.chat.completions.create(model=model, messages=EVEN, temperature=0, max_tokens=32, **options)


def streamed(**options):
    """(text, finish reason, usage) of a streamed answer, after checking its shape."""
    text, reason, usage, ids, roles = "", None, None, set(), []
    for chunk in chat(stream=True, **options):
        assert chunk.object == "chat.completion.chunk", chunk
        ids.add(chunk.id)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            assert choice.index == 0
            roles += [choice.delta.role] if choice.delta.role else []
            assert reason is None, "nothing follows the finish reason"
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
    assert len(ids) == 1 and ids.pop().startswith("chatcmpl-")
    assert roles == ["assistant"], roles
    return text, reason, usage


def streaming_and_plain_agree():
    plain = chat()
    choice = plain.choices[0]
    assert plain.object == "chat.completion" and plain.model == model
    assert choice.message.role == "assistant" and choice.message.content
    text, reason, usage = streamed(stream_options={"include_usage": True})
    assert text == choice.message.content, (text, choice.message.content)
    assert reason == choice.finish_reason
    counts = [(u.prompt_tokens, u.completion_tokens, u.total_tokens) for u in (usage, plain.usage)]
    assert counts[0] == counts[1], counts
    cached = usage.prompt_tokens_details.cached_tokens
    assert 0 < cached < usage.prompt_tokens, "the second request begins like the first"
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens <= 32 and usage.prompt_tokens > 20
    assert streamed()[2] is None, "usage comes only where it was asked for"
    return text


def limits_and_stops(text):
    short = client.chat.completions.create(model=model, messages=EVEN, temperature=0, max_completion_tokens=3)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 3
    assert text.startswith(short.choices[0].message.content)
    # A stop text from the middle of the answer, which lies across token borders somewhere.
    middle = text[len(text) // 2:len(text) // 2 + 4]
    stopped = chat(stop=[middle])
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].message.content == text[:text.index(middle)], (stopped, text)
    assert streamed(stop=middle)[0] == text[:text.index(middle)]


def seeds():
    def draw(seed):
        return client.chat.completions.create(model=model, messages=EVEN, temperature=1.5, seed=seed,
                                              max_tokens=16).choices[0].message.content
    assert draw(7) == draw(7)
    assert len({draw(seed) for seed in range(4)}) > 1, "seeds make a difference"


def eight_at_once(text):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: streamed()[0] if i % 2 else chat().choices[0].message.content, range(8)))
    assert answers == [text] * 8, answers


def completions():
    def create(**options):
        return client.completions.create(model=model, prompt="2, 4, 6, 8,", temperature=0, max_tokens=12, **options)
    plain = create()
    assert plain.object == "text_completion" and plain.id.startswith("cmpl-")
    assert plain.choices[0].text.startswith(" 10, 12, 14"), plain
    assert plain.choices[0].finish_reason == "length" and plain.usage.completion_tokens == 12
    text = "".join(choice.text for chunk in create(stream=True) for choice in chunk.choices)
    assert text == plain.choices[0].text


def choices():
    def draw(**options):
        return client.chat.completions.create(model=model, messages=EVEN, temperature=1.5, max_tokens=8, n=3,
                                              seed=40, **options)
    three = draw()
    assert [c.index for c in three.choices] == [0, 1, 2]
    texts = [c.message.content for c in three.choices]
    assert len(set(texts)) > 1, "each has a seed of its own"
    single = client.chat.completions.create(model=model, messages=EVEN, temperature=1.5, max_tokens=8, seed=42)
    assert texts[2] == single.choices[0].message.content, "a choice is what its seed alone gives"
    assert three.usage.prompt_tokens == single.usage.prompt_tokens and three.usage.completion_tokens <= 24
    streamed = ["", "", ""]
    for chunk in draw(stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts, (streamed, texts)


def completions_in_full():
    def create(prompt, **options):
        return client.completions.create(model=model, prompt=prompt, temperature=0, max_tokens=6, **options)
    alone = [create(p).choices[0].text for p in ("2, 4, 6, 8,", "A B C D E")]
    batch = create(["2, 4, 6, 8,", "A B C D E"], n=2)
    assert [c.text for c in batch.choices] == [alone[0]] * 2 + [alone[1]] * 2, batch
    echoed = create("2, 4, 6, 8,", echo=True, logprobs=2).choices[0]
    assert echoed.text == "2, 4, 6, 8," + alone[0]
    scores = echoed.logprobs
    assert "".join(scores.tokens) == echoed.text and scores.token_logprobs[0] is None
    assert all(p <= 0 for p in scores.token_logprobs[1:]) and scores.text_offset[:2] == [0, 1]
    scored = create("2, 4, 6, 8,", echo=True, logprobs=0, extra_body={"max_tokens": 0}).choices[0]
    assert scored.text == "2, 4, 6, 8," and len(scored.logprobs.tokens) == len(scores.tokens) - 6
    assert create("2, 4, 6, 8,", echo=True).choices[0].text == echoed.text
    parts = [c for chunk in create("2, 4, 6, 8,", echo=True, logprobs=2, stream=True) for c in chunk.choices]
    assert "".join(c.text for c in parts) == echoed.text
    assert [o for c in parts if c.logprobs for o in c.logprobs.text_offset] == scores.text_offset
    best = client.completions.create(model=model, prompt="Once", best_of=3, n=1, seed=1, max_tokens=4)
    assert len(best.choices) == 1 and best.choices[0].logprobs is None
    # Token ids of some prompt: their text is echoed.
    ids = create([28, 29, 30], echo=True).choices[0].text
    assert len(ids) > 3, ids


class City(pydantic.BaseModel):
    # Bounded, since so small a model hardly ever closes a string by itself.
    name: Annotated[str, pydantic.Field(max_length=20)]
    size: Literal["small", "big"]


def structured_output():
    parsed = client.chat.completions.parse(
        model=model, messages=[{"role": "user", "content": "Describe Paris."}], response_format=City, temperature=1,
        seed=5, max_tokens=200)
    city = parsed.choices[0].message.parsed
    assert city.size in ("small", "big"), city
    plain = chat(response_format={"type": "json_object"}, extra_body={"priority": "high", "cache_salt": "x"})
    if plain.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(plain.choices[0].message.content), dict)


def log_probabilities(text):
    answer = chat(logprobs=True, top_logprobs=2).choices[0]
    assert "".join(t.token for t in answer.logprobs.content) == text == answer.message.content
    assert all(t.logprob <= 0 and len(t.top_logprobs) == 2 for t in answer.logprobs.content)
    assert all(t.top_logprobs[0].token == t.token for t in answer.logprobs.content), "greedy takes the likeliest"
    chunks = [c.choices[0].logprobs for c in chat(logprobs=True, stream=True) if c.choices]
    assert "".join(t.token for c in chunks if c for t in c.content) == text
    assert chat().choices[0].logprobs is None


def models():
    listed = [m.id for m in client.models.list()]
    assert model in listed, listed
    assert client.models.retrieve(model).id == model


def errors():
    def expect(error, call, *words, **fields):
        try:
            call()
        except error as e:
            for word in words:
                assert word in str(e), (word, e)
            for name, value in fields.items():
                assert getattr(e, name) == value, (name, e.body)
        else:
            raise AssertionError(f"{error.__name__} expected")

    def create(**options):
        return client.chat.completions.create(**({"model": model, "messages": EVEN} | options))
    expect(openai.NotFoundError, lambda: create(model="no-such-model"), "no-such-model", code="model_not_found")
    expect(openai.BadRequestError, lambda: create(temperature=-1), param="temperature")
    expect(openai.BadRequestError, lambda: create(top_p=2), param="top_p")
    expect(openai.BadRequestError, lambda: create(messages=[]), param="messages")
    expect(openai.BadRequestError, lambda: create(n=0), param="n")
    expect(openai.BadRequestError, lambda: create(top_logprobs=3), param="top_logprobs")
    broken = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array", "uniqueItems": True}}}
    expect(openai.BadRequestError, lambda: create(response_format=broken), "uniqueItems", param="response_format")
    expect(openai.BadRequestError, lambda: create(tools=[{"type": "web_search"}]),
           param="tools[0].type")
    def seen(url):
        return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    expect(openai.BadRequestError, lambda: create(messages=seen("data:,")), "Base64", param="messages[0].content[0].image_url")
    expect(openai.BadRequestError, lambda: create(messages=seen("data:image/png;base64,iVBORw0KGgo=")), "reads text only",
           param="messages")
    long = [{"role": "user", "content": "word " * 9000}]
    # Agents know an overflow by these words.
    words = ("prompt is too long", "maximum context length is 8192 tokens")
    for call in (lambda: create(messages=long), lambda: create(messages=long, stream=True),
                 lambda: client.completions.create(model=model, prompt="word " * 9000),
                 lambda: client.completions.create(model=model, prompt="word " * 9000, stream=True)):
        expect(openai.BadRequestError, call, *words, code="context_length_exceeded")
    expect(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"))


def streamed_choices():
    """The library's stream helper takes several choices only if they begin in order."""
    for _ in range(20):
        options = {"model": model, "messages": EVEN, "n": 3, "max_tokens": 3, "temperature": 1}
        with client.chat.completions.stream(**options) as stream:
            for _ in stream:
                pass
            choices = stream.current_completion_snapshot.choices
        assert [choice.index for choice in choices] == [0, 1, 2], choices
        assert all(choice.finish_reason and choice.message.role == "assistant" for choice in choices), choices


def telemetry():
    """vLLM's counts in each chunk, and llama.cpp's progress and timings."""
    body = {"return_progress": True, "timings_per_token": True, "request_id": "mine-1"}
    chunks = list(chat(stream=True, stream_options={"continuous_usage_stats": True}, extra_body=body))
    assert {chunk.id for chunk in chunks} == {"chatcmpl-mine-1"}
    progress = [chunk.prompt_progress for chunk in chunks if getattr(chunk, "prompt_progress", None)]
    total = chunks[-1].usage.prompt_tokens
    assert progress and all(p["total"] == total and p["cache"] <= p["processed"] <= total for p in progress), progress
    assert progress[-1]["processed"] == total and progress[-1]["time_ms"] >= 0, progress
    texts = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    counts = [chunk.usage.completion_tokens for chunk in texts]
    assert counts == sorted(counts) and counts[0] >= 1 and counts[-1] <= chunks[-1].usage.completion_tokens, counts
    assert all(chunk.usage.prompt_tokens == total for chunk in texts)
    assert all(chunk.timings["predicted_n"] == count for chunk, count in zip(texts, counts))


def echoed_turn():
    begun = EVEN + [{"role": "assistant", "content": "14, 16,"}]
    body = {"continue_final_message": True, "add_generation_prompt": False}
    options = {"model": model, "messages": begun, "temperature": 0, "max_tokens": 8}
    plain = client.chat.completions.create(**options, extra_body=body).choices[0].message.content
    echoed = client.chat.completions.create(**options, extra_body=body | {"echo": True}).choices[0].message.content
    assert echoed == "14, 16," + plain, (echoed, plain)
    stream = client.chat.completions.create(**options, stream=True, extra_body=body | {"echo": True})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == echoed


def unlimited():
    for limit in (-1, 9999999999):
        whole = client.chat.completions.create(model=model, messages=EVEN, temperature=0, max_tokens=limit, stop="20")
        assert whole.choices[0].finish_reason == "stop", whole


def rate_limits():
    """Whole and streamed answers say how many requests the model takes at once, and how many more."""
    for options in ({}, {"stream": True}):
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=EVEN, max_tokens=2, **options)
        limit, left = (int(raw.headers[f"x-ratelimit-{name}-requests"]) for name in ("limit", "remaining"))
        assert 0 < left < limit, (limit, left)
        assert "x-ratelimit-reset-requests" not in raw.headers, "there is nothing to wait for"


models()
text = streaming_and_plain_agree()
limits_and_stops(text)
seeds()
eight_at_once(text)
structured_output()
log_probabilities(text)
completions()
completions_in_full()
choices()
streamed_choices()
telemetry()
echoed_turn()
unlimited()
rate_limits()
errors()
print("all checks passed")
