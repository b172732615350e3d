"""Tools by the official OpenAI SDK against mlxd: openai_tools.py BASE_URL MODEL INFILL_MODEL"""
import json
import sys
from typing import Literal

import openai
import pydantic

base_url, model, infill_model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city.",
    "parameters": {"type": "object", "required": ["city"], "additionalProperties": False, "properties": {
        "city": {"type": "string", "maxLength": 20}, "unit": {"type": "string", "enum": ["C", "F"]}}}}}
TIME = {"type": "function", "function": {
    "name": "get_time", "description": "The time of day.", "parameters": {"type": "object", "properties": {}}}}
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]


def chat(messages=ASK, **options):
    options = {"temperature": 0, "max_tokens": 80, "tools": [WEATHER, TIME]} | options
    return client.chat.completions.create(model=model, messages=messages, **options)


def called(answer):
    assert answer.choices[0].finish_reason == "tool_calls", answer
    message = answer.choices[0].message
    assert message.tool_calls and message.content is None, message
    return message.tool_calls


def streamed(**options):
    """Name, arguments and id of each call, from deltas; and how many deltas brought arguments."""
    calls, pieces, reason = {}, 0, None
    for chunk in chat(stream=True, **options):
        for choice in chunk.choices:
            reason = choice.finish_reason or reason
            for call in choice.delta.tool_calls or []:
                entry = calls.setdefault(call.index, {"name": "", "arguments": "", "id": ""})
                if call.id:
                    assert call.type == "function" and call.function.name
                    entry |= {"id": call.id, "name": call.function.name}
                pieces += bool(call.function.arguments)
                entry["arguments"] += call.function.arguments or ""
    assert reason == "tool_calls", reason
    return list(calls.values()), pieces


def automatic_calls_and_their_results():
    calls = called(chat())
    assert calls[0].function.name == "get_weather" and calls[0].id.startswith("call_")
    assert "paris" in json.loads(calls[0].function.arguments)["city"].lower()
    deltas, pieces = streamed()
    assert pieces > 2, "arguments come as they are generated"
    assert [(d["name"], d["arguments"]) for d in deltas] == [(c.function.name, c.function.arguments) for c in calls]
    # The result goes back, and the model answers.
    turn = {"role": "assistant", "content": None, "tool_calls": [c.model_dump() for c in calls]}
    result = {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny, 21 degrees"}
    final = chat(ASK + [turn, result])
    assert final.usage.prompt_tokens > chat(max_tokens=1).usage.prompt_tokens + 10, "both turns are in the prompt"
    assert final.choices[0].message.content or final.choices[0].message.tool_calls, final


def forced_calls():
    hello = [{"role": "user", "content": "Say something funny."}]
    for seed in range(3):
        for call in called(chat(hello, tool_choice="required", temperature=1, seed=seed, parallel_tool_calls=False)):
            assert call.function.name in ("get_weather", "get_time")
            assert isinstance(json.loads(call.function.arguments), dict)
    named = {"type": "function", "function": {"name": "get_time"}}
    [call] = called(chat(tool_choice=named))
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_time", {})
    deltas, _ = streamed(tool_choice="required", parallel_tool_calls=False)
    assert len(deltas) == 1 and json.loads(deltas[0]["arguments"])["city"]
    none = chat(tool_choice="none").choices[0]
    assert none.message.tool_calls is None and none.finish_reason != "tool_calls"


class GetWeather(pydantic.BaseModel):
    """The weather of a city."""
    city: Literal["Paris", "London"]
    unit: Literal["C", "F"]


def strict_calls_parse_into_models():
    parsed = client.chat.completions.parse(model=model, messages=ASK, temperature=0, max_tokens=80,
                                           tools=[openai.pydantic_function_tool(GetWeather)])
    message = parsed.choices[0].message
    for call in message.tool_calls or []:
        assert call.function.parsed_arguments.city in ("Paris", "London")
    assert message.tool_calls or message.content


def the_old_form():
    function = WEATHER["function"]
    answer = client.chat.completions.create(model=model, messages=ASK, temperature=0, max_tokens=80,
                                            functions=[function], function_call={"name": "get_weather"})
    choice = answer.choices[0]
    assert choice.finish_reason == "function_call" and choice.message.tool_calls is None
    assert json.loads(choice.message.function_call.arguments)["city"]
    back = ASK + [choice.message.model_dump(exclude_none=True) | {"content": None},
                  {"role": "function", "name": "get_weather", "content": "rain"}]
    assert client.chat.completions.create(model=model, messages=back, functions=[function], temperature=0,
                                          max_tokens=20).choices


def a_suffix_is_the_published_infill_prompt():
    def fill(prompt, **options):
        answer = client.completions.create(model=infill_model, prompt=prompt, temperature=0, max_tokens=8, **options)
        return answer.choices[0].text, answer.usage.prompt_tokens
    prefix, suffix = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"
    published = fill(f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>")
    assert fill(prefix, suffix=suffix) == published
    assert published[0] and published != fill(prefix + suffix)


def accepted_labels():
    answer = chat(tools=[], user="u", metadata={"a": "b"}, service_tier="flex", prompt_cache_key="k",
                 safety_identifier="s", max_tokens=4, reasoning_effort="low")
    assert answer.service_tier == "flex" and answer.system_fingerprint
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0
    assert answer.timings["predicted_n"] == answer.usage.completion_tokens


automatic_calls_and_their_results()
forced_calls()
strict_calls_parse_into_models()
the_old_form()
a_suffix_is_the_published_infill_prompt()
accepted_labels()
print("all checks passed")
