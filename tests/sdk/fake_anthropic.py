"""A fake of Anthropic's API: Messages, the count of tokens, and models."""
import base64
import json
import re

from anthropic.types import Message, RawMessageStreamEvent, message_count_tokens_params, message_create_params
from anthropic.types import MessageTokensCount

import fake_scripts as scripts
from fake_http import Fake
from fake_scripts import choose_calls, demand, pieces
from fake_shapes import problems

ERRORS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 413: "request_too_large",
          429: "rate_limit_error", 529: "overloaded_error", 503: "overloaded_error"}
STOPS = {"stop": "end_turn", "length": "max_tokens", "calls": "tool_use", "sequence": "stop_sequence",
         "filter": "refusal", "refusal": "refusal"}
# The types are those of the newer version, which takes no sampling fields.
VERSIONS = ("2023-06-01", "2026-10-21")
SAMPLING = ("temperature", "top_p", "top_k")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


class FakeAnthropic(Fake):
    """One request to Anthropic's API."""

    def get(self):
        demand(self.path.split("?")[0] == "/v1/models", f"no such path: {self.path}")
        entry = {"type": "model", "id": "text", "display_name": "Text", "created_at": "2026-01-01T00:00:00Z",
                 "lifecycle": "active", "max_input_tokens": 200000}
        self.answer(200, {"data": [entry], "has_more": False, "first_id": "text", "last_id": "text"})

    def is_authorised(self):
        return scripts.KEY in (self.headers.get("x-api-key"), self.headers.get("authorization", "").removeprefix("Bearer "))

    def limits(self):
        return {f"anthropic-ratelimit-{name}-remaining": value for name, value in scripts.LIMITS.items()}

    def error(self, status, text):
        return {"type": "error", "error": {"type": ERRORS.get(status, "api_error"), "message": text}, "request_id": "req_1"}

    def words(self, script):
        return "prompt is too long: 300000 tokens > 200000 maximum" if script.fault == "long" else super().words(script)

    def report(self):
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return f"event: error\ndata: {json.dumps(error)}\n\n"

    def serve(self, body, script):
        demand(self.headers.get("anthropic-version") in VERSIONS, "anthropic-version: header is required")
        path = self.path.split("?")[0]
        if path == "/v1/messages/count_tokens":
            self.check(body, message_count_tokens_params.MessageCountTokensParams)
            return self.answer(200, self.faithful({"input_tokens": scripts.PROMPT}, MessageTokensCount))
        demand(path == "/v1/messages", f"no such path: {self.path}")
        streams = message_create_params.MessageCreateParamsStreaming, message_create_params.MessageCreateParamsNonStreaming
        self.check(body, streams[0 if body.get("stream") else 1])
        check_settings(body, script)
        message = write(body, script)
        if body.get("stream"):
            return self.stream([self.frame(event) for event in events(message)], script)
        return self.whole(self.faithful(message, Message), script)

    def check(self, body, shape):
        sampling = {} if self.headers["anthropic-version"] == VERSIONS[1] else {name: body[name] for name in SAMPLING if name in body}
        wrong = [f"{name} is no number" for name, value in sampling.items() if not isinstance(value, (int, float))]
        wrong += problems({name: value for name, value in body.items() if name not in sampling}, shape)
        demand(not wrong, "; ".join(wrong))
        check_turns(body["messages"], body.get("thinking", {}).get("type") in ("enabled", "adaptive"))
        check_tools(body)

    def faithful(self, body, shape):
        self.unfaithful.extend(problems(body, shape))
        return body

    def frame(self, event):
        if event["type"] != "ping":
            self.faithful(event, RawMessageStreamEvent)
        return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"


def blocks(content):
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def check_turns(messages, thinks):
    """The documented rules that the types do not say."""
    demand(messages and messages[0]["role"] == "user", "messages: first message must use the user role")
    open_calls = []
    for at, message in enumerate(messages):
        parts = blocks(message["content"])
        demand(parts, f"messages.{at}: content must be non-empty")
        for part in parts:
            if part["type"] == "text":
                demand(part["text"].strip(), f"messages.{at}: text content blocks must contain non-whitespace text")
            if part["type"] == "thinking":
                demand(part["signature"] == scripts.SIGNATURE, f"messages.{at}: Invalid `signature` in `thinking` block")
        results = [part["tool_use_id"] for part in parts if part["type"] == "tool_result"]
        demand(sorted(results) == sorted(open_calls), f"messages.{at}: tool_use {open_calls} needs its tool_result, not {results}")
        leading = [part["type"] for part in parts[: len(results)]]
        demand(all(kind == "tool_result" for kind in leading), f"messages.{at}: tool_result blocks come first")
        open_calls = [part["id"] for part in parts if part["type"] == "tool_use"]
        for name in open_calls:
            demand(NAME.fullmatch(name), f"messages.{at}: tool_use.id {name!r}")
        if thinks and open_calls and at == len(messages) - 2:
            demand(parts[0]["type"] in ("thinking", "redacted_thinking"), f"messages.{at}: must start with a thinking block")
    demand(not open_calls, "tool_use without tool_result")
    last = blocks(messages[-1]["content"])[-1]
    if messages[-1]["role"] == "assistant" and last["type"] == "text":
        demand(last["text"] == last["text"].rstrip(), "final assistant content cannot end with trailing whitespace")


def check_tools(body):
    tools = body.get("tools", [])
    demand("tool_choice" not in body or tools, "tool_choice may only be specified while providing tools")
    for tool in tools:
        demand(NAME.fullmatch(tool["name"]), f"tools: name {tool['name']!r}")
        if tool.get("strict"):
            scripts.check_strict_schema(tool["input_schema"], "tools.input_schema")


def check_settings(body, script):
    limit, thinking, choice = body["max_tokens"], body.get("thinking", {}), body.get("tool_choice", {})
    demand(limit >= 1, "max_tokens: must be at least 1")
    demand(0 <= body.get("temperature", 1) <= 1, "temperature: range: 0..1")
    if thinking.get("type") == "enabled":
        demand(1024 <= thinking["budget_tokens"] < limit, "max_tokens must be greater than thinking.budget_tokens")
    if thinking.get("type") in ("enabled", "adaptive"):
        demand(body.get("temperature", 1) == 1, "temperature may only be set to 1 when thinking is enabled")
        demand(body.get("top_k") is None, "top_k must be unset when thinking is enabled")
        demand(choice.get("type") not in ("any", "tool"), "Thinking may not be enabled when tool_choice forces tool use")
    demand(all(stop.strip() for stop in body.get("stop_sequences", [])), "stop_sequences: each must contain non-whitespace")
    format = body.get("output_config", {}).get("format")
    if format:
        scripts.check_strict_schema(format["schema"], "output_config.format.schema")
    if script is scripts.SCRIPTS["json"]:
        demand(scripts.has_city((format or {}).get("schema")), f"the script needs its schema, not {format}")
    if script is scripts.SCRIPTS["sequence"]:
        demand(scripts.END in body.get("stop_sequences", []), "the script needs its stop sequence")
    if script is scripts.SCRIPTS["image"]:
        sources = [part["source"] for turn in body["messages"] for part in blocks(turn["content"]) if part["type"] == "image"]
        images = [base64.b64decode(source["data"], validate=True) for source in sources]
        demand(images == [scripts.IMAGE], "the image has not arrived as it was sent")


def write(body, script):
    """The whole message."""
    content = []
    thinks = script.reasoning and body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if thinks:
        content.append({"type": "thinking", "thinking": script.reasoning, "signature": scripts.SIGNATURE})
    if script.text:
        content.append({"type": "text", "text": script.text, "citations": None})
    names, choice = {tool["name"] for tool in body.get("tools", [])}, body.get("tool_choice", {})
    forced = choice.get("name")
    parallel = not choice.get("disable_parallel_tool_use", False)
    may_call = choice.get("type") != "none"
    for at, (name, arguments) in enumerate(choose_calls(script, names, forced, parallel, may_call)):
        content.append({"type": "tool_use", "id": f"toolu_0{at}", "name": name, "input": json.loads(arguments)})
    finish = script.finish if may_call else "stop"
    details = {"type": "refusal", "category": None, "explanation": None} if finish in ("refusal", "filter") else None
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": content,
            "stop_reason": STOPS[finish], "stop_sequence": scripts.END if finish == "sequence" else None,
            "stop_details": details, "usage": usage(thinks)}


def usage(thinks):
    return {"input_tokens": scripts.PROMPT - scripts.CACHED - scripts.WRITTEN, "cache_read_input_tokens": scripts.CACHED,
            "cache_creation_input_tokens": scripts.WRITTEN, "output_tokens": scripts.OUTPUT, "service_tier": "standard",
            "output_tokens_details": {"thinking_tokens": scripts.REASONING if thinks else 0}}


def events(message):
    """The same message as a stream."""
    first = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None,
             "usage": {**message["usage"], "output_tokens": 1, "output_tokens_details": {"thinking_tokens": 0}}}
    yield {"type": "message_start", "message": first}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        start, deltas = deltas_of(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    counts = {name: value for name, value in message["usage"].items() if name != "service_tier"}
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": delta, "usage": counts}
    yield {"type": "message_stop"}


def deltas_of(block):
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        return {**block, "thinking": "", "signature": ""}, [*deltas, {"type": "signature_delta", "signature": block["signature"]}]
    if block["type"] == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    # The first piece is empty. Without arguments it is the only one.
    texts = [""] + (pieces(json.dumps(block["input"], ensure_ascii=False)) if block["input"] else [])
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text} for text in texts]
