"""LangChain against mlxd: openai_langchain.py BASE_URL MODEL"""
import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

from langchain_weather import get_weather, structured_output

base_url, model = sys.argv[1:]
chat = ChatOpenAI(base_url=base_url, api_key="none", model=model, temperature=0, max_tokens=80, timeout=240, max_retries=0)


def a_tool_loop():
    question = HumanMessage("What is the weather in Paris?")
    bound = chat.bind_tools([get_weather], tool_choice="required")
    answer = bound.invoke([question])
    assert answer.tool_calls and answer.tool_calls[0]["name"] == "get_weather", answer
    assert answer.response_metadata["finish_reason"] == "tool_calls" and answer.usage_metadata["output_tokens"] > 0
    results = [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    final = chat.invoke([question, answer, *results])
    assert final.content, final
    whole = None
    for chunk in bound.stream([question]):
        whole = chunk if whole is None else whole + chunk
    calls = [(call["name"], call["args"]) for call in whole.tool_calls]
    assert calls == [(call["name"], call["args"]) for call in answer.tool_calls], (whole, answer)


def usage_comes_with_a_stream():
    streaming = ChatOpenAI(base_url=base_url, api_key="none", model=model, max_tokens=5, stream_usage=True)
    whole = None
    for chunk in streaming.stream("Hello"):
        whole = chunk if whole is None else whole + chunk
    assert whole.usage_metadata["output_tokens"] == 5, whole


a_tool_loop()
structured_output(chat, "json_schema", "function_calling")
usage_comes_with_a_stream()
print("all checks passed")
