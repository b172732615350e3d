"""A failure inside a stream: each Python SDK raises it. stream_errors.py BASE_URL MODEL, of a server that recovers nothing"""
import sys
import urllib.request

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

base_url, model = sys.argv[1:]
ASK = [{"role": "user", "content": "Count from one to a thousand, in words."}]
ENDLESS = {"ignore_eos": True}
# An answer known to be long; Anthropic's SDK has no name for it any more.
GREEDY = {"temperature": 0}


def lose_the_model():
    """Its worker is stopped while it answers."""
    request = urllib.request.Request(f"{base_url}/admin/v1/models/{model}/unload", b'{"force": true}', {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=60)


def broken(name, stream, *errors):
    """Reads a stream whose model is lost after some pieces; the error that was raised."""
    count = 0
    try:
        for _ in stream:
            count += 1
            if count == 8:
                lose_the_model()
    except errors as error:
        assert count >= 8 and model in str(error), (name, count, error)
        return error
    raise AssertionError(f"{name} ends after {count} pieces as if all were well")


openai_client = openai.OpenAI(base_url=f"{base_url}/v1", api_key="none", timeout=240, max_retries=0)
anthropic_client = anthropic.Anthropic(base_url=base_url, api_key="none", timeout=240, max_retries=0)

error = broken("chat", openai_client.chat.completions.create(
    model=model, messages=ASK, max_tokens=4000, stream=True, extra_body=ENDLESS), openai.APIError)
assert error.body["message"] and error.body["type"], error.body
broken("completions", openai_client.completions.create(
    model=model, prompt="One, two,", max_tokens=4000, stream=True, extra_body=ENDLESS), openai.APIError)
error = broken("messages", anthropic_client.messages.create(
    model=model, messages=ASK, max_tokens=4000, stream=True, extra_body=GREEDY), anthropic.APIStatusError)
assert error.body["type"] == "error" and error.body["error"]["type"] in ("overloaded_error", "api_error"), error.body
with anthropic_client.messages.stream(model=model, messages=ASK, max_tokens=4000, extra_body=GREEDY) as stream:
    broken("messages' helper", stream, anthropic.APIStatusError)

# A failure of a response is an event of its own, which the SDK passes on.
events = []
for event in openai_client.responses.create(model=model, input=ASK, max_output_tokens=4000, temperature=0, stream=True, store=False):
    events.append(event)
    if len(events) == 8:
        lose_the_model()
assert events[-1].type == "response.failed" and model in events[-1].response.error.message, events[-1]

openai_chat = ChatOpenAI(base_url=f"{base_url}/v1", api_key="none", model=model, max_tokens=4000, max_retries=0, extra_body=ENDLESS)
broken("LangChain's OpenAI", openai_chat.stream(ASK[0]["content"]), openai.APIError)
anthropic_chat = ChatAnthropic(base_url=base_url, api_key="none", model=model, max_tokens=4000, temperature=0, max_retries=0)
broken("LangChain's Anthropic", anthropic_chat.stream(ASK[0]["content"]), anthropic.APIStatusError)
print("all checks passed")
