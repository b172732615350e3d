"""A fake of OpenAI's API: chat completions, completions, Responses and models. Below `/compat` it is a server that is only compatible."""
import base64
import json
import re

from openai.types import Completion, completion_create_params
from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params as chat_params

import fake_responses
import fake_scripts as scripts
from fake_http import Fake
from fake_scripts import choose_calls, demand, pieces
from fake_shapes import problems

ERRORS = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
STOPS = {"stop": "stop", "length": "length", "calls": "tool_calls", "sequence": "stop", "filter": "content_filter", "refusal": "stop"}
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
# Fields of vLLM and llama.cpp.
EXTENSIONS = {"top_k", "min_p", "repetition_penalty", "min_tokens", "ignore_eos", "stop_token_ids", "chat_template_kwargs",
              "thinking_token_budget"}
TOKENS = ("Grüße", ", ", "世界")


class FakeOpenAi(Fake):
    """One request to OpenAI's API."""

    def get(self):
        demand(self.path.removeprefix("/compat") == "/v1/models", f"no such path: {self.path}")
        self.answer(200, {"object": "list", "data": [{"id": "text", "object": "model", "created": 1, "owned_by": "fake"}]})

    def is_authorised(self):
        return self.headers.get("authorization") == f"Bearer {scripts.KEY}"

    def limits(self):
        return {f"x-ratelimit-remaining-{name}": value for name, value in scripts.LIMITS.items()}

    def error(self, status, text):
        kind = "invalid_request_error" if status < 500 else "server_error"
        code = "context_length_exceeded" if "maximum context length" in text else ERRORS.get(status)
        return {"error": {"message": text, "type": kind, "param": None, "code": code}}

    def words(self, script):
        if script.fault == "long":
            return "This model's maximum context length is 128000 tokens, and you asked for 300000"
        return super().words(script)

    def report(self):
        return f"data: {json.dumps(self.error(500, 'The server had an error'))}\n\n"

    def serve(self, body, script):
        self.is_compatible = self.path.startswith("/compat")
        path = self.path.removeprefix("/compat")
        if path == "/v1/responses" and not self.is_compatible:
            return fake_responses.serve(self, body, script)
        if path == "/v1/completions":
            return self.complete(body, script)
        demand(path == "/v1/chat/completions", f"no such path: {self.path}")
        shapes = chat_params.CompletionCreateParamsStreaming, chat_params.CompletionCreateParamsNonStreaming
        self.check(body, shapes[0 if body.get("stream") else 1])
        check_turns(body["messages"])
        check_settings(body, script, not self.is_compatible)
        answer = self.write_chat(body, script)
        if body.get("stream"):
            counts = body.get("stream_options", {}).get("include_usage")
            chunks = [self.faithful(chunk, ChatCompletionChunk) for chunk in chunks_of(answer, script, counts)]
            return self.stream([frame(chunk) for chunk in chunks] + ["data: [DONE]\n\n"], script)
        return self.whole(self.faithful(answer, ChatCompletion), script)

    def check(self, body, shape):
        if self.is_compatible:
            body = {name: value for name, value in body.items() if name not in EXTENSIONS}
            if "messages" in body:
                body["messages"] = [{name: value for name, value in turn.items() if name != "reasoning_content"}
                                    for turn in body["messages"]]
        wrong = problems(body, shape)
        demand(not wrong, "; ".join(wrong))
        demand("stream_options" not in body or body.get("stream"), "stream_options is only allowed when streaming")

    def faithful(self, body, shape):
        shown = json.loads(json.dumps(body))
        for choice in shown.get("choices", []):
            # A field of compatible servers.
            part = choice.get("message", choice.get("delta", {}))
            part.pop("reasoning_content", None)
            # The types know custom calls in whole answers only.
            if "delta" in choice and any("custom" in call for call in part.get("tool_calls", [])):
                del part["tool_calls"]
        self.unfaithful.extend(problems(shown, shape))
        return body

    def write_chat(self, body, script):
        """The whole answer. `reasoning_content` is a field of compatible servers."""
        tools = [tool[tool["type"]]["name"] for tool in body.get("tools", [])]
        choice = body.get("tool_choice", "auto")
        forced = choice[choice["type"]]["name"] if isinstance(choice, dict) else None
        may_call = choice != "none"
        chosen = choose_calls(script, set(tools), forced, body.get("parallel_tool_calls", True), may_call)
        kinds = {tool[tool["type"]]["name"]: tool["type"] for tool in body.get("tools", [])}
        calls = [write_call(at, call, kinds[call[0]]) for at, call in enumerate(chosen)]
        refuses = script.finish == "refusal"
        message = {"role": "assistant", "content": None if refuses or not script.text else script.text,
                   "refusal": script.text if refuses else None}
        if calls:
            message["tool_calls"] = calls
        if script.reasoning and self.is_compatible and thinks(body, script):
            message["reasoning_content"] = script.reasoning
        finish = STOPS[script.finish if may_call else "stop"]
        logprobs = logprobs_of(body.get("top_logprobs", 0)) if body.get("logprobs") else None
        one = {"message": message, "finish_reason": finish, "logprobs": logprobs}
        return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"], "usage": usage(body, script),
                "choices": [{"index": at, **one} for at in range(body.get("n") or 1)]}

    def complete(self, body, script):
        shapes = completion_create_params.CompletionCreateParamsStreaming, completion_create_params.CompletionCreateParamsNonStreaming
        self.check(body, shapes[0 if body.get("stream") else 1])
        if script is scripts.SCRIPTS["sequence"]:
            demand(scripts.END in body.get("stop", []), "the script needs its stop sequence")
        head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"]}
        choice = {"index": 0, "logprobs": None, "finish_reason": STOPS[script.finish]}
        if not body.get("stream"):
            answer = {**head, "choices": [{**choice, "text": script.text}], "usage": usage(body, script)}
            return self.whole(self.faithful(answer, Completion), script)
        # In a stream all but the last chunk have no reason, although the types demand one.
        chunks = [{**head, "choices": [{**choice, "text": piece, "finish_reason": None}]} for piece in pieces(script.text)]
        chunks.append(self.faithful({**head, "choices": [{**choice, "text": ""}]}, Completion))
        if body.get("stream_options", {}).get("include_usage"):
            chunks.append({**head, "choices": [], "usage": usage(body, script)})
        return self.stream([frame(chunk) for chunk in chunks] + ["data: [DONE]\n\n"], script)


def frame(chunk):
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"


def write_call(at, call, kind):
    name, arguments = call
    if kind == "custom":
        return {"id": f"call_0{at}", "type": "custom", "custom": {"name": name, "input": json.loads(arguments)["input"]}}
    return {"id": f"call_0{at}", "type": "function", "function": {"name": name, "arguments": arguments}}


def thinks(body, script):
    return bool(script.reasoning) and body.get("reasoning_effort") != "none"


def usage(body, script):
    return {"prompt_tokens": scripts.PROMPT, "completion_tokens": scripts.OUTPUT, "total_tokens": scripts.PROMPT + scripts.OUTPUT,
            "prompt_tokens_details": {"cached_tokens": scripts.CACHED, "cache_write_tokens": scripts.WRITTEN},
            "completion_tokens_details": {"reasoning_tokens": scripts.REASONING if thinks(body, script) else 0}}


def logprobs_of(top):
    def entry(text):
        return {"token": text, "logprob": -0.5, "bytes": list(text.encode())}
    return {"content": [{**entry(text), "top_logprobs": [entry(text)][:top]} for text in TOKENS], "refusal": None}


def chunks_of(answer, script, counts):
    """The same answer as a stream."""
    head = {name: answer[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    if counts:
        head["usage"] = None

    def chunk(index, delta, finish=None, logprobs=None):
        return {**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}]}

    for choice in answer["choices"]:
        index, message = choice["index"], choice["message"]
        yield chunk(index, {"role": "assistant", "content": "" if message["content"] else None, "refusal": None})
        for name in ("reasoning_content", "content", "refusal"):
            for at, piece in enumerate(pieces(message.get(name) or "")):
                yield chunk(index, {name: piece}, logprobs=choice["logprobs"] if at == 0 else None)
        for at, call in enumerate(message.get("tool_calls", [])):
            kind = call["type"]
            field, value = ("arguments", call[kind].get("arguments")) if kind == "function" else ("input", call[kind].get("input"))
            yield chunk(index, {"tool_calls": [{"index": at, **call, kind: {**call[kind], field: ""}}]})
            for piece in pieces(value):
                yield chunk(index, {"tool_calls": [{"index": at, kind: {field: piece}}]})
        yield chunk(index, {}, choice["finish_reason"])
    if counts:
        yield {**head, "choices": [], "usage": answer["usage"]}


def check_turns(messages):
    """The documented rules that the types do not say."""
    demand(messages, "messages: array too short")
    open_calls = []
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            demand(message["tool_call_id"] in open_calls, f"messages[{at}]: tool must follow a message with this tool call")
            open_calls.remove(message["tool_call_id"])
            continue
        demand(not open_calls, f"messages[{at}]: tool_call_ids did not have response messages: {open_calls}")
        open_calls = [call["id"] for call in message.get("tool_calls", [])]
        if message["role"] == "assistant":
            demand(message.get("content") is not None or open_calls, f"messages[{at}].content: expected a string, got null")
    demand(not open_calls, f"tool_call_ids did not have response messages: {open_calls}")


def check_settings(body, script, needs_all):
    tools, format = body.get("tools"), body.get("response_format", {})
    demand(tools is None or tools, "tools: array too short")
    for name in ("tool_choice", "parallel_tool_calls"):
        demand(name not in body or tools, f"{name} is only allowed when tools are specified")
    demand("top_logprobs" not in body or body.get("logprobs"), "top_logprobs needs logprobs")
    demand(not ("max_tokens" in body and "max_completion_tokens" in body), "max_tokens and max_completion_tokens")
    # Models that do not reason refuse the field: https://developers.openai.com/api/docs/guides/reasoning.
    demand("reasoning_effort" not in body or script.reasoning, "Unrecognized request argument supplied: reasoning_effort")
    stop = body.get("stop") or []
    demand(len([stop] if isinstance(stop, str) else stop) <= 4, "stop: array too long")
    for tool in tools or []:
        function = tool[tool["type"]]
        demand(NAME.fullmatch(function["name"]), f"tools: name {function['name']!r}")
        if function.get("strict"):
            scripts.check_strict_schema(function["parameters"], "tools.parameters", needs_all)
    if format.get("type") == "json_object":
        demand("json" in json.dumps(body["messages"]).lower(), "'messages' must contain the word 'json' in some form")
    if format.get("type") == "json_schema" and format["json_schema"].get("strict"):
        scripts.check_strict_schema(format["json_schema"]["schema"], "response_format", needs_all)
    if script is scripts.SCRIPTS["json"]:
        schema = format.get("json_schema", {}).get("schema")
        demand(scripts.has_city(schema) or format.get("type") == "json_object", f"the script needs its schema, not {format}")
    if script is scripts.SCRIPTS["sequence"]:
        demand(scripts.END in stop, "the script needs its stop sequence")
    if script is scripts.SCRIPTS["image"]:
        parts = [part for turn in body["messages"] if isinstance(turn["content"], list) for part in turn["content"]]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        images = [base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True) for url in urls]
        demand(images == [scripts.IMAGE], "the image has not arrived as it was sent")
