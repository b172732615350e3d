"""The official Anthropic SDK against mlxd: anthropic_messages.py BASE_URL MODEL"""
import datetime
import json
import sys

import anthropic
import httpx2

base_url, model = sys.argv[1:]
client = anthropic.Anthropic(base_url=base_url, api_key="none", timeout=240, max_retries=0)
EVEN = [{"role": "user", "content": "Continue: 2, 4, 6, 8, 10, 12,"}]
SYSTEM = "You continue number sequences."
GREEDY = {"temperature": 0}


def create(**options):
    extra = GREEDY | options.pop("extra_body", {})
    fields = {"model": model, "max_tokens": 24, "messages": EVEN, "system": SYSTEM} | options
    return client.messages.create(extra_body=extra, **fields)


def streamed(**options):
    fields = {"model": model, "max_tokens": 24, "messages": EVEN, "system": SYSTEM} | options
    with client.messages.stream(extra_body=GREEDY, **fields) as stream:
        kinds = [event.type for event in stream]
        return stream.get_final_message(), kinds


def whole_input(usage):
    return usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens


def streaming_and_plain_agree():
    plain = create()
    assert plain.type == "message" and plain.role == "assistant" and plain.model == model
    assert plain.id.startswith("msg_") and plain._request_id.startswith("req_")
    assert [block.type for block in plain.content] == ["text"] and plain.content[0].text
    counted = client.messages.count_tokens(model=model, messages=EVEN, system=SYSTEM)
    assert whole_input(plain.usage) == counted.input_tokens, (plain.usage, counted)
    message, kinds = streamed()
    assert message.content[0].text == plain.content[0].text, (message, plain)
    assert message.stop_reason == plain.stop_reason and message.usage.output_tokens == plain.usage.output_tokens
    assert message.usage.cache_read_input_tokens > 0, "the second request begins like the first"
    assert whole_input(message.usage) == counted.input_tokens
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop" and kinds.count("content_block_stop") == 1
    return plain.content[0].text


def ends(text):
    short = create(max_tokens=3)
    assert short.stop_reason == "max_tokens" and short.usage.output_tokens == 3
    middle = text[len(text) // 2:len(text) // 2 + 4]
    for stopped in (create(stop_sequences=["never here", middle]), streamed(stop_sequences=["never here", middle])[0]):
        assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == middle, stopped
        assert "".join(b.text for b in stopped.content) == text[:text.index(middle)]


def raw_stream():
    """message_start comes first with the prompt's exact length; every event's name is its type."""
    counted = client.messages.count_tokens(model=model, messages=EVEN, system=SYSTEM).input_tokens
    events = list(client.messages.create(model=model, max_tokens=4, messages=EVEN, system=SYSTEM, stream=True))
    assert events[0].type == "message_start" and events[0].message.usage.input_tokens == counted
    assert events[0].message.content == [] and events[0].message.stop_reason is None
    assert events[-2].type == "message_delta" and events[-2].usage.output_tokens == 4
    names = []
    with client.messages.with_streaming_response.create(
            model=model, max_tokens=4, messages=EVEN, stream=True) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                names.append(line[7:])
            elif line.startswith("data: "):
                assert json.loads(line[6:])["type"] == names[-1]
    assert names[0] == "message_start" and names[-1] == "message_stop"


def rich_requests():
    message = create(
        system=[{"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1;"},
                {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": [
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "2, 4"}, "title": "T"},
            {"type": "text", "text": "Go on.", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "six", "signature": "sig"}, {"type": "text", "text": "6"}]},
            {"role": "user", "content": "And?"}],
        metadata={"user_id": "u"}, cache_control={"type": "ephemeral"}, thinking={"type": "adaptive"},
        extra_headers={"anthropic-beta": "no-such-beta-2030-01-01"}, extra_query={"beta": "true"})
    assert message.usage.output_tokens > 0
    # The attribution differs every time, and must not spoil the cache.
    first, second = (create(system=[
        {"type": "text", "text": f"x-anthropic-billing-header: cch={n};"},
        {"type": "text", "text": "Answer with numbers. " * 12}]) for n in range(2))
    assert second.usage.cache_read_input_tokens >= 32, second.usage


def structured_output():
    # Bounded, since so small a model hardly ever closes a string by itself.
    schema = {"type": "object", "properties": {"size": {"enum": ["small", "big"]}}, "required": ["size"],
              "additionalProperties": False}
    message = create(max_tokens=60, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(message.content[0].text)["size"] in ("small", "big")


def models():
    page = client.models.list(limit=1)
    assert page.data[0].type == "model" and page.data[0].display_name and page.data[0].created_at.year > 2000
    assert page.first_id == page.last_id == page.data[0].id
    listed = [m.id for m in client.models.list(limit=1)]
    assert model in listed and len(listed) == len(set(listed)) > 1, listed
    assert client.models.retrieve(model).id == model


def errors():
    def expect(error, call, *words, kind):
        try:
            call()
        except error as e:
            for word in words:
                assert word in str(e), (word, e)
            assert e.body["type"] == "error" and e.body["error"]["type"] == kind, e.body
            assert e.request_id and e.body["request_id"] == e.request_id, e.body
        else:
            raise AssertionError(f"{error.__name__} expected")

    invalid = {"kind": "invalid_request_error"}
    long = [{"role": "user", "content": "word " * 9000}]
    for call in (lambda: create(messages=long), lambda: streamed(messages=long)):
        expect(anthropic.BadRequestError, call, "prompt is too long", "8192", **invalid)
    expect(anthropic.NotFoundError, lambda: create(model="no-such-model"), "no-such-model", kind="not_found_error")
    expect(anthropic.NotFoundError, lambda: client.models.retrieve("no-such-model"), kind="not_found_error")
    expect(anthropic.BadRequestError, lambda: create(messages=[]), "messages", **invalid)
    expect(anthropic.BadRequestError, lambda: create(extra_body={"temperature": -1}), "temperature", **invalid)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    expect(anthropic.BadRequestError, lambda: create(messages=[{"role": "user", "content": [image]}]),
           "messages[0].content[0]", "image", **invalid)
    expect(anthropic.BadRequestError, lambda: create(thinking={"type": "enabled", "budget_tokens": 5}),
           "budget_tokens", **invalid)
    expect(anthropic.BadRequestError,
           lambda: create(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "tools[0].type", **invalid)


def rate_limits():
    for options in ({}, {"stream": True}):
        raw = client.messages.with_raw_response.create(model=model, max_tokens=2, messages=EVEN, **options)
        limit, left, reset = (
            raw.headers[f"anthropic-ratelimit-requests-{name}"] for name in ("limit", "remaining", "reset"))
        assert 0 < int(left) < int(limit), (limit, left)
        wait = datetime.datetime.fromisoformat(reset) - datetime.datetime.now(datetime.UTC)
        assert abs(wait.total_seconds()) < 60, reset


def probes():
    http = httpx2.Client(base_url=base_url)
    assert http.head("/").status_code == 200
    assert http.post("/api/event_logging/batch", json={}).status_code == 404
    body = '{"model": "%s", "max_tokens": 2, "messages": [{"role": "user", "content": "C:\\dir \\q"}]}' % model
    answer = http.post("/v1/messages?beta=true", content=body, timeout=240)
    assert answer.status_code == 200, answer.text
    missing = http.get("/v1/messages/nothing")
    assert missing.status_code == 404 and missing.json()["error"]["type"] == "not_found_error"
    assert "object" in http.get("/v1/models").json(), "OpenAI's clients see OpenAI's list"


models()
text = streaming_and_plain_agree()
ends(text)
raw_stream()
rich_requests()
structured_output()
errors()
rate_limits()
probes()
print("all checks passed")
