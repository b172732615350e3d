"""Requests in no protocol, as each client's protocol writes them, and as the providers' protocols read them."""
import base64
import dataclasses
import json

import fake_scripts as scripts

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
ZONE = {"type": "object", "properties": {"zone": {"type": "string"}}}
# An open object with an optional property.
LOOSE = {"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": "string"}}, "required": ["city"]}
POST = {**LOOSE, "additionalProperties": False}
TOOLS = {"post": ("By zip code", POST), "weather": ("Weather in a city", CITY), "time": ("Time in a zone", ZONE), "now": ("", {"type": "object", "properties": {}})}


@dataclasses.dataclass(frozen=True)
class Turn:
    # user, assistant, result or system.
    role: str
    text: str = ""
    # Of an assistant: (id, name, arguments) of each call.
    calls: tuple = ()
    reasoning: str = ""
    # Of a result: the call.
    call: str = ""
    image: bool = False


HELLO = Turn("user", "How is Zürich, 你好?")


@dataclasses.dataclass(frozen=True)
class Ask:
    system: str = "Be brief."
    turns: tuple = (HELLO,)
    tools: tuple = ()
    # auto, none, required, or a tool's name.
    choice: str = "auto"
    parallel: bool = True
    strict: bool = False
    max_tokens: int | None = 64
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple = ()
    schema: dict | None = None
    json_object: bool = False
    # low, or none, which turns thinking off.
    effort: str | None = None
    budget: int | None = None
    # More fields of each client's protocol.
    extra: dict = dataclasses.field(default_factory=dict)


def given(**fields):
    return {name: value for name, value in fields.items() if value not in (None, [], ())}


def image_url():
    return "data:image/png;base64," + base64.b64encode(scripts.IMAGE).decode()


def as_chat(ask):
    choices = {"auto": None, "none": "none", "required": "required"}
    choice = choices.get(ask.choice, {"type": "function", "function": {"name": ask.choice}})
    format = {"name": "city", "schema": ask.schema, "strict": ask.schema is CITY}
    response_format = {"type": "json_schema", "json_schema": format} if ask.schema else None
    if ask.json_object:
        response_format = {"type": "json_object"}
    messages = [{"role": "system", "content": ask.system}] if ask.system else []
    tools = [{"type": "function", "function": {"name": name, "description": TOOLS[name][0], "parameters": TOOLS[name][1],
                                               **({"strict": True} if ask.strict else {})}} for name in ask.tools]
    return given(messages=messages + [chat_turn(turn) for turn in ask.turns], tools=tools, tool_choice=choice,
                 parallel_tool_calls=None if ask.parallel else False, max_completion_tokens=ask.max_tokens,
                 temperature=ask.temperature, top_p=ask.top_p, stop=list(ask.stop), response_format=response_format,
                 reasoning_effort=ask.effort) | ask.extra.get("chat", {})


def chat_turn(turn):
    if turn.role == "result":
        return {"role": "tool", "tool_call_id": turn.call, "content": turn.text}
    if turn.image:
        return {"role": "user", "content": [{"type": "text", "text": turn.text}, {"type": "image_url", "image_url": {"url": image_url()}}]}
    calls = [{"id": id, "type": "function", "function": {"name": name, "arguments": arguments}} for id, name, arguments in turn.calls]
    return {"role": turn.role, "content": turn.text or None, **given(tool_calls=calls)}


def as_responses(ask):
    choices = {"auto": None, "none": "none", "required": "required"}
    choice = choices.get(ask.choice, {"type": "function", "name": ask.choice})
    format = {"type": "json_schema", "name": "city", "schema": ask.schema, "strict": ask.schema is CITY} if ask.schema else None
    if ask.json_object:
        format = {"type": "json_object"}
    tools = [{"type": "function", "name": name, "description": TOOLS[name][0], "parameters": TOOLS[name][1], "strict": ask.strict}
             for name in ask.tools]
    items = [item for turn in ask.turns for item in responses_items(turn)]
    return given(instructions=ask.system, input=items, tools=tools, tool_choice=choice,
                 parallel_tool_calls=None if ask.parallel else False, max_output_tokens=ask.max_tokens,
                 temperature=ask.temperature, top_p=ask.top_p, text={"format": format} if format else None,
                 reasoning={"effort": ask.effort} if ask.effort else None) | ask.extra.get("responses", {})


def as_unstored(ask):
    return as_responses(ask) | {"store": False} | ask.extra.get("unstored", {})


def responses_items(turn):
    if turn.role == "result":
        return [{"type": "function_call_output", "call_id": turn.call, "output": turn.text}]
    if turn.image:
        return [{"role": "user", "content": [{"type": "input_text", "text": turn.text},
                                             {"type": "input_image", "image_url": image_url(), "detail": "auto"}]}]
    said = [{"role": turn.role, "content": turn.text}] if turn.text else []
    return said + [{"type": "function_call", "call_id": id, "name": name, "arguments": arguments} for id, name, arguments in turn.calls]


def as_messages(ask):
    choices = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}
    choice = choices.get(ask.choice, {"type": "tool", "name": ask.choice})
    if not ask.parallel:
        choice = {**choice, "disable_parallel_tool_use": True}
    tools = [{"name": name, "description": TOOLS[name][0], "input_schema": TOOLS[name][1], **({"strict": True} if ask.strict else {})}
             for name in ask.tools]
    config = given(format={"type": "json_schema", "schema": ask.schema} if ask.schema else None,
                   effort=ask.effort if ask.effort != "none" else None)
    thinking = {"type": "disabled"} if ask.effort == "none" else {"type": "adaptive"} if ask.effort else None
    if ask.budget:
        thinking = {"type": "enabled", "budget_tokens": ask.budget}
    sampling = given(temperature=ask.temperature, top_p=ask.top_p)
    # The SDK's own version of the API has no sampling fields.
    older = {"extra_body": sampling, "extra_headers": {"anthropic-version": "2023-06-01"}} if sampling else {}
    return given(system=ask.system or None, messages=messages_turns(ask.turns), tools=tools,
                 tool_choice=choice if choice != choices["auto"] else None, max_tokens=ask.max_tokens,
                 stop_sequences=list(ask.stop), output_config=config or None, thinking=thinking, **older) | ask.extra.get("messages", {})


def messages_turns(turns):
    """Results of one round of calls, and what the user says after them, are one turn."""
    written = []
    for turn in turns:
        role = "user" if turn.role == "result" else turn.role
        if written and written[-1]["role"] == role:
            written[-1]["content"] += messages_blocks(turn)
        else:
            written.append({"role": role, "content": messages_blocks(turn)})
    return written


def messages_blocks(turn):
    if turn.role == "result":
        return [{"type": "tool_result", "tool_use_id": turn.call, "content": [{"type": "text", "text": turn.text}]}]
    thought = [{"type": "thinking", "thinking": turn.reasoning, "signature": scripts.SIGNATURE}] if turn.reasoning else []
    said = [{"type": "text", "text": turn.text}] if turn.text else []
    data = base64.b64encode(scripts.IMAGE).decode()
    seen = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}] if turn.image else []
    calls = [{"type": "tool_use", "id": id, "name": name, "input": json.loads(arguments)} for id, name, arguments in turn.calls]
    return thought + said + seen + calls


def as_completion(ask):
    return given(prompt=ask.turns[-1].text, max_tokens=ask.max_tokens, temperature=ask.temperature, top_p=ask.top_p,
                 stop=list(ask.stop)) | ask.extra.get("completions", {})


def wanted(ask, anthropic):
    """What a provider must read of a request: the same as of [`read_chat`] and [`read_messages`]."""
    roles = {"system": "user" if anthropic else "system"}
    turns = [(roles.get(turn.role, turn.role), turn.call, turn.text, calls_of(turn.calls)) for turn in ask.turns]
    # OpenAI's strict mode has no optional properties.
    tools = [(name, *TOOLS[name], ask.strict and (anthropic or TOOLS[name][1] is not POST)) for name in ask.tools]
    schema = {**ask.schema, "additionalProperties": False} if ask.schema else "object" if ask.json_object else None
    return {"system": ask.system, "turns": turns, "tools": tools, "choice": ask.choice, "parallel": ask.parallel,
            "max_tokens": ask.max_tokens or (8192 if anthropic else None), "temperature": ask.temperature, "top_p": ask.top_p,
            "stop": list(ask.stop), "schema": schema}


def calls_of(calls):
    return [(id, name, json.loads(arguments)) for id, name, arguments in calls]


def text_of(content):
    """The text of a content. The fakes compare the bytes of images."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return content or ""


def read_chat(body):
    """What a request of chat completions says."""
    messages = body["messages"]
    system = [turn["content"] for turn in messages[:1] if turn["role"] in ("system", "developer")]
    turns = []
    for turn in messages[len(system):]:
        calls = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in turn.get("tool_calls", [])]
        role = {"tool": "result", "developer": "system"}.get(turn["role"], turn["role"])
        turns.append((role, turn.get("tool_call_id", ""), text_of(turn["content"]), calls_of(calls)))
    functions = [tool["function"] for tool in body.get("tools", [])]
    tools = [(one["name"], one.get("description", ""), one["parameters"], one.get("strict", False)) for one in functions]
    choice = body.get("tool_choice", "auto")
    format = body.get("response_format", {})
    schema = "object" if format.get("type") == "json_object" else format.get("json_schema", {}).get("schema")
    return {"system": "".join(system), "turns": turns, "tools": tools,
            "choice": choice if isinstance(choice, str) else choice["function"]["name"],
            "parallel": body.get("parallel_tool_calls", True),
            "max_tokens": body.get("max_tokens", body.get("max_completion_tokens")), "temperature": body.get("temperature"),
            "top_p": body.get("top_p"), "stop": body.get("stop", []), "schema": schema}


def read_messages(body):
    """What a request of Messages says."""
    turns = []
    for turn in body["messages"]:
        blocks = [{"type": "text", "text": turn["content"]}] if isinstance(turn["content"], str) else turn["content"]
        calls = [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
        if calls:
            text = "".join(block["text"] for block in blocks if block["type"] == "text")
            turns.append((turn["role"], "", text, calls))
            continue
        for block in blocks:
            if block["type"] == "image":
                # The fakes compare its bytes.
                continue
            is_result = block["type"] == "tool_result"
            place = ("result", block["tool_use_id"]) if is_result else (turn["role"], "")
            turns.append((*place, block["content"] if is_result else block["text"], []))
    choice = body.get("tool_choice", {"type": "auto"})
    kinds = {"any": "required", "tool": choice.get("name")}
    tools = [(tool["name"], tool.get("description", ""), tool["input_schema"], tool.get("strict", False)) for tool in body.get("tools", [])]
    return {"system": body.get("system", ""), "turns": turns, "tools": tools, "choice": kinds.get(choice["type"], choice["type"]),
            "parallel": not choice.get("disable_parallel_tool_use", False), "max_tokens": body["max_tokens"],
            "temperature": body.get("temperature"), "top_p": body.get("top_p"), "stop": body.get("stop_sequences", []),
            "schema": body.get("output_config", {}).get("format", {}).get("schema")}
