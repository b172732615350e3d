"""The official SDKs send pictures as their documentation does: images.py BASE_URL MODEL BITMAP_IN_BASE64"""
import struct
import sys
import zlib
import base64

import anthropic
import ollama
import openai

base_url, model, bitmap = sys.argv[1:]
openai_client = openai.OpenAI(base_url=base_url + "/v1", api_key="none", timeout=240, max_retries=0)
anthropic_client = anthropic.Anthropic(base_url=base_url, api_key="none", timeout=240, max_retries=0)
ollama_client = ollama.Client(host=base_url, timeout=240)
QUESTION = "What colour is it?"
# The SDK of Messages has no field for it any more.
GREEDY = {"temperature": 0}


def png(colour, side=48):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(colour) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PNG = base64.b64encode(png((220, 30, 30))).decode()


def chat():
    url = f"data:image/png;base64,{PNG}"
    messages = [{"role": "user", "content": [{"type": "text", "text": QUESTION},
                                             {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]}]
    ask = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 12}
    whole = openai_client.chat.completions.create(**ask)
    parts = openai_client.chat.completions.create(stream=True, **ask)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in parts if chunk.choices)
    return whole.choices[0].message.content, streamed


def responses():
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
    ask = {"model": model, "temperature": 0, "max_output_tokens": 12,
           "input": [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}, image]}]}
    whole = openai_client.responses.create(**ask)
    streamed = "".join(event.delta for event in openai_client.responses.create(stream=True, **ask)
                       if event.type == "response.output_text.delta")
    # The next turn sees the picture, too.
    following = openai_client.responses.create(model=model, temperature=0, max_output_tokens=4, input="Are you sure?",
                                               previous_response_id=whole.id)
    assert following.usage.input_tokens > whole.usage.input_tokens, following.usage
    return whole.output_text, streamed


def messages():
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    ask = {"model": model, "max_tokens": 12, "extra_body": GREEDY, "messages": [
        {"role": "user", "content": [{"type": "text", "text": QUESTION}, {"type": "image", "source": source}]}]}
    whole = anthropic_client.messages.create(**ask)
    with anthropic_client.messages.stream(**ask) as stream:
        streamed = "".join(stream.text_stream)
    return whole.content[0].text, streamed


def result_of_a_tool():
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    answer = anthropic_client.messages.create(model=model, max_tokens=8, extra_body=GREEDY, tools=[
        {"name": "look", "description": "Takes a picture.", "input_schema": {"type": "object", "properties": {}}}], messages=[
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [
            {"type": "image", "source": source}, {"type": "text", "text": "the picture"}]}]}])
    assert answer.usage.input_tokens > 0, answer


def ollama_chat():
    ask = {"model": model, "options": {"temperature": 0, "num_predict": 12}}
    whole = ollama_client.chat(messages=[{"role": "user", "content": QUESTION, "images": [png((220, 30, 30))]}], **ask)
    assert whole.message.content, whole
    assert "vision" in ollama_client.show(model).capabilities


def refusal():
    for client, send in ((openai, lambda: openai_client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"no").decode()}}]}])),
            (anthropic, lambda: anthropic_client.messages.create(model=model, max_tokens=1, messages=[
                {"role": "user", "content": [{"type": "image", "source": {
                    "type": "base64", "media_type": "image/png", "data": base64.b64encode(b"no").decode()}}]}]))):
        try:
            send()
        except client.BadRequestError as error:
            assert "image" in str(error), error
        else:
            raise AssertionError("what is no image was taken")


answers = {}
for case in (chat, responses, messages):
    whole, streamed = case()
    assert whole and whole == streamed, (case.__name__, whole, streamed)
    answers[case.__name__] = whole
assert answers["chat"] == answers["responses"] == answers["messages"], answers
result_of_a_tool()
ollama_chat()
refusal()
# A bitmap is read although its name says otherwise: the content decides.
openai_client.chat.completions.create(model=model, max_tokens=1, messages=[{"role": "user", "content": [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{bitmap}"}}]}])
print("all checks passed")
