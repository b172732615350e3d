"""The fake of OpenAI's Responses."""
import base64
import json

from openai.types.responses import Response, ResponseStreamEvent, response_create_params

import fake_scripts as scripts
from fake_scripts import choose_calls, demand, pieces
from fake_shapes import problems


def serve(fake, body, script):
    shapes = response_create_params.ResponseCreateParamsStreaming, response_create_params.ResponseCreateParamsNonStreaming
    wrong = problems(body, shapes[0 if body.get("stream") else 1])
    demand(not wrong, "; ".join(wrong))
    check(body, script)
    response = write(body, script)
    fake.unfaithful.extend(problems(response, Response))
    if not body.get("stream"):
        return fake.whole(response, script)
    frames = []
    for number, event in enumerate(events(response)):
        event["sequence_number"] = number
        fake.unfaithful.extend(problems(event, ResponseStreamEvent))
        frames.append(f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n")
    if script.fault == "report":
        frames = frames[:3]
    return fake.stream(frames, script)


def items(body):
    return [{"role": "user", "content": body["input"]}] if isinstance(body.get("input"), str) else body.get("input", [])


def check(body, script):
    """The documented rules that the types do not say."""
    calls = [item["call_id"] for item in items(body) if item.get("type") in ("function_call", "custom_tool_call")]
    results = [item["call_id"] for item in items(body) if item.get("type") in ("function_call_output", "custom_tool_call_output")]
    demand(sorted(calls) == sorted(results), f"No tool output found for function call {sorted(set(calls) - set(results))}")
    for item in items(body):
        if item.get("type") == "reasoning" and item.get("encrypted_content") is not None:
            demand(item["encrypted_content"] == scripts.SEALED, "the encrypted content could not be verified")
    for tool in body.get("tools", []):
        if tool.get("strict"):
            scripts.check_strict_schema(tool["parameters"], "tools.parameters", needs_all=True)
    demand(not body.get("reasoning", {}).get("effort") or script.reasoning, "Unsupported parameter: 'reasoning.effort'")
    format = body.get("text", {}).get("format", {})
    if format.get("strict"):
        scripts.check_strict_schema(format["schema"], "text.format", needs_all=True)
    if script is scripts.SCRIPTS["json"]:
        demand(scripts.has_city(format.get("schema")) or format.get("type") == "json_object", f"the script needs its schema, not {format}")
    if script is scripts.SCRIPTS["image"]:
        parts = [part for item in items(body) if isinstance(item.get("content"), list) for part in item["content"]]
        urls = [part["image_url"] for part in parts if part["type"] == "input_image"]
        images = [base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True) for url in urls]
        demand(images == [scripts.IMAGE], "the image has not arrived as it was sent")


def write(body, script):
    """The whole response."""
    output = []
    if thinks(body, script):
        sealed = scripts.SEALED if "reasoning.encrypted_content" in (body.get("include") or []) else None
        summary = [{"type": "summary_text", "text": script.reasoning}] if body.get("reasoning", {}).get("summary") else []
        output.append({"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": sealed})
    if script.text:
        refuses = script.finish == "refusal"
        part = {"type": "refusal", "refusal": script.text} if refuses else {
            "type": "output_text", "text": script.text, "annotations": [], "logprobs": []}
        output.append({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]})
    tools, choice = body.get("tools", []), body.get("tool_choice", "auto")
    kinds = {tool["name"]: tool["type"] for tool in tools if "name" in tool}
    forced = choice.get("name") if isinstance(choice, dict) else None
    chosen = choose_calls(script, set(kinds), forced, body.get("parallel_tool_calls", True), choice != "none")
    for at, (name, arguments) in enumerate(chosen):
        call = {"id": f"fc_{at}", "call_id": f"call_0{at}", "name": name}
        if kinds[name] == "custom":
            output.append({**call, "type": "custom_tool_call", "input": json.loads(arguments)["input"]})
        else:
            output.append({**call, "type": "function_call", "arguments": arguments, "status": "completed"})
    why = {"length": "max_output_tokens", "filter": "content_filter"}.get(script.finish)
    echo = {name: body[name] for name in ("instructions", "temperature", "top_p", "max_output_tokens") if name in body}
    echoed = [{"description": None, "strict": True, **tool} if tool["type"] == "function" else tool for tool in tools]
    return {"id": "resp_fake", "object": "response", "created_at": 1, "model": body["model"], "output": output,
            "status": "incomplete" if why else "completed", "incomplete_details": {"reason": why} if why else None,
            "error": None, "metadata": {}, "parallel_tool_calls": body.get("parallel_tool_calls", True), "tools": echoed,
            "tool_choice": choice, "usage": usage(body, script), **echo}


def thinks(body, script):
    return bool(script.reasoning) and body.get("reasoning", {}).get("effort") != "none"


def usage(body, script):
    return {"input_tokens": scripts.PROMPT, "output_tokens": scripts.OUTPUT, "total_tokens": scripts.PROMPT + scripts.OUTPUT,
            "input_tokens_details": {"cached_tokens": scripts.CACHED, "cache_write_tokens": scripts.WRITTEN},
            "output_tokens_details": {"reasoning_tokens": scripts.REASONING if thinks(body, script) else 0}}


def events(response):
    """The same response as a stream."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        place = {"item_id": item["id"], "output_index": index}
        yield {"type": "response.output_item.added", "output_index": index, "item": started(item)}
        if item["type"] == "message":
            yield from events_of_part(item["content"][0], {**place, "content_index": 0})
        elif item["type"] == "function_call":
            for piece in pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
            yield {"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]}
        elif item["type"] == "custom_tool_call":
            for piece in pieces(item["input"]):
                yield {"type": "response.custom_tool_call_input.delta", **place, "delta": piece}
            yield {"type": "response.custom_tool_call_input.done", **place, "input": item["input"]}
        for at, part in enumerate(item.get("summary", [])):
            yield from events_of_summary(part, {**place, "summary_index": at})
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{response['status']}", "response": response}


def started(item):
    empty = {"message": {"content": []}, "function_call": {"arguments": ""}, "custom_tool_call": {"input": ""}, "reasoning": {"summary": []}}
    return {**item, **empty[item["type"]], **({"status": "in_progress"} if "status" in item else {})}


def events_of_part(part, place):
    kind = part["type"]
    field, name = ("text", "output_text") if kind == "output_text" else ("refusal", "refusal")
    yield {"type": "response.content_part.added", **place, "part": {**part, field: ""}}
    more = {"logprobs": []} if kind == "output_text" else {}
    for piece in pieces(part[field]):
        yield {"type": f"response.{name}.delta", **place, "delta": piece, **more}
    yield {"type": f"response.{name}.done", **place, field: part[field], **more}
    yield {"type": "response.content_part.done", **place, "part": part}


def events_of_summary(part, place):
    yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **place, "text": part["text"]}
    yield {"type": "response.reasoning_summary_part.done", **place, "part": part}
