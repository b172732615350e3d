"""The official Ollama SDK against mlxd: ollama_client.py BASE_URL CALLER EMBEDDING_MODEL"""
import json
import sys
from datetime import datetime

import ollama
import pydantic

base_url, model, embedder = sys.argv[1:]
client = ollama.Client(host=base_url, timeout=240)
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]
GREEDY = {"temperature": 0, "num_predict": 80, "num_ctx": 4096}
SHORT = GREEDY | {"num_predict": 24}


def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
      city: The city's name.
    """
    return f"sunny in {city}"


class City(pydantic.BaseModel, extra="forbid"):
    name: str = pydantic.Field(max_length=9)
    inhabitants: int = pydantic.Field(ge=0, le=9_999_999)


def refused(call, status, word):
    try:
        call()
    except ollama.ResponseError as e:
        assert e.status_code == status and word in e.error, (e.status_code, e.error)
    else:
        raise AssertionError(f"{word} is taken")


def lists_and_descriptions():
    names = [one.model for one in client.list().models]
    assert model in names and embedder in names, names
    shown = client.show(model)
    assert shown.capabilities == ["completion", "tools"], shown.capabilities
    assert shown.modelinfo["llama.context_length"] == 8192, shown.modelinfo
    assert "<tool_call>" in shown.template
    assert shown.details.family == "llama" and shown.details.parameter_size == "134.5M"
    assert client.show(embedder).capabilities == ["embedding"]
    assert client.show(model + ":latest").details == shown.details
    refused(lambda: client.show("nothing"), 404, "nothing")


def loading_and_unloading():
    loaded = client.generate(model=model, keep_alive="10m")
    assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
    running = {one.model: one for one in client.ps().models}
    assert running[model].size > 100_000_000 and running[model].context_length == 8192
    left = running[model].expires_at - datetime.now(running[model].expires_at.tzinfo)
    assert 540 < left.total_seconds() <= 601, left
    unloaded = client.chat(model=model, messages=[], keep_alive=0)
    assert (unloaded.done, unloaded.done_reason) == (True, "unload")
    assert model not in [one.model for one in client.ps().models]


def chat_and_generate_agree_with_their_streams():
    words = [{"role": "user", "content": "Count: one two three"}]
    whole = client.chat(model=model, messages=words, options=SHORT)
    assert whole.done and whole.done_reason in ("stop", "length") and whole.message.content
    assert whole.prompt_eval_count > 5 and whole.eval_count > 1
    assert whole.total_duration >= whole.prompt_eval_duration + whole.eval_duration - 1000 > 0
    pieces = list(client.chat(model=model, messages=words, options=SHORT, stream=True))
    assert "".join(piece.message.content for piece in pieces) == whole.message.content
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True] and len(pieces) > 2
    assert pieces[-1].eval_count == whole.eval_count
    generated = client.generate(model=model, prompt="Count: one two three", options=SHORT)
    assert generated.response == whole.message.content
    streamed = client.generate(model=model, prompt="Count: one two three", options=SHORT, stream=True)
    assert "".join(piece.response for piece in streamed) == whole.message.content
    raw = client.generate(model=model, prompt="2, 4, 6, 8,", raw=True, options={"temperature": 0, "num_predict": 3})
    assert raw.prompt_eval_count < generated.prompt_eval_count and raw.response.startswith(" 10"), raw
    assert raw.done_reason == "length" and raw.eval_count == 3
    scored = client.chat(model=model, messages=words, options=SHORT, logprobs=True, top_logprobs=2)
    assert scored.logprobs[0].logprob <= 0 and len(scored.logprobs[0].top_logprobs) == 2


def calls_and_their_results():
    answer = client.chat(model=model, messages=ASK, tools=[get_weather], options=GREEDY)
    call = answer.message.tool_calls[0].function
    assert call.name == "get_weather" and "paris" in call.arguments["city"].lower(), call
    pieces = list(client.chat(model=model, messages=ASK, tools=[get_weather], options=GREEDY, stream=True))
    streamed = [call.function for piece in pieces for call in piece.message.tool_calls or []]
    assert streamed == [one.function for one in answer.message.tool_calls], streamed
    turns = ASK + [answer.message, {"role": "tool", "content": get_weather(**call.arguments), "tool_name": call.name}]
    final = client.chat(model=model, messages=turns, tools=[get_weather], options=GREEDY | {"num_predict": 1})
    assert final.prompt_eval_count > answer.prompt_eval_count + 10, "both turns are in the prompt"


def structured_output():
    ask = [{"role": "user", "content": "Describe Rome as JSON."}]
    answer = client.chat(model=model, messages=ask, format=City.model_json_schema(), options=GREEDY)
    City.model_validate_json(answer.message.content)
    answer = client.chat(model=model, messages=ask, format="json", options=GREEDY)
    if answer.done_reason == "stop":
        assert isinstance(json.loads(answer.message.content), dict)


def unicode_line_breaks_within_a_stream():
    """httpx splits a stream at them too."""
    text = "one\u2028two\u2029three\u0085four"
    pieces = list(client.chat(model=model, messages=ASK, format={"const": text}, options=GREEDY, stream=True))
    assert json.loads("".join(piece.message.content for piece in pieces)) == text


def embeddings():
    texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose by half a percent."]
    answer = client.embed(model=embedder, input=texts)
    cat, kitten, rates = answer.embeddings
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert len(cat) == 384 and dot(cat, kitten) > dot(cat, rates) + 0.2
    assert answer.prompt_eval_count > 10 and answer.total_duration > 0
    single = client.embeddings(model=embedder, prompt=texts[0]).embedding
    assert dot(single, cat) > 0.9999


def refusals():
    refused(lambda: client.chat(model="nothing", messages=ASK), 404, "nothing")
    refused(lambda: list(client.chat(model="nothing", messages=ASK, stream=True)), 404, "nothing")
    refused(lambda: client.chat(model=embedder, messages=ASK), 400, "embed")
    refused(lambda: client.chat(model=model, messages=ASK, options={"mirostat": 2}), 400, "mirostat")
    image = [{"role": "user", "content": "What is this?", "images": [b"\x89PNG"]}]
    refused(lambda: client.chat(model=model, messages=image), 400, "images")
    refused(lambda: client.generate(model=model, prompt="a", context=[1, 2]), 400, "context")
    refused(lambda: client.pull("llama3"), 400, "ORGANISATION/NAME")
    refused(lambda: client.copy(model, "other"), 501, "/api/copy")
    refused(lambda: client.delete(model), 501, "/api/delete")


lists_and_descriptions()
loading_and_unloading()
chat_and_generate_agree_with_their_streams()
calls_and_their_results()
structured_output()
unicode_line_breaks_within_a_stream()
embeddings()
refusals()
print("all checks passed")
