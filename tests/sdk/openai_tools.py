"""Tools by the official OpenAI SDK against mlxd: openai_tools.py BASE_URL MODEL"""
import json
import sys

import openai

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city.",
    "parameters": {"type": "object", "required": ["city"], "additionalProperties": False, "properties": {
        "city": {"type": "string", "maxLength": 20}, "unit": {"type": "string", "enum": ["C", "F"]}}}}}
TIME = {"type": "function", "function": {
    "name": "get_time", "description": "The time of day.", "parameters": {"type": "object", "properties": {}}}}
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]


def ask(messages=ASK, **options):
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
    for chunk in ask(stream=True, **options):
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
    calls = called(ask())
    assert calls[0].function.name == "get_weather" and calls[0].id.startswith("call_")
    assert "paris" in json.loads(calls[0].function.arguments)["city"].lower()
    deltas, pieces = streamed()
    assert pieces > 2, "arguments come as they are generated"
    assert [(d["name"], d["arguments"]) for d in deltas] == [(c.function.name, c.function.arguments) for c in calls]
    # The result goes back, and the model answers.
    turn = {"role": "assistant", "content": None, "tool_calls": [c.model_dump() for c in calls]}
    result = {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny, 21 degrees"}
    final = ask(ASK + [turn, result])
    assert final.usage.prompt_tokens > ask(max_tokens=1).usage.prompt_tokens + 10, "both turns are in the prompt"
    assert final.choices[0].message.content or final.choices[0].message.tool_calls, final


def forced_calls():
    hello = [{"role": "user", "content": "Tell me a joke."}]
    for seed in range(3):
        for call in called(ask(hello, tool_choice="required", temperature=1, seed=seed, parallel_tool_calls=False)):
            assert call.function.name in ("get_weather", "get_time")
            assert isinstance(json.loads(call.function.arguments), dict)
    named = {"type": "function", "function": {"name": "get_time"}}
    [call] = called(ask(tool_choice=named))
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_time", {})
    deltas, _ = streamed(tool_choice="required", parallel_tool_calls=False)
    assert len(deltas) == 1 and json.loads(deltas[0]["arguments"])["city"]
    none = ask(tool_choice="none").choices[0]
    assert none.message.tool_calls is None and none.finish_reason != "tool_calls"


automatic_calls_and_their_results()
forced_calls()
print("all checks passed")
