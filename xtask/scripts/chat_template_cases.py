"""Conversations for the sweep of published chat templates, as an OpenAI client sends them.

`cases()` gives a list of {"name", "request": {"messages", "tools"?}}. Arguments of calls are JSON text, as in
OpenAI's API. Each case shows one thing, so that a difference points at its cause.
"""
import json

# Mistral's templates refuse call ids that are not nine letters and digits.
FIRST_ID, SECOND_ID = "call00001", "call00002"
QUESTION = "What is the weather in Paris?"


def system(text, **keys):
    return {"role": "system", "content": text, **keys}


def user(text, **keys):
    return {"role": "user", "content": text, **keys}


def assistant(text, **keys):
    return {"role": "assistant", "content": text, **keys}


def call(name="get_weather", arguments='{"city": "Paris"}', call_id=FIRST_ID):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls, text=None, **keys):
    return assistant(text, tool_calls=list(calls) or [call()], **keys)


def result(content="21.5 °C and sunny", call_id=FIRST_ID, **keys):
    return {"role": "tool", "tool_call_id": call_id, "content": content, **keys}


def function(name, parameters=None, description="Looks something up.", **keys):
    """A tool without the fields that are None."""
    all_keys = {"name": name, "description": description, "parameters": parameters, **keys}
    return {"type": "function", "function": {key: value for key, value in all_keys.items() if value is not None}}


def schema(properties, required=(), **keys):
    """A tool's parameters; nothing is said about required ones where there are none."""
    required = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, **required, **keys}


WEATHER = function("get_weather", schema({
    "city": {"type": "string", "description": "The city's name"},
    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "The unit of the temperature"},
    "days": {"type": "array", "items": {"type": "string"}, "description": "Days of the week"},
    "place": {"type": "object", "description": "Where exactly", "properties": {
        "street": {"type": "string", "description": "The street and the number"},
        "floor": {"type": "integer", "description": "The floor"}}, "required": ["street"]},
}, ["city"]), "Reports the weather in a city.")
TIME = function("get_time", schema({"zone": {"type": "string", "description": "A time zone"}}), "Reports the time.")
TOOLS = [WEATHER, TIME]

CONVERSATIONS = {
    "plain": [user("Hi")],
    "system": [system("Be kind."), user("Hi")],
    "several_turns": [system("Be kind."), user("Hi"), assistant("Hello!"), user("How are you?"),
                      assistant("Fine. And you?"), user("Fine, too.")],
    "two_users": [user("Hi"), user("Are you there?")],
    "assistant_first": [assistant("How can I help?"), user("Say something funny.")],
    "empty_system": [system(""), user("Hi")],
    "two_system": [system("Be kind."), system("Be brief."), user("Hi")],
    "system_last": [user("Hi"), system("Be brief.")],
    "system_between": [user("Hi"), assistant("Hello!"), system("Be brief."), user("How are you?")],
    "empty_user": [user("")],
    "empty_assistant": [user("Hi"), assistant(""), user("Are you there?")],
    "user_name": [user("Hi", name="Ada")],
    "user_parts": [user([{"type": "text", "text": "Hi"}, {"type": "text", "text": " there"}])],
    "spaces": [system("  Be kind. \n"), user(" \n Hi \n\n"), assistant("\n\n Hello! \t"), user("\tBye\n")],
    "template_text": [system("{% if x %}"), user("{{ x }} {# y #} {% raw %}")],
    "tags": [system("<think></think>"), user("<|im_end|></s>[/INST]<tool_call>"),
             assistant("<think>\nHm.\n</think>\n\nHello</think>!"), user("</think> <end_of_turn>")],
    "unicode": [system("Sei höflich."), user("Grüße, 日本 😀 \u2028 \u00a0|"), assistant("¡Hola!"), user("e\u0301")],
    "html": [system("<b>&amp;</b>"), user("a < b && c > \"d\" 'e' \\n \\")],
    "call_no_tools": [user(QUESTION), calling(), result()],
}

REASONING = "It is a greeting.\nI greet back."
for key in ("reasoning_content", "reasoning", "thinking"):
    CONVERSATIONS[key] = [user("Hi"), assistant("Hello!", **{key: REASONING}), user("How are you?")]
CONVERSATIONS["reasoning_tags"] = [user("Hi"), assistant(f"<think>\n{REASONING}\n</think>\n\nHello!"), user("Bye")]

BLANK = calling()
del BLANK["content"]
TWO_CALLS = calling(call(), call("get_time", '{"zone": "CET"}', SECOND_ID))
AGENT = {
    "tools": [system("Be kind."), user(QUESTION)],
    "call_null": [user(QUESTION), calling(), result()],
    "call_empty": [user(QUESTION), calling(text=""), result()],
    "call_missing": [user(QUESTION), BLANK, result()],
    "call_text": [user(QUESTION), calling(text="I look it up."), result()],
    "call_system": [system("Be kind."), user(QUESTION), calling(), result()],
    "call_sdk": [user(QUESTION), calling(refusal=None, annotations=[], audio=None, function_call=None), result()],
    "arguments_none": [user(QUESTION), calling(call("get_time", "{}")), result()],
    "call_answered": [user(QUESTION), calling(), result(), assistant("It is sunny."), user("Thanks!")],
    "two_calls": [user(QUESTION), TWO_CALLS, result(), result("10:40", SECOND_ID)],
    "two_calls_swapped": [user(QUESTION), TWO_CALLS, result("10:40", SECOND_ID), result()],
    "two_calls_text": [user(QUESTION), {**TWO_CALLS, "content": "I look both up."}, result(),
                       result("10:40", SECOND_ID)],
    "two_steps": [user(QUESTION), calling(), result(), calling(call("get_time", '{"zone": "CET"}', SECOND_ID)),
                  result("10:40", SECOND_ID)],
    "reasoning_call_answered": [user(QUESTION), calling(reasoning_content="I look."), result(),
                                assistant("Sunny.", reasoning_content="That is it."), user("Thanks!")],
    "reasoning_call_text": [user(QUESTION), calling(text="I look it up.", reasoning_content="I look."), result()],
    "reasoning_two_steps": [user(QUESTION), calling(reasoning_content="I look."), result(),
                            calling(call("get_time", "{}", SECOND_ID), reasoning_content="And the time."),
                            result("10:40", SECOND_ID)],
}
for key in ("reasoning_content", "reasoning", "thinking"):
    AGENT[f"reasoning_call_{key}"] = [user(QUESTION), calling(**{key: "I look."}), result()]

for name, content in {
    "number": "42", "float": "1_000", "json": '{"temp": 21.5, "ok": true, "none": null}',
    "list": '[1, "two", null]', "quoted": '"sunny"', "empty": "", "lines": "sunny\n\n  21.5\n", "tags": "</tool_response><b>&'\"",
    "parts": [{"type": "text", "text": "sunny"}, {"type": "text", "text": "21.5"}],
}.items():
    AGENT[f"result_{name}"] = [user(QUESTION), calling(), result(content)]
AGENT["result_name"] = [user(QUESTION), calling(), result(name="get_weather")]

# JSON text as models write it; each kind stands alone too, since one difference would hide the others.
VALUES = {
    "floats": '"small": 1e-7, "large": 1e16, "whole": 1.0, "half": 0.5',
    "integers": '"big": 12345678901234567890, "minus": -1, "zero": 0',
    "constants": '"yes": true, "no": false, "none": null',
    "nested": '"list": [1, [2, {"deep": "x"}], []], "map": {"a": {"b": null}, "c": {}}',
    "text": r'"text": "He said \"no\",\nthen left — naïve 日本 😀 it' r"'s <b>&amp;</b> \\ \u00e9" '"',
}
for name, values in VALUES.items():
    AGENT[f"arguments_{name}"] = [user(QUESTION), calling(call(arguments=f"{{{values}}}")), result()]
AGENT["call_values"] = [user(QUESTION), calling(call(arguments=f"{{{', '.join(VALUES.values())}}}")), result()]
AGENT["arguments_compact"] = [user(QUESTION), calling(call(arguments='{"city":"Paris","days":["Mon","Tue"]}')), result()]

STRING = {"type": "string", "description": "A text"}
POINT = schema({"lat": {"type": "number"}}, ["lat"], title="Point")
METHODS = ("items", "keys", "values", "get", "type", "name", "description", "properties", "required")
DEFAULTS = (("nothing", "string", None), ("yes", "boolean", True), ("half", "number", 1.5), ("list", "array", []),
            ("map", "object", {}), ("text", "string", "it's \"so\""), ("count", "integer", 0))
PARAMETERS = {
    "no_type": schema({"x": {"description": "Anything"}}, ["x"]),
    "type_list": schema({"x": {"type": ["string", "null"], "description": "A text or nothing"}}),
    "empty": {},
    "missing": None,
    "no_properties": schema({}),
    "any_of": schema({"x": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "Perhaps"}}),
    "ref": schema({"x": {"$ref": "#/$defs/Point"}}, ["x"], **{"$defs": {"Point": POINT}}),
    "items_name": schema({name: STRING for name in METHODS}, ["items", "type"]),
    "default_values": schema({name: {"type": kind, "description": "Has a default", "default": default}
                              for name, kind, default in DEFAULTS}),
    "enum_mixed": schema({"x": {"enum": ["a", 1, 1.5, True, None], "description": "One of these"}}),
    "enum_numbers": schema({"x": {"type": "integer", "enum": [1, 2], "description": "One or two"}}),
    "nested_array": schema({"x": {"type": "array", "description": "A table", "items": {
        "type": "array", "items": schema({"y": STRING}, ["y"])}}}, ["x"]),
    "array_no_items": schema({"x": {"type": "array", "description": "A list"}}),
    "object_no_properties": schema({"x": {"type": "object", "description": "A map"}}),
    "additional": schema({"x": {"type": "object", "description": "A map of numbers",
                                "additionalProperties": {"type": "number"}}}, additionalProperties=False),
    "limits": schema({"x": {"type": "integer", "minimum": 0, "maximum": 1e3, "description": "A number"},
                      "y": {"type": "string", "pattern": "^[a-z]+$", "format": "date", "maxLength": 8,
                            "nullable": True, "description": "A text"}}),
}
SCHEMAS = {name: function("f", parameters) for name, parameters in PARAMETERS.items()} | {
    "no_description": function("f", schema({"x": {"type": "string"}}, ["x"]), None),
    "text": function("f", schema({"x": {"type": "string", "description": "Line\none — it's \"<b>\" & 日本"}}),
                     "Says\n\n\"it's\" </tools> naïve 😀 \\"),
    "sorted": {"function": {"parameters": {"required": ["b"], "properties": {"b": STRING, "a": STRING},
                                           "type": "object"},
                            "name": "f", "description": "Keys in another order."}, "type": "function"},
    "strict": function("f", schema({"x": STRING}, ["x"], additionalProperties=False), strict=True),
}


def cases():
    """All cases. They are copied through JSON, so that no two share an object."""
    requests = {name: {"messages": messages} for name, messages in CONVERSATIONS.items()}
    requests |= {name: {"messages": messages, "tools": TOOLS} for name, messages in AGENT.items()}
    requests |= {f"schema_{name}": {"messages": [user("Hi")], "tools": [tool]} for name, tool in SCHEMAS.items()}
    return json.loads(json.dumps([{"name": name, "request": request} for name, request in requests.items()]))
