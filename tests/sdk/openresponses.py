"""Responses against the types of the OpenResponses specification (PyPI: openresponses-types): the cases of its compliance suite.

openresponses.py BASE_URL MODEL CALLER, where CALLER is a model that calls functions."""
import json
import sys
import urllib.error
import urllib.request
from typing import Union

import openresponses_types as spec
import pydantic
from websockets.sync.client import connect

base_url, model, caller = sys.argv[1:]
EVENTS = pydantic.TypeAdapter(Union[tuple(getattr(spec, name) for name in dir(spec) if name.endswith("StreamingEvent"))])
WEATHER = {"type": "function", "name": "get_weather", "description": "Get the current weather for a location",
           "parameters": {"type": "object", "required": ["location"], "properties": {
               "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}}}}


def post(path, body):
    request = urllib.request.Request(base_url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=240).read().decode()


def message(role, content, **more):
    return {"type": "message", "role": role, "content": content, **more}


def create(input, **more):
    """A whole response and a streamed one, both checked against the specification."""
    body = {"model": model, "input": input, "max_output_tokens": 24, "temperature": 0, **more}
    spec.CreateResponseBody.model_validate(body)
    streamed = check_events(data for line in post("/responses", {**body, "stream": True}).splitlines()
                            if line.startswith("data: ") and (data := line[6:]) != "[DONE]")
    whole = json.loads(post("/responses", body))
    spec.ResponseResource.model_validate(whole)
    shape = [item["type"] for item in whole["output"]]
    assert shape == [item["type"] for item in streamed["output"]] and shape, (whole, streamed)
    return whole


def check_events(texts):
    """Checks each event, and returns the response of the last one."""
    events = [json.loads(text) for text in texts]
    for number, event in enumerate(events):
        EVENTS.validate_python(event)
        assert event["sequence_number"] == number, event
    assert events[0]["type"] == "response.created" and events[1]["type"] == "response.in_progress", events[:2]
    assert events[-1]["type"] in ("response.completed", "response.incomplete"), events[-1]
    return events[-1]["response"]


def texts():
    create([message("user", "Say hello in exactly 3 words.")])
    create([message("system", "You are a pirate. Always respond in pirate speak."), message("user", "Say hello.")])
    create([message("user", "My name is Alice."), message("assistant", "Hello Alice!"),
            message("user", "What is my name?")])
    create([message("user", "Think."), message("assistant", "I look.", phase="commentary"),
            message("assistant", "Done.", phase="final_answer"), message("user", "And?")])
    create("Hi", text={"verbosity": "low"}, truncation="auto", metadata={"a": "b"})


def previous_response():
    first = create("Remember this code word: papaya. Reply with only OK.")
    second = create("What code word did I ask you to remember?", previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]


def functions():
    first = create("What is the weather in San Francisco?", model=caller, tools=[WEATHER], max_output_tokens=120,
                   tool_choice={"type": "function", "name": "get_weather"})
    call = next(item for item in first["output"] if item["type"] == "function_call")
    assert json.loads(call["arguments"])["location"], call
    create([message("user", "What is the weather in San Francisco?"), call,
            {"type": "function_call_output", "call_id": call["call_id"], "output": '{"temperature": 18}'}],
           model=caller, tools=[WEATHER])


def background():
    begun = json.loads(post("/responses", {"model": model, "input": "Hi", "background": True, "max_output_tokens": 4}))
    spec.ResponseResource.model_validate(begun)
    assert begun["status"] == "queued" and begun["completed_at"] is None, begun


def compaction():
    turns = [message("user", "My name is Alice."), message("assistant", "Hello Alice!")]
    body = {"model": model, "input": turns}
    spec.CompactResponseMethodPublicBody.model_validate(body)
    compacted = json.loads(post("/responses/compact", body))
    spec.CompactResource.model_validate(compacted)
    assert [item["type"] for item in compacted["output"]] == ["message", "compaction"], compacted
    create([*compacted["output"], message("user", "What is my name?")])


def socket():
    with connect(base_url.replace("http", "ws", 1) + "/responses") as connection:
        for previous in (None, True):
            body = {"type": "response.create", "model": model, "input": "Hi", "max_output_tokens": 16, "store": False}
            body |= {"previous_response_id": last["id"]} if previous else {}
            spec.WebSocketResponseCreateEvent.model_validate(body)
            connection.send(json.dumps(body))
            frames = []
            while not frames or json.loads(frames[-1])["type"] not in ("response.completed", "response.incomplete"):
                frames.append(connection.recv(timeout=240))
            last = check_events(frames)


def media():
    image = "data:image/png;base64,iVBORw0KGgo="
    for part, param in (({"type": "input_image", "image_url": image}, "input"),
                        ({"type": "input_file", "filename": "a", "file_data": "x"}, "input[0].content[1].type")):
        try:
            post("/responses", {"model": model, "input": [message("user", [{"type": "input_text", "text": "?"}, part])]})
        except urllib.error.HTTPError as error:
            assert error.code == 400 and json.load(error)["error"]["param"] == param
            continue
        raise AssertionError("a text model sees no images and files")


texts()
previous_response()
functions()
background()
compaction()
socket()
media()
print("all checks passed")
