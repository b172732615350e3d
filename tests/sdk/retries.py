"""A refusal for want of room: both SDKs wait for the time in the answer and retry. retries.py BASE_URL MODEL, of a server whose
worker runs one request at a time"""
import json
import sys
import threading
import time
import urllib.request

import anthropic
import openai

base_url, model = sys.argv[1:]


def begun(n, priority):
    """So many requests that run or wait until the answer is closed. One of them runs: it took the place of a lower class."""
    body = {"model": model, "prompt": "x", "n": n, "max_tokens": 2000, "ignore_eos": True, "stream": True, "priority": priority}
    request = urllib.request.Request(f"{base_url}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"})
    answer = urllib.request.urlopen(request, timeout=60)
    answer.readline()
    return answer


def refused_at_first(name, ask):
    """All of the worker's 257 places are taken for two seconds."""
    taken = [begun(1, "low"), begun(128, "normal"), begun(128, "high")]
    threading.Timer(2.0, lambda: [answer.close() for answer in taken]).start()
    start = time.monotonic()
    raw = ask()
    assert raw.retries_taken >= 1, (name, raw.retries_taken)
    assert time.monotonic() - start >= 1, f"{name} did not wait"
    assert raw.parse().id, name


openai_client = openai.OpenAI(base_url=f"{base_url}/v1", api_key="none", timeout=60, max_retries=8)
anthropic_client = anthropic.Anthropic(base_url=base_url, api_key="none", timeout=60, max_retries=8)
chat = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
refused_at_first("openai", lambda: openai_client.chat.completions.with_raw_response.create(**chat))
refused_at_first("anthropic", lambda: anthropic_client.messages.with_raw_response.create(**chat))

# An error that no retry can fix is not retried.
for client, error in [(openai_client, openai.NotFoundError), (anthropic_client, anthropic.NotFoundError)]:
    start = time.monotonic()
    try:
        (client.chat.completions if client is openai_client else client.messages).create(**{**chat, "model": "none"})
        raise AssertionError("a model that is not there answers")
    except error:
        # Eight tries take half a minute.
        assert time.monotonic() - start < 5, "it was asked again"

print("all checks passed")
