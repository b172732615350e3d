"""Custom tools, namespaces and tool searches by OpenAI's SDK, Responses and chat, against mlxd: custom_tools.py BASE_URL MODEL"""
import json
import re
import sys

import openai

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
GRAMMAR = 'start: "*** Begin" LF edit~1..2 "*** End" LF?\nedit: ("+" | "-") /[a-z "\\\\\\\\]{1,12}/ LF -> line\n%import common.LF\n'
EDIT = re.compile(r'\*\*\* Begin\n(?:[+-][a-z "\\]{1,12}\n){1,2}\*\*\* End\n?')
DESCRIPTION = "Edits a file."
FORMAT = {"type": "grammar", "syntax": "lark", "definition": GRAMMAR}
PATCH = {"type": "custom", "name": "edit", "description": DESCRIPTION, "format": FORMAT}
CHAT_PATCH = {"type": "custom", "custom": {"name": "edit", "description": DESCRIPTION, "format": {
    "type": "grammar", "grammar": {"syntax": "lark", "definition": GRAMMAR}}}}
GET = {"type": "function", "name": "get", "description": "Weather", "strict": True, "parameters": {
    "type": "object", "required": ["city"], "additionalProperties": False, "properties": {"city": {"type": "string", "maxLength": 12}}}}
ASK = [{"role": "user", "content": "Add a line that says hello."}]
SETTINGS = {"model": model, "temperature": 0, "max_output_tokens": 120, "input": ASK}
FORCED = {**SETTINGS, "tools": [GET, PATCH], "tool_choice": {"type": "custom", "name": "edit"}}


def custom_responses():
    [call] = client.responses.create(**FORCED).output
    assert (call.type, call.name, call.status) == ("custom_tool_call", "edit", "completed"), call
    assert call.id.startswith("ctc_") and EDIT.fullmatch(call.input), call
    pieces, done = [], []
    with client.responses.stream(**FORCED) as stream:
        for event in stream:
            if event.type == "response.custom_tool_call_input.delta":
                pieces.append(event.delta)
            if event.type == "response.custom_tool_call_input.done":
                done.append(event.input)
        [streamed] = stream.get_final_response().output
    assert len(pieces) > 2 and "".join(pieces) == call.input, pieces
    assert done == [call.input] == [streamed.input]
    sent = [*ASK, call.model_dump(exclude_none=True), {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "done"}]
    answer = client.responses.create(**{**SETTINGS, "input": sent, "tools": [PATCH], "max_output_tokens": 4})
    bare = client.responses.create(**{**SETTINGS, "tools": [PATCH], "max_output_tokens": 4})
    assert answer.usage.input_tokens > bare.usage.input_tokens
    cut = client.responses.create(**{**FORCED, "max_output_tokens": 16})
    assert (cut.status, cut.output[0].status) == ("incomplete", "incomplete"), cut
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "edit"}]}
    [call] = client.responses.create(**{**FORCED, "tool_choice": allowed, "parallel_tool_calls": False}).output
    assert EDIT.fullmatch(call.input), call


def custom_chat():
    settings = {"model": model, "temperature": 0, "max_tokens": 120, "messages": ASK, "tools": [CHAT_PATCH],
                "tool_choice": {"type": "custom", "custom": {"name": "edit"}}}
    choice = client.chat.completions.create(**settings).choices[0]
    [call] = choice.message.tool_calls
    assert (call.type, call.custom.name, choice.finish_reason) == ("custom", "edit", "tool_calls"), choice
    assert EDIT.fullmatch(call.custom.input), call
    name, text, kinds = "", "", []
    for chunk in client.chat.completions.create(**settings, stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            kinds += [delta.type] if delta.type else []
            name += delta.custom.get("name", "")
            text += delta.custom["input"]
    assert (name, text, kinds) == ("edit", call.custom.input, ["custom"])
    turns = [*ASK, choice.message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "done"}]
    after = client.chat.completions.create(**{**settings, "messages": turns, "max_tokens": 4, "tool_choice": "auto"})
    assert after.usage.prompt_tokens > 0


def regular_expression():
    tool = {"type": "custom", "name": "dial", "format": {"type": "grammar", "syntax": "regex", "definition": r"\+\d{2} \d{3}"}}
    [call] = client.responses.create(**{**SETTINGS, "tools": [tool], "tool_choice": "required", "parallel_tool_calls": False}).output
    assert re.fullmatch(r"\+\d{2} \d{3}", call.input), call


def namespaces():
    group = {"type": "namespace", "name": "mcp__wx__", "description": "The weather.", "tools": [GET]}
    [call] = client.responses.create(**{**SETTINGS, "tools": [group], "tool_choice": {"type": "function", "name": "get"}}).output
    assert (call.type, call.namespace, call.name) == ("function_call", "mcp__wx__", "get"), call
    assert json.loads(call.arguments)["city"]
    sent = [*ASK, call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    after = client.responses.create(**{**SETTINGS, "input": sent, "tools": [group], "max_output_tokens": 4})
    assert after.usage.input_tokens > 0


def tool_search():
    search = {"type": "tool_search", "execution": "client", "description": "Finds tools.", "parameters": {
        "type": "object", "required": ["query"], "additionalProperties": False, "properties": {"query": {"type": "string", "maxLength": 12}}}}
    tools = [search, {**GET, "defer_loading": True}]
    [call] = client.responses.create(**{**SETTINGS, "tools": tools, "tool_choice": "required", "parallel_tool_calls": False}).output
    assert (call.type, call.execution, call.status) == ("tool_search_call", "client", "completed"), call
    assert call.arguments["query"], call
    found = {"type": "tool_search_output", "call_id": call.call_id, "execution": "client", "tools": [GET]}
    sent = [*ASK, call.model_dump(exclude_none=True), found]
    named = {"type": "function", "name": "get"}
    [loaded] = client.responses.create(**{**SETTINGS, "input": sent, "tools": tools, "tool_choice": named}).output
    assert (loaded.type, loaded.name) == ("function_call", "get"), loaded


def refusals():
    for definition in ('start: "(" start ")" | "x"', "start: oops"):
        tool = {**PATCH, "format": {**FORMAT, "definition": definition}}
        try:
            client.responses.create(**{**SETTINGS, "tools": [tool]})
        except openai.BadRequestError as error:
            assert 'the tool "edit"' in error.message and error.param == "tools", error
        else:
            raise AssertionError(definition)


for check in (custom_responses, custom_chat, regular_expression, namespaces, tool_search, refusals):
    check()
print("all checks passed")
