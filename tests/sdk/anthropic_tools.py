"""Tools and structured output by the official Anthropic SDK against mlxd: anthropic_tools.py BASE_URL MODEL"""
import json
import sys
from typing import Literal

import anthropic
import pydantic

base_url, model = sys.argv[1:]
client = anthropic.Anthropic(base_url=base_url, api_key="none", timeout=240, max_retries=0)
GREEDY = {"temperature": 0}
WEATHER = {"name": "get_weather", "description": "The weather of a city.", "input_schema": {
    "type": "object", "required": ["city"], "additionalProperties": False,
    "properties": {"city": {"type": "string", "maxLength": 20}}}}
ASK = {"role": "user", "content": "What is the weather in Paris?"}
SETTINGS = {"model": model, "max_tokens": 80, "messages": [ASK], "tools": [WEATHER], "extra_body": GREEDY}


def call_of(message):
    assert message.stop_reason == "tool_use", message
    [call] = [block for block in message.content if block.type == "tool_use"]
    assert call.name == "get_weather" and call.id and "paris" in call.input["city"].lower(), call
    return call


def result(call, text="It is sunny, 21 degrees."):
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": text}]}


def a_loop():
    message = client.messages.create(**SETTINGS)
    call = call_of(message)
    history = [ASK, {"role": "assistant", "content": message.content}, result(call)]
    final = client.messages.create(**SETTINGS | {"messages": history})
    assert final.usage.input_tokens + final.usage.cache_read_input_tokens > message.usage.input_tokens
    assert final.content, final
    return message, history, final


def the_same_streamed(message, history, final):
    pieces = []
    with client.messages.stream(**SETTINGS) as stream:
        for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                pieces.append(event.delta.partial_json)
        streamed = stream.get_final_message()
    assert len([piece for piece in pieces if piece]) > 2, "arguments come as they are generated"
    assert call_of(streamed).input == call_of(message).input == json.loads("".join(pieces))
    with client.messages.stream(**SETTINGS | {"messages": history}) as stream:
        again = stream.get_final_message()
    texts = [[block.text for block in m.content if block.type == "text"] for m in (again, final)]
    assert texts[0] == texts[1] and again.stop_reason == final.stop_reason, texts


def choices():
    joke = [{"role": "user", "content": "Say something funny."}]
    forced = {"type": "any", "disable_parallel_tool_use": True}
    for choice in (forced, {"type": "tool", "name": "get_weather"}):
        message = client.messages.create(**SETTINGS | {"messages": joke, "tool_choice": choice})
        assert message.stop_reason == "tool_use" and message.content[-1].input["city"], message
    none = client.messages.create(**SETTINGS | {"tool_choice": {"type": "none"}, "max_tokens": 8})
    assert none.stop_reason != "tool_use"


def the_runner():
    asked = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: The city's name.
        """
        asked.append(city)
        return f"It is sunny in {city}."

    runner = client.beta.messages.tool_runner(
        model=model, max_tokens=60, max_iterations=2, tools=[get_weather], messages=[ASK], extra_body=GREEDY)
    messages = list(runner)
    assert asked and messages[0].stop_reason == "tool_use" and len(messages) == 2, messages


class City(pydantic.BaseModel):
    country: Literal["France", "Spain"]
    size: Literal["small", "big"]


def structured_output():
    options = {"model": model, "max_tokens": 60, "messages": [{"role": "user", "content": "Describe Paris."}],
               "output_format": City, "extra_body": GREEDY}
    parsed = client.messages.parse(**options).parsed_output
    assert isinstance(parsed, City), parsed
    with client.messages.stream(**options) as stream:
        assert stream.get_final_message().parsed_output == parsed


the_same_streamed(*a_loop())
choices()
the_runner()
structured_output()
print("all checks passed")
