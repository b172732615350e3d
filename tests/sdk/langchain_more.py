"""LangChain's Anthropic classes and embeddings against mlxd: langchain_more.py BASE_URL MODEL EMBEDDING_MODEL"""
import sys

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from langchain_weather import get_weather, structured_output

base_url, model, embedding = sys.argv[1:]
anthropic = ChatAnthropic(base_url=base_url, api_key="none", model=model, max_tokens=80, timeout=240, max_retries=0,
                          model_kwargs={"extra_body": {"temperature": 0}})
responses = ChatOpenAI(base_url=f"{base_url}/v1", api_key="none", model=model, temperature=0, max_tokens=80, timeout=240,
                       max_retries=0, use_responses_api=True)


def a_tool_loop(chat, forced):
    question = HumanMessage("What is the weather in Paris?")
    bound = chat.bind_tools([get_weather], tool_choice=forced)
    answer = bound.invoke([question])
    assert answer.tool_calls and answer.tool_calls[0]["name"] == "get_weather", answer
    assert answer.usage_metadata["output_tokens"] > 0
    results = [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    assert chat.bind_tools([get_weather]).invoke([question, answer, *results]).content is not None
    whole = None
    for chunk in bound.stream([question]):
        whole = chunk if whole is None else whole + chunk
    calls = [[(call["name"], call["args"]) for call in message.tool_calls] for message in (whole, answer)]
    assert calls[0] == calls[1], calls


def embeddings():
    reader = OpenAIEmbeddings(base_url=f"{base_url}/v1", api_key="none", model=embedding, check_embedding_ctx_length=False)
    cat, rates = reader.embed_documents(["A cat sits on the mat.", "Interest rates rose by half a percent."])
    asked = reader.embed_query("A kitten rests on a rug.")
    dot = [sum(x * y for x, y in zip(asked, vector)) for vector in (cat, rates)]
    assert len(asked) == 384 and dot[0] > 0.4 > 0.2 > dot[1], dot


a_tool_loop(anthropic, "any")
structured_output(anthropic, "function_calling", "json_schema")
a_tool_loop(responses, "required")
structured_output(responses, "json_schema", "function_calling")
embeddings()
print("all checks passed")
