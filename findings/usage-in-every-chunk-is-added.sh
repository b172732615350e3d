#!/usr/bin/env bash
# Guess: a server may put the count so far into each chunk of a stream, as vLLM's `continuous_usage_stats` does: a client shows the last one.
# Reality: Pydantic AI and LangChain for Python add the counts of all chunks. An answer of 4 tokens to a prompt of 10 is 18 tokens to a
#   prompt of 60 for them, in usage limits, traces and bills; the error grows with the square of the length. LiteLLM, LangChain for
#   JavaScript and the AI SDK take the last count.
# Versions: pydantic-ai-slim 2.68.0, langchain-openai 1.7.4, litellm 1.110.2 (PyPI), @langchain/openai 1.5.8, @langchain/core 1.4.0,
#   ai 7.0.173, @ai-sdk/openai-compatible 2.0.92 (npm); a stub server on this machine's loopback sends the stream.
# For a server author: send `usage` in one chunk only, the last one, or null elsewhere.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv pydantic
python3 -m venv langchain
python3 -m venv litellm
pydantic/bin/pip install -q --disable-pip-version-check 'pydantic-ai-slim[openai]==2.68.0' openai==3.57.0
langchain/bin/pip install -q --disable-pip-version-check langchain-openai==1.7.4 langchain-core==1.8.3 openai==3.57.0
litellm/bin/pip install -q --disable-pip-version-check litellm==1.110.2
npm install --silent --no-fund --no-audit @langchain/openai@1.5.8 @langchain/core@1.4.0 ai@7.0.173 @ai-sdk/openai-compatible@2.0.92 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import json, subprocess, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def usage(answer):
    return {"prompt_tokens": 10, "completion_tokens": answer, "total_tokens": 10 + answer}

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        each = self.path.startswith("/each/")
        def chunk(delta, end, tokens):
            choices = [{"index": 0, "delta": delta, "finish_reason": end}]
            return {**head, "choices": choices, **({"usage": usage(tokens)} if each else {})}
        chunks = [chunk({"role": "assistant", "content": "a"}, None, 1), *(chunk({"content": "a"}, None, n) for n in (2, 3, 4)),
                  chunk({}, "stop", 4), {**head, "choices": [], "usage": usage(4)}]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n").encode())
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
for where in ("last", "each"):
    url = f"http://127.0.0.1:{server.server_port}/{where}/v1"
    for command, adds in [("pydantic/bin/python pydantic_ai_client.py", True), ("langchain/bin/python langchain_client.py", True),
                          ("litellm/bin/python litellm_client.py", False), ("node langchain.mjs", False), ("node vercel.mjs", False)]:
        done = subprocess.run([*command.split(), url], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])
        print(f"usage in {where} chunk, {command.split()[1]}: {seen[0]} and {seen[1]} tokens")
        assert seen == ([60, 18] if adds and where == "each" else [10, 4]), seen
PY
cat > pydantic_ai_client.py <<'PY'
import asyncio, json, sys
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(base_url=sys.argv[1], api_key="none")))
async def main():
    async with agent.run_stream("x") as result:
        assert await result.get_output() == "aaaa"
        print(json.dumps([result.usage.input_tokens, result.usage.output_tokens]))
asyncio.run(main())
PY
cat > langchain_client.py <<'PY'
import json, sys
from langchain_openai import ChatOpenAI
answer = None
for piece in ChatOpenAI(model="m", base_url=sys.argv[1], api_key="none", stream_usage=True).stream("x"):
    answer = piece if answer is None else answer + piece
assert answer.content == "aaaa"
print(json.dumps([answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]]))
PY
cat > litellm_client.py <<'PY'
import json, os, sys
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
litellm.suppress_debug_info = True
ask = [{"role": "user", "content": "x"}]
stream = litellm.completion(model="openai/m", api_base=sys.argv[1], api_key="none", messages=ask, stream=True, stream_options={"include_usage": True})
answer = litellm.stream_chunk_builder(list(stream))
assert answer.choices[0].message.content == "aaaa"
print(json.dumps([answer.usage.prompt_tokens, answer.usage.completion_tokens]))
PY
cat > langchain.mjs <<'JS'
import { ChatOpenAI } from "@langchain/openai";
const model = new ChatOpenAI({ model: "m", apiKey: "none", configuration: { baseURL: process.argv[2] } });
let answer;
for await (const piece of await model.stream("x")) answer = answer ? answer.concat(piece) : piece;
console.log(JSON.stringify([answer.usage_metadata.input_tokens, answer.usage_metadata.output_tokens]));
JS
cat > vercel.mjs <<'JS'
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
globalThis.AI_SDK_LOG_WARNINGS = false;
const provider = createOpenAICompatible({ name: "local", baseURL: process.argv[2], includeUsage: true });
const { usage, textStream } = streamText({ model: provider("m"), prompt: "x" });
for await (const _ of textStream);
console.log(JSON.stringify([(await usage).inputTokens, (await usage).outputTokens]));
JS
python3 t.py
