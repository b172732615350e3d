"""The official OpenAI SDK's Responses against mlxd: openai_responses.py BASE_URL MODEL"""
import sys
import time
from typing import Literal

import openai
import pydantic

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
EVEN = "Continue: 2, 4, 6, 8, 10, 12,"
# Agents know an overflow by them.
WORDS = "maximum context length is 8192 tokens"
SETTINGS = {"model": model, "temperature": 0, "max_output_tokens": 24, "instructions": "You continue number sequences."}


def create(**options):
    return client.responses.create(**(SETTINGS | {"input": EVEN} | options))


def streaming_and_plain_agree():
    plain = create()
    assert plain.object == "response" and plain.id.startswith("resp_") and plain.output_text
    assert plain.instructions == SETTINGS["instructions"] and plain.tools == [] and plain.store
    counted = client.responses.input_tokens.count(model=model, input=EVEN, instructions=SETTINGS["instructions"])
    assert counted.input_tokens == plain.usage.input_tokens
    names = []
    with client.responses.stream(**SETTINGS, input=EVEN) as stream:
        for event in stream:
            names.append(event.type)
    final = event.response
    assert final.output_text == plain.output_text and final.usage.output_tokens == plain.usage.output_tokens
    assert final.usage.input_tokens_details.cached_tokens > 0, "the second request begins like the first"
    assert names[:3] == ["response.created", "response.in_progress", "response.output_item.added"], names
    assert names[-1] in ("response.completed", "response.incomplete")
    raw = list(create(stream=True))
    assert [e.sequence_number for e in raw] == list(range(len(raw)))
    assert "".join(e.delta for e in raw if e.type == "response.output_text.delta") == plain.output_text
    return plain


def kept(plain):
    again = client.responses.retrieve(plain.id)
    assert again.output_text == plain.output_text and again.status == plain.status
    second = create(input="And then?", previous_response_id=plain.id)
    assert second.previous_response_id == plain.id and second.usage.input_tokens > plain.usage.input_tokens
    # The same conversation, resent in full, has the same prompt.
    whole = [{"role": "user", "content": EVEN}, *[item.model_dump() for item in plain.output],
             {"role": "user", "content": "And then?"}]
    resent = create(input=whole, store=False)
    assert resent.usage.input_tokens == second.usage.input_tokens and resent.output_text == second.output_text
    items = client.responses.input_items.list(second.id)
    assert [item.content for item in items] == ["And then?"]
    client.responses.delete(plain.id)
    for call, kind in ((lambda: client.responses.retrieve(plain.id), openai.NotFoundError),
                       (lambda: client.responses.retrieve(resent.id), openai.NotFoundError),
                       (lambda: create(previous_response_id=second.id), openai.BadRequestError)):
        try:
            call()
        except kind:
            continue
        raise AssertionError("a deleted response is not there")


def ends():
    short = create(max_output_tokens=3)
    assert short.status == "incomplete" and short.incomplete_details.reason == "max_output_tokens"
    assert short.usage.output_tokens == 3


class Size(pydantic.BaseModel):
    size: Literal["small", "big"]


def structured_output():
    parsed = client.responses.parse(**SETTINGS | {"max_output_tokens": 60}, input="How big is Paris?", text_format=Size)
    assert parsed.output_parsed.size in ("small", "big")


def log_probabilities():
    answer = create(include=["message.output_text.logprobs"], top_logprobs=2)
    part = answer.output[0].content[0]
    assert "".join(t.token for t in part.logprobs) == part.text and len(part.logprobs[0].top_logprobs) == 2


def background():
    begun = create(background=True)
    assert begun.status == "queued" and begun.completed_at is None
    for _ in range(600):
        begun = client.responses.retrieve(begun.id)
        if begun.status not in ("queued", "in_progress"):
            break
        time.sleep(0.1)
    assert begun.status in ("completed", "incomplete") and begun.output_text
    long = create(background=True, max_output_tokens=4000, extra_body={"seed": 1})
    assert client.responses.cancel(long.id).status == "cancelled"
    assert client.responses.retrieve(long.id).status == "cancelled"


def what_codex_sends():
    events = list(create(
        stream=True, store=False, include=["reasoning.encrypted_content"], reasoning={"effort": "low", "summary": "auto"},
        parallel_tool_calls=False, tool_choice="auto", prompt_cache_key="k",
        tools=[{"type": "local_shell"}, {"type": "web_search"}],
        input=[{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
               {"type": "message", "role": "user", "content": [{"type": "input_text", "text": EVEN}]},
               {"type": "reasoning", "summary": [], "encrypted_content": "not ours"},
               {"type": "function_call", "call_id": "c", "name": "shell", "arguments": "{}"},
               {"type": "function_call_output", "call_id": "c", "output": "14"}]))
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete") and last.response.usage.total_tokens > 0
    long = list(create(stream=True, input="word " * 9000))
    assert [e.type for e in long] == ["response.created", "response.failed"]
    failure = long[-1].response.error
    assert failure.code == "context_length_exceeded" and WORDS in failure.message, failure


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

    bad = openai.BadRequestError
    expect(openai.NotFoundError, lambda: create(model="no-such-model"), "no-such-model", code="model_not_found")
    expect(bad, lambda: create(input="word " * 9000), WORDS, code="context_length_exceeded")
    expect(bad, lambda: create(temperature=-1), param="temperature")
    expect(bad, lambda: create(truncation="sideways"), param="truncation")
    expect(bad, lambda: create(conversation="c"), param="conversation")
    image = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]
    expect(bad, lambda: create(input=image), param="input[0].content[0].image_url")
    expect(bad, lambda: client.responses.cancel(create(max_output_tokens=1).id), "background", param="response_id")


plain = streaming_and_plain_agree()
kept(plain)
ends()
structured_output()
log_probabilities()
background()
what_codex_sends()
errors()
print("all checks passed")
