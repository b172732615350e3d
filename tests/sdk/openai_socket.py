"""The official OpenAI SDK's Responses over a WebSocket, and its compaction: openai_socket.py BASE_URL MODEL"""
import sys

import openai

base_url, model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", timeout=240, max_retries=0)
SETTINGS = {"model": model, "temperature": 0, "max_output_tokens": 24}
EVEN = "Continue: 2, 4, 6, 8, 10, 12,"
LONG = "Here is a list of words: " + "apple pear plum " * 40
LAST = ("response.completed", "response.incomplete", "response.failed", "error")


def respond(connection, **more):
    connection.response.create(**{**SETTINGS, **more})
    events = []
    while not events or events[-1].type not in LAST:
        events.append(connection.recv())
    return events


def answers_as_over_http():
    with client.responses.connect() as connection:
        events = respond(connection, input=EVEN)
        assert [e.sequence_number for e in events] == list(range(len(events)))
        plain = client.responses.create(**SETTINGS, input=EVEN)
        assert events[-1].response.output_text == plain.output_text and plain.output_text
        first = respond(connection, input=EVEN, store=False)[-1].response
        second = respond(connection, input="And then?", store=False, previous_response_id=first.id)[-1].response
        assert second.usage.input_tokens > first.usage.input_tokens
        error = respond(connection, input=EVEN, previous_response_id=first.id)[-1]
        assert error.type == "error" and error.status == 400, error
        assert respond(connection, input=EVEN)[-1].type in LAST[:2]


def prefills():
    with client.responses.connect() as connection:
        warm = respond(connection, input=LONG, generate=False)[-1].response
        assert warm.status == "completed" and warm.output == [] and warm.usage.output_tokens == 0, warm
        usage = respond(connection, input=LONG)[-1].response.usage
        assert usage.input_tokens_details.cached_tokens > usage.input_tokens / 2, usage


def compacts():
    turns = [{"role": "user", "content": "My dog is called Rex."}, {"role": "assistant", "content": "A fine name. " * 30},
             {"role": "user", "content": "He is brown."}, {"role": "assistant", "content": "I see. " * 30}]
    compacted = client.responses.compact(model=model, input=turns, extra_body={"max_output_tokens": 40})
    kinds = [item.type for item in compacted.output]
    assert kinds == ["message", "message", "compaction"] and compacted.usage.output_tokens > 0, compacted
    output = [item.model_dump(exclude_none=True) for item in compacted.output]
    question = {"role": "user", "content": "What is my dog called?"}
    short = client.responses.input_tokens.count(model=model, input=[*output, question]).input_tokens
    assert short < client.responses.input_tokens.count(model=model, input=[*turns, question]).input_tokens
    events = list(client.responses.create(**SETTINGS, input=[*turns, {"type": "compaction_trigger"}], stream=True))
    assert "response.compaction.compacting" in [event.type for event in events]
    assert [item.type for item in events[-1].response.output] == ["compaction"]
    managed = client.responses.create(**SETTINGS, input=[*turns, question],
                                      context_management=[{"type": "compaction", "compact_threshold": 50}])
    assert [item.type for item in managed.output] == ["compaction", "message"], managed.output


def catalogue():
    listed = next(one for one in client.models.list() if one.id == model)
    assert listed.context_length == listed.max_model_len == 8192, listed
    both = client.get("/models", cast_to=object, options={"params": {"client_version": "0.171.0"}})
    entry = next(one for one in both["models"] if one["slug"] == model)
    assert entry["context_window"] == 8192 and entry["apply_patch_tool_type"] == "freeform", entry
    assert [one["id"] for one in both["data"]] and "models" not in client.get("/models", cast_to=object)


answers_as_over_http()
prefills()
compacts()
catalogue()
print("all checks passed")
