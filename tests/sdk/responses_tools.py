"""Tools and structured output by OpenAI's SDK, Responses, against mlxd: responses_tools.py BASE_URL MODEL"""
import json
import sys
from typing import Literal

import openai
import pydantic

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
WEATHER = {"type": "function", "name": "get_weather", "description": "The weather of a city.", "strict": False, "parameters": {
    "type": "object", "required": ["city"], "additionalProperties": False,
    "properties": {"city": {"type": "string", "maxLength": 20}}}}
ASK = {"role": "user", "content": "What is the weather in Paris?"}
SETTINGS = {"model": model, "temperature": 0, "max_output_tokens": 80, "tools": [WEATHER]}


def call_of(response):
    [call] = [item for item in response.output if item.type == "function_call"]
    assert call.name == "get_weather" and call.call_id and call.status == "completed", call
    assert "paris" in json.loads(call.arguments)["city"].lower(), call
    return call


def output(call):
    return {"type": "function_call_output", "call_id": call.call_id, "output": "It is sunny, 21 degrees."}


def loops():
    first = client.responses.create(**SETTINGS, input=[ASK])
    call = call_of(first)
    # The stored response and the whole history make the same prompt.
    kept = client.responses.create(**SETTINGS, input=[output(call)], previous_response_id=first.id)
    history = [ASK, *[item.model_dump(exclude_none=True) for item in first.output], output(call)]
    sent = client.responses.create(**SETTINGS, input=history, store=False)
    assert kept.usage.input_tokens == sent.usage.input_tokens > first.usage.input_tokens
    assert kept.output_text == sent.output_text and kept.output, (kept, sent)
    pieces, done = [], []
    with client.responses.stream(**SETTINGS, input=[ASK]) as stream:
        for event in stream:
            if event.type == "response.function_call_arguments.delta":
                pieces.append(event.delta)
            if event.type == "response.function_call_arguments.done":
                done.append(event.arguments)
        streamed = stream.get_final_response()
    assert len(pieces) > 2 and done == ["".join(pieces)] == [call.arguments] == [call_of(streamed).arguments]
    with client.responses.stream(**SETTINGS, input=history) as stream:
        # Its helper takes only a completed one for final.
        *_, last = stream
    assert last.response.output_text == sent.output_text and last.response.status == sent.status


def choices():
    for choice in ("required", {"type": "function", "name": "get_weather"}):
        forced = client.responses.create(**SETTINGS, input="Say something funny.", tool_choice=choice, parallel_tool_calls=False)
        assert [item.type for item in forced.output] == ["function_call"], forced
        assert json.loads(forced.output[0].arguments)["city"]
    none = client.responses.create(**SETTINGS | {"max_output_tokens": 16}, input=[ASK], tool_choice="none")
    assert all(item.type == "message" for item in none.output)


class GetWeather(pydantic.BaseModel):
    """The weather of a city."""
    city: Literal["Paris", "London"]


class City(pydantic.BaseModel):
    country: Literal["France", "Spain"]
    size: Literal["small", "big"]


def models():
    strict = openai.pydantic_function_tool(GetWeather)["function"]
    parsed = client.responses.parse(**SETTINGS | {"tools": [{"type": "function", **strict}]}, input=[ASK],
                                    tool_choice="required", parallel_tool_calls=False)
    assert json.loads(parsed.output[0].arguments)["city"] in ("Paris", "London")
    options = {"model": model, "temperature": 0, "max_output_tokens": 60, "input": "Describe Paris.", "text_format": City}
    city = client.responses.parse(**options).output_parsed
    assert isinstance(city, City)
    with client.responses.stream(**options) as stream:
        assert stream.get_final_response().output_parsed == city


loops()
choices()
models()
print("all checks passed")
