#!/usr/bin/env bash
# Guess: a structured answer that `length` has cut raises, or at least does not pass as whole.
# Reality: DSPy, with either of its adapters, and LangChain's parsers for JSON close the open strings and brackets and return the rest as the result: two names
#   and half of a third, 123 instead of 12345. DSPy logs a warning, LangChain nothing. Neither asks again. LangChain's `with_structured_output` raises, by schema
#   and in JSON mode.
# Versions: dspy 3.4.1, langchain-openai 1.7.4, langchain-core 1.8.3, pydantic 2.14.4 (PyPI); a stub server on this machine's loopback.
# For a server author: extractions are short by what the limit has cut, and the numbers look right. `length` in the response is the only sign.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in dspy langchain; do python3 -m venv $name; done
dspy/bin/pip install -q --disable-pip-version-check dspy==3.4.1 pydantic==2.14.4
langchain/bin/pip install -q --disable-pip-version-check langchain-openai==1.7.4 langchain-core==1.8.3 pydantic==2.14.4
cat > stub.py <<'PY'
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pydantic import BaseModel

class Bill(BaseModel):
    names: list[str]
    amounts: list[int]

# A whole answer goes on: "Clara"], "amounts": [700, 12345]}
ANSWERS = {"names": '{"amounts": [700], "names": ["Anna", "Bert", "Cla', "amounts": '{"names": ["Anna"], "amounts": [700, 123'}
MARKED = {"names": '[[ ## amounts ## ]]\n[700]\n\n[[ ## names ## ]]\n["Anna", "Bert", "Cla',
          "amounts": '[[ ## names ## ]]\n["Anna"]\n\n[[ ## amounts ## ]]\n[700, 123'}
WANTED = {"names": {"names": ["Anna", "Bert", "Cla"], "amounts": [700]}, "amounts": {"names": ["Anna"], "amounts": [700, 123]}}
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        text = str(asked[-1]["messages"])
        forms = MARKED if "[[ ## completed ## ]]" in text else ANSWERS
        answer = next(forms[cut] for cut in forms if f"cut in {cut}" in text)
        choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "length"}
        usage = {"prompt_tokens": 7, "completion_tokens": 20, "total_tokens": 27}
        body = json.dumps({"id": "c", "created": 1, "model": "m", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}/v1"

def raised(call, *arguments):
    asked.clear()
    try:
        return call(*arguments), len(asked)
    except Exception as error:
        return type(error).__name__, len(asked)
PY
cat > dspy_client.py <<'PY'
import os
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
from importlib.metadata import version
import dspy
from stub import WANTED, base, raised

class Extract(dspy.Signature):
    """Extract the bill."""
    text: str = dspy.InputField()
    names: list[str] = dspy.OutputField()
    amounts: list[int] = dspy.OutputField()

model = dspy.LM("openai/m", api_base=base, api_key="none", cache=False)
for adapter in (dspy.ChatAdapter(), dspy.JSONAdapter()):
    for cut in WANTED:
        with dspy.context(lm=model, adapter=adapter):
            seen, requests = raised(lambda: dspy.Predict(Extract)(text=f"cut in {cut}").toDict())
        print("dspy", version("dspy"), type(adapter).__name__, seen, "requests:", requests)
        assert seen == WANTED[cut] and requests == 1, seen
PY
cat > langchain_client.py <<'PY'
from importlib.metadata import version
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_openai import ChatOpenAI
from stub import WANTED, Bill, base, raised

model = ChatOpenAI(model="m", base_url=base, api_key="none")
for cut in WANTED:
    question = f"cut in {cut}, as JSON"
    plain, requests = raised((model | JsonOutputParser()).invoke, question)
    typed, _ = raised((model | PydanticOutputParser(pydantic_object=Bill)).invoke, question)
    others = [raised(model.with_structured_output(Bill, method=method).invoke, question)[0] for method in ("json_schema", "json_mode")]
    print("langchain-core", version("langchain-core"), "JsonOutputParser:", plain, "| PydanticOutputParser:", typed, "| with_structured_output:", others)
    assert plain == typed.model_dump() == WANTED[cut] and requests == 1 and others == ["LengthFinishReasonError"] * 2, (plain, typed, others)
PY
for name in dspy langchain; do
    $name/bin/python ${name}_client.py
done
