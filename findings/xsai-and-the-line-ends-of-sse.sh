#!/usr/bin/env bash
# Guess: any client of a stream takes the three line ends that server-sent events may have; `\r\n` is what HTTP uses.
# Reality: xsAI splits at `\n` alone. With sse-starlette, whose default is `\r\n`, it reads `[DONE]` and a carriage return as JSON and
#   throws; pieces of the answer that were not read by then are lost. JSON over several `data:` lines fails at the first. With `sep="\n"`, comments,
#   other fields and a missing space it is right. Mistral's, OpenRouter's and Hugging Face's clients take all of these.
# Versions: @xsai/stream-text 0.4.4, @mistralai/mistralai 2.7.0, @openrouter/sdk 1.3.19, @huggingface/inference 4.13.30 (npm),
#   sse-starlette 3.7.0, starlette 1.10.0, uvicorn 0.54.0 (PyPI) on this machine's loopback.
# For a server author: end lines with `\n` and put each event's JSON on one line, whatever the standard allows.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check sse-starlette==3.7.0 starlette==1.10.0 uvicorn==0.54.0
npm install --silent --no-fund --no-audit @xsai/stream-text@0.4.4 @mistralai/mistralai@2.7.0 @openrouter/sdk@1.3.19 @huggingface/inference@4.13.30 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import json, subprocess, threading, time
from importlib.metadata import version
import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

print({name: version(name) for name in ("sse-starlette", "starlette", "uvicorn")})
head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
          for delta, end in (({"role": "assistant", "content": "hello"}, None), ({"content": " world"}, None), ({}, "stop"))]

async def answer(request):
    how = request.path_params["how"]
    indent = 1 if how == "indented" else None
    async def events():
        for chunk in chunks:
            yield {"data": json.dumps(chunk, indent=indent), **({"event": "message", "id": "1"} if how == "fields" else {})}
            if how == "comments":
                yield {"comment": "keep-alive"}
        yield {"data": "[DONE]"}
    return EventSourceResponse(events(), **({} if how == "default" else {"sep": "\n"}))

app = Starlette(routes=[Route("/{how}/v1/chat/completions", answer, methods=["POST"])])
server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    time.sleep(0.05)
port = server.servers[0].sockets[0].getsockname()[1]
for client in ("xsai", "mistral", "openrouter", "huggingface"):
    for how in ("default", "line feed", "comments", "fields", "indented"):
        url = f"http://127.0.0.1:{port}/{how.replace(' ', '-')}"
        done = subprocess.run(["node", "t.mjs", client, url], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        text, error = json.loads(done.stdout)
        print(f"{client}, {how}: {text!r}, {error!r}")
        if client == "xsai" and how == "default":
            assert "hello world".startswith(text) and error.startswith("SyntaxError") and "[DONE]" in error
        elif client == "xsai" and how == "indented":
            assert text == "" and error.startswith("SyntaxError"), error
        else:
            assert (text, error) == ("hello world", None)
PY
cat > t.mjs <<'JS'
const [client, url] = process.argv.slice(2);
const messages = [{ role: "user", content: "x" }];
const openai = async function* (stream, inner) { for await (const piece of stream) yield inner(piece).choices[0]?.delta.content ?? ""; };
const clients = {
  async xsai() {
    const { streamText } = await import("@xsai/stream-text");
    const result = await streamText({ apiKey: "none", baseURL: `${url}/v1/`, model: "m", messages });
    for (const other of ["usage", "totalUsage", "steps", "messages"]) Promise.resolve(result[other]).catch(() => {});
    return result.textStream;
  },
  async mistral() {
    const { Mistral } = await import("@mistralai/mistralai");
    return openai(await new Mistral({ apiKey: "none", serverURL: url }).chat.stream({ model: "m", messages }), (piece) => piece.data);
  },
  async openrouter() {
    const { OpenRouter } = await import("@openrouter/sdk");
    const sdk = new OpenRouter({ apiKey: "none", serverURL: `${url}/v1` });
    return openai(await sdk.chat.send({ chatRequest: { model: "m", messages, stream: true } }), (piece) => piece);
  },
  async huggingface() {
    const { InferenceClient } = await import("@huggingface/inference");
    return openai(new InferenceClient("none", { endpointUrl: url }).chatCompletionStream({ model: "m", messages }), (piece) => piece);
  },
};
process.on("unhandledRejection", () => {});
let text = "", failure = null;
try {
  for await (const piece of await clients[client]()) text += piece;
} catch (error) {
  failure = `${error.name}: ${error.message}`;
}
console.log(JSON.stringify([text, failure]));
process.exit();
JS
v/bin/python t.py
