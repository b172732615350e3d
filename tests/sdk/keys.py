"""API keys as the official SDKs see them. keys.py valid BASE_URL MODEL KEY NARROW LIMITED, or keys.py revoked BASE_URL MODEL KEY"""
import sys

import anthropic
import openai

phase, base_url, model, key, *others = sys.argv[1:]
ASK = [{"role": "user", "content": "Hi"}]


def ask_openai(key):
    client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, timeout=240, max_retries=0)
    return client.chat.completions.create(model=model, messages=ASK, max_tokens=4)


def ask_openai_responses(key):
    client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, timeout=240, max_retries=0)
    return client.responses.create(model=model, input=ASK, max_output_tokens=4)


def ask_anthropic(key):
    client = anthropic.Anthropic(base_url=base_url, api_key=key, timeout=240, max_retries=0)
    return client.messages.create(model=model, messages=ASK, max_tokens=4)


ALL = [(ask_openai, openai), (ask_openai_responses, openai), (ask_anthropic, anthropic)]


def raised(ask, key, error):
    try:
        ask(key)
    except error as caught:
        return caught
    raise AssertionError(f"{ask.__name__} raises no {error.__name__}")


if phase == "revoked":
    for ask, sdk in ALL:
        error = raised(ask, key, sdk.AuthenticationError)
        assert error.status_code == 401 and "revoked" in str(error), error
else:
    narrow, limited = others
    for ask, sdk in ALL:
        assert ask(key).model == model
        error = raised(ask, key[:-1], sdk.AuthenticationError)
        assert error.status_code == 401 and key[:-1] not in str(error), error
        error = raised(ask, narrow, sdk.PermissionDeniedError)
        assert error.status_code == 403 and model in str(error), error
    ask_openai(limited)
    for ask, sdk in ALL:
        error = raised(ask, limited, sdk.RateLimitError)
        headers = error.response.headers
        assert error.status_code == 429 and 0 < int(headers["retry-after"]) <= 60, headers
        family = "anthropic-ratelimit-requests-remaining" if sdk is anthropic else "x-ratelimit-remaining-requests"
        assert headers[family] == "0", headers
    # Another key's response is not found.
    own = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, timeout=240, max_retries=0)
    other = openai.OpenAI(base_url=f"{base_url}/v1", api_key=limited, timeout=240, max_retries=0)
    made = own.responses.create(model=model, input=ASK, max_output_tokens=4)
    assert own.responses.retrieve(made.id).id == made.id
    try:
        other.responses.retrieve(made.id)
        raise AssertionError("another key reads the response")
    except openai.NotFoundError:
        pass
    assert [one.id for one in own.models.list() if one.id == model] == [model]
print("all checks passed")
