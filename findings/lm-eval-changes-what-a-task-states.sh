#!/usr/bin/env bash
# Guess: lm-evaluation-harness sends a task's settings to a chat server: all strings in `until`, greedy decoding, no thinking about the model's name.
# Reality: of five stop strings, HumanEval's number, the fifth is never sent, and nothing cuts the answer there afterwards. `openai-chat-completions` with a
#   `base_url` goes by letters: a "5" anywhere in the model's name, as in Qwen2.5 or GLM-4.5, makes it send temperature 1 and no stop strings at all.
#   `local-chat-completions` does not. A task without a limit gets 256 tokens. `eos_string` is among the stop strings with one request at a time, and not with
#   two.
# Versions: lm-eval 0.4.13 (PyPI); a stub server on this machine's loopback.
# For a server author: a score may be of other settings than the task's. Compare the requests in the log before comparing scores.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check 'lm-eval[api]==0.4.13'
cat > t.py <<'PY'
import json, logging, os, pathlib, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ.update(OPENAI_API_KEY="none", HF_HUB_OFFLINE="1")
import lm_eval, yaml
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalChatCompletion, OpenAIChatCompletion

print("lm-eval", version("lm-eval"))
logging.disable()
asked = []

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        text = "    return 1\n"
        if "\nprint" not in (asked[-1].get("stop") or []):
            text += "\nprint(f(2))\n"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        body = json.dumps({"id": "c", "created": 1, "model": "m", "object": "chat.completion", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

# The stub stops at the last of the task's strings if it is told.
server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"

class Loader(yaml.SafeLoader):
    pass

Loader.add_multi_constructor("!", lambda *_: None)
task = yaml.load((pathlib.Path(lm_eval.__file__).parent / "tasks/humaneval/humaneval.yaml").read_text(), Loader)
until = task["generation_kwargs"]["until"]
print("humaneval's until:", until)

def ask(kind, name, settings, **more):
    model = kind(model=name, base_url=url, **more)
    prompt = model.apply_chat_template([{"role": "user", "content": "def f(x):"}])
    request = Instance(request_type="generate_until", doc={}, arguments=(prompt, settings), idx=0)
    (answer,) = model.generate_until([request], disable_tqdm=True)
    return asked[-1], answer

settings = {"until": until, "do_sample": False, "max_gen_toks": 1024}
sent, answer = ask(LocalChatCompletion, "qwen2.5-coder", settings)
print("local-chat-completions, stop:", sent["stop"], "temperature:", sent["temperature"], "| answer:", repr(answer))
assert len(until) == 5 and until[-1] == "\nprint" and sent["stop"] == until[:4] and sent["temperature"] == 0
assert answer == "    return 1\n\nprint(f(2))\n"
for name in ("llama-3.2", "qwen2.5-coder", "glm-4.5-air"):
    sent, _ = ask(OpenAIChatCompletion, name, settings)
    print(f"openai-chat-completions, {name}: stop {sent.get('stop')}, temperature {sent['temperature']}")
    assert (sent["temperature"], "stop" in sent) == ((1, False) if "5" in name else (0, True))
sent, _ = ask(LocalChatCompletion, "m", {"until": ["\n\n"], "do_sample": False})
print("without a limit in the task:", sent["max_tokens"])
assert sent["max_tokens"] == 256
stops = [ask(LocalChatCompletion, "m", {"until": ["\n\n"]}, eos_string="<|end|>", num_concurrent=number)[0]["stop"] for number in (1, 2)]
print("stop with one request at a time:", stops[0], "| with two:", stops[1])
assert stops == [["\n\n", "<|end|>"], ["\n\n"]], stops
PY
v/bin/python t.py
