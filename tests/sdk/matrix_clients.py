"""The official SDKs as clients: each sends an [`Ask`], and reads the answer, streamed or not, into the same form."""
import dataclasses
import json

import anthropic
import openai
from anthropic.types import Message, RawMessageStreamEvent
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

import matrix_asks as asks
from fake_shapes import problems

TIMEOUT = 30


@dataclasses.dataclass
class Answer:
    text: str = ""
    reasoning: str = ""
    # (name, arguments) of each call.
    calls: list = dataclasses.field(default_factory=list)
    finish: str | None = None
    stop: str | None = None
    usage: dict = dataclasses.field(default_factory=dict)
    model: str = ""
    headers: dict = dataclasses.field(default_factory=dict)
    # The body as the SDK sent it.
    sent: dict = dataclasses.field(default_factory=dict)
    signature: str = ""
    sealed: str = ""
    logprobs: list = dataclasses.field(default_factory=list)
    choices: int = 1
    id: str = ""
    # What differs from the SDK's types.
    unfit: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Failed:
    """An error of the SDK. The status is 0 if it came after the answer had begun."""
    status: int
    message: str
    param: str | None = None
    retry_after: str | None = None
    kind: str = ""
    backend: str | None = None


def fit(value, shape):
    """What differs from the SDK's type. Further fields are not in its way."""
    return [problem for problem in problems(value, shape) if "unknown field" not in problem]


def dump(value):
    return value.model_dump(mode="json", exclude_unset=True, by_alias=True, warnings=False)


def begin(raw):
    content = raw.http_request.content
    return Answer(headers=dict(raw.headers), sent=json.loads(content) if content else {})


def guarded(call):
    """Runs a call of an SDK."""
    try:
        return call()
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        body = error.body if isinstance(error.body, dict) else {}
        inner = body.get("error", body)
        inner = inner if isinstance(inner, dict) else {}
        headers = error.response.headers
        status = error.status_code if error.status_code >= 400 else 0
        return Failed(status, str(inner.get("message", error)), inner.get("param"), headers.get("retry-after"),
                      str(inner.get("code") or inner.get("type")), headers.get("x-mlxd-backend"))
    except (openai.APIError, anthropic.APIError) as error:
        return Failed(0, str(error), kind=type(error).__name__)
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "json"):
            raise
        return Failed(0, str(error), kind=type(error).__name__)


class Chat:
    def __init__(self, url, key):
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=TIMEOUT, max_retries=0)

    def ask(self, model, ask, stream):
        fields = asks.as_chat(ask)
        if stream:
            fields.setdefault("stream_options", {"include_usage": True})
        raw = self.client.chat.completions.with_raw_response.create(model=model, stream=stream, **fields)
        answer = begin(raw)
        return self.fold(answer, raw.parse()) if stream else self.read(answer, raw.parse())

    def read(self, answer, whole):
        choice = whole.choices[0]
        message = choice.message
        answer.unfit = fit(dump(whole), ChatCompletion)
        answer.text = (message.content or "") + (message.refusal or "")
        answer.reasoning = getattr(message, "reasoning_content", None) or ""
        for call in message.tool_calls or []:
            answer.calls.append(read_call(call.function) if call.type == "function" else (call.custom.name, call.custom.input))
        answer.finish, answer.model, answer.choices = choice.finish_reason, whole.model, len(whole.choices)
        answer.usage = read_usage(whole.usage)
        answer.logprobs = [one.token for one in choice.logprobs.content] if choice.logprobs else []
        return answer

    def fold(self, answer, stream):
        calls, indices = {}, set()
        for chunk in stream:
            # The SDK's types do not know custom calls in a stream.
            answer.unfit += [problem for problem in fit(dump(chunk), ChatCompletionChunk) if "'custom'" not in problem]
            answer.model = chunk.model
            if chunk.usage:
                answer.usage = read_usage(chunk.usage)
            for choice in chunk.choices:
                indices.add(choice.index)
                if choice.index > 0:
                    continue
                delta = choice.delta
                answer.text += (delta.content or "") + (getattr(delta, "refusal", None) or "")
                answer.reasoning += getattr(delta, "reasoning_content", None) or ""
                answer.finish = choice.finish_reason or answer.finish
                answer.logprobs += [one.token for one in choice.logprobs.content or []] if choice.logprobs else []
                for call in delta.tool_calls or []:
                    fold_call(calls, call)
        answer.calls = [(name, text if kind == "custom" else json.loads(text)) for kind, name, text in calls.values()]
        answer.choices = len(indices)
        return answer


def fold_call(calls, call):
    custom = getattr(call, "custom", None)
    if custom is not None:
        custom = custom if isinstance(custom, dict) else custom.model_dump()
        name, text = custom.get("name"), custom.get("input")
    else:
        name, text = call.function.name, call.function.arguments
    kind, known, before = calls.get(call.index, ("custom" if custom else "function", None, ""))
    calls[call.index] = (kind, known or name, before + (text or ""))


def read_call(function):
    return function.name, json.loads(function.arguments)


def read_usage(usage):
    if usage is None:
        return {}
    prompt, output = usage.prompt_tokens_details, usage.completion_tokens_details
    return {"prompt": usage.prompt_tokens, "output": usage.completion_tokens, "cached": prompt.cached_tokens if prompt else None,
            "reasoning": output.reasoning_tokens if output else None}


class Completions:
    def __init__(self, url, key):
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=TIMEOUT, max_retries=0)

    def ask(self, model, ask, stream):
        fields = asks.as_completion(ask)
        if stream:
            fields["stream_options"] = {"include_usage": True}
        raw = self.client.completions.with_raw_response.create(model=model, stream=stream, **fields)
        answer = begin(raw)
        parts = list(raw.parse()) if stream else [raw.parse()]
        for part in parts:
            answer.model = part.model
            answer.usage = read_usage(part.usage) or answer.usage
            for choice in part.choices:
                answer.text += choice.text
                answer.finish = choice.finish_reason or answer.finish
        if not stream:
            answer.unfit = fit(dump(parts[0]), Completion)
        return answer


class Responses:
    fields = asks.as_responses

    def __init__(self, url, key):
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=TIMEOUT, max_retries=0)

    def ask(self, model, ask, stream):
        fields = type(self).fields(ask)
        raw = self.client.responses.with_raw_response.create(model=model, stream=stream, **fields)
        answer = begin(raw)
        return self.fold(answer, raw.parse()) if stream else self.read(answer, raw.parse())

    def read(self, answer, whole):
        answer.unfit += fit(dump(whole), Response)
        answer.id, answer.model = whole.id, whole.model
        for item in whole.output:
            if item.type == "reasoning":
                parts = (item.content or []) or item.summary
                answer.reasoning += "".join(part.text for part in parts)
                answer.sealed = item.encrypted_content or ""
            elif item.type == "function_call":
                answer.calls.append(read_call(item))
            elif item.type == "custom_tool_call":
                answer.calls.append((item.name, item.input))
            elif item.type == "message":
                for part in item.content:
                    answer.text += part.text if part.type == "output_text" else part.refusal
                    answer.logprobs += [one.token for one in getattr(part, "logprobs", None) or []]
        answer.finish = whole.incomplete_details.reason if whole.status == "incomplete" else whole.status
        if whole.status == "failed":
            return Failed(0, whole.error.message, kind=whole.error.code)
        usage = whole.usage
        answer.usage = {"prompt": usage.input_tokens, "output": usage.output_tokens,
                        "cached": usage.input_tokens_details.cached_tokens, "reasoning": usage.output_tokens_details.reasoning_tokens}
        return answer

    def fold(self, answer, stream):
        text, calls, final = "", {}, None
        for number, event in enumerate(stream):
            answer.unfit += fit(dump(event), ResponseStreamEvent)
            assert event.sequence_number == number, f"event {number} has the number {event.sequence_number}"
            if event.type in ("response.output_text.delta", "response.refusal.delta"):
                text += event.delta
            elif event.type in ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"):
                calls[event.output_index] = calls.get(event.output_index, "") + event.delta
            elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                final = event.response
        if final is None:
            return Failed(0, "the stream had no last event", kind="cut")
        answer = self.read(answer, final)
        if isinstance(answer, Answer):
            assert text == answer.text, (text, answer.text)
            texts = [item.arguments if item.type == "function_call" else item.input for item in final.output if item.type.endswith("_call")]
            assert list(calls.values()) == texts, (calls, texts)
        return answer


class Unstored(Responses):
    """Responses as agents ask for them: nothing is stored."""
    fields = asks.as_unstored


class Messages:
    def __init__(self, url, key):
        self.client = anthropic.Anthropic(base_url=url, api_key=key, timeout=TIMEOUT, max_retries=0)

    def ask(self, model, ask, stream):
        raw = self.client.messages.with_raw_response.create(model=model, stream=stream, **asks.as_messages(ask))
        answer = begin(raw)
        return self.fold(answer, raw.parse()) if stream else self.read(answer, raw.parse())

    def read(self, answer, whole):
        answer.unfit += fit(dump(whole), Message)
        for block in whole.content:
            if block.type == "text":
                answer.text += block.text
            elif block.type == "thinking":
                answer.reasoning, answer.signature = answer.reasoning + block.thinking, block.signature
            elif block.type == "tool_use":
                answer.calls.append((block.name, block.input))
        answer.finish, answer.stop, answer.model = whole.stop_reason, whole.stop_sequence, whole.model
        answer.usage = read_message_usage(whole.usage)
        return answer

    def fold(self, answer, stream):
        blocks, is_over = [], False
        for event in stream:
            answer.unfit += fit(dump(event), RawMessageStreamEvent)
            if event.type == "message_start":
                answer.model, answer.usage = event.message.model, read_message_usage(event.message.usage)
            elif event.type == "content_block_start":
                assert event.index == len(blocks)
                blocks.append([event.content_block.type, event.content_block, ""])
            elif event.type == "content_block_delta":
                field = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}.get(event.delta.type)
                if field:
                    blocks[event.index][2] += getattr(event.delta, field)
                elif event.delta.type == "signature_delta":
                    answer.signature += event.delta.signature
            elif event.type == "message_delta":
                answer.finish, answer.stop = event.delta.stop_reason, event.delta.stop_sequence
                answer.usage.update({name: value for name, value in read_message_usage(event.usage).items() if value is not None})
            elif event.type == "message_stop":
                is_over = True
        if not is_over:
            return Failed(0, "the stream had no last event", kind="cut")
        for kind, block, text in blocks:
            if kind == "text":
                answer.text += text
            elif kind == "thinking":
                answer.reasoning += text
            elif kind == "tool_use":
                answer.calls.append((block.name, json.loads(text or "{}")))
        return answer


def read_message_usage(usage):
    details = usage.output_tokens_details
    return {"input": usage.input_tokens, "output": usage.output_tokens, "cached": usage.cache_read_input_tokens,
            "written": usage.cache_creation_input_tokens, "reasoning": details.thinking_tokens if details else None}


CLIENTS = {"chat": Chat, "responses": Responses, "unstored": Unstored, "completions": Completions, "messages": Messages}
