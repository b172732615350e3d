#!/usr/bin/env bash
# Guess: `rpm: 2` of a deployment in LiteLLM's router lets two requests a minute through, whatever the strategy, and `max_parallel_requests: 1` lets requests wait.
# Reality: of five requests one after another the default strategy and `least-busy` let all five through, `latency-based-routing` and `cost-based-routing` two,
#   `usage-based-routing` and its second version one. Of five at once each lets two through: the number also stands for parallel requests, and what is beyond is
#   refused with a RateLimitError at once, as it is under `max_parallel_requests`. Nothing waits.
# Versions: litellm 1.110.2, openai 3.57.0 (PyPI); a stub server on this machine's loopback. The limit is counted by the minute of the clock.
# For a server author: a limit that should protect one machine belongs to that machine, where requests can queue. In front of it the same setting is three limits, and
#   an agent that asks twice at once fails.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check litellm==1.110.2 openai==3.57.0
cat > t.py <<'PY'
import asyncio, json, os, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

litellm.suppress_debug_info = True
print({name: version(name) for name in ("litellm", "openai")})
now = most = 0
lock = threading.Lock()

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        global now, most
        self.rfile.read(int(self.headers["content-length"]))
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
        data = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}/v1"

def router(model, strategy, **limit):
    deployment = {"model": "openai/" + model, "api_base": base, "api_key": "none", **limit}
    return litellm.Router([{"model_name": "m", "litellm_params": deployment}], num_retries=0, routing_strategy=strategy)

async def ask(made):
    try:
        await made.acompletion(model="m", messages=[{"role": "user", "content": "Hi"}])
        return 1
    except (litellm.RateLimitError, ValueError) as error:  # RouterRateLimitError is a ValueError
        assert any(words in str(error) for words in ("No deployments available", "over defined rpm limit", "all max_parallel_requests slots in use")), error
        return 0

async def main():
    global most
    for strategy, expected in (("simple-shuffle", 5), ("least-busy", 5), ("latency-based-routing", 2), ("cost-based-routing", 2), ("usage-based-routing", 1),
                               ("usage-based-routing-v2", 1)):
        # All within one minute of the clock, and each counted before the next is asked.
        if time.time() % 60 > 45:
            time.sleep(61 - time.time() % 60)
        made, answered = router(strategy, strategy, rpm=2), 0
        for _ in range(5):
            answered += await ask(made)
            await asyncio.sleep(0.3)
        made = router("together-" + strategy, strategy, rpm=2)
        at_once = sum(await asyncio.gather(*(ask(made) for _ in range(5))))
        print(f"{strategy}, rpm 2: {answered} of 5 requests one after another are answered, {at_once} of 5 at once")
        assert (answered, at_once) == (expected, 2), (answered, at_once)
    most, made = 0, router("parallel", "simple-shuffle", max_parallel_requests=1)
    answered = sum(await asyncio.gather(*(ask(made) for _ in range(5))))
    print(f"simple-shuffle, max_parallel_requests 1: {answered} of 5 at once answered, at most {most} at one time")
    assert (answered, most) == (1, 1), (answered, most)

asyncio.run(main())
PY
v/bin/python t.py 2> err.txt || { cat err.txt >&2; exit 1; }
