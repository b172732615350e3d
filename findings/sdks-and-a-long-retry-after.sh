#!/usr/bin/env bash
# Guess: the official SDKs treat `Retry-After` alike: a wait of up to a minute is kept, a longer one is ignored for a backoff of seconds.
# Reality: OpenAI's Python SDK waits up to 120 s and gives up at once beyond, even against `x-should-retry: true`. Its JavaScript SDK
#   waits up to 60 s and asks twice more within seconds beyond. Anthropic's two wait whatever is asked: an hour, or 20 days, inside
#   one call, without a word. `x-should-retry: false` ends all four at once.
# Versions: openai 3.57.0, anthropic 2.14.0 (PyPI), openai 7.59.0, @anthropic-ai/sdk 1.14.0 (npm); a stub server on this machine's
#   loopback. The clocks of the clients are replaced: each wait is recorded and skipped.
# For a server author: the time until a monthly budget begins anew is a true Retry-After, and it makes Anthropic's clients hang until
#   then. Send `x-should-retry: false` beside every wait of more than a minute.
# Grounds: new
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check openai==3.57.0 anthropic==2.14.0
npm install --silent --no-fund --no-audit openai@7.59.0 @anthropic-ai/sdk@1.14.0 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import json, subprocess, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
import anthropic, openai

print({name: version(name) for name in ("openai", "anthropic")})

class Stub(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        _, wait, retry, *_ = self.path.split("/")
        body = json.dumps({"error": {"message": "limit", "type": "rate_limit_error"}, "type": "error"}).encode()
        self.send_response(429)
        for name, value in [("content-type", "application/json"), ("content-length", len(body)), ("retry-after", wait)]:
            self.send_header(name, str(value))
        if retry != "unsaid":
            self.send_header("x-should-retry", retry)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
messages = [{"role": "user", "content": "x"}]

def python(library, url):
    waits, sleep = [], time.sleep
    time.sleep = waits.append
    try:
        if library == "openai":
            openai.OpenAI(base_url=url, api_key="none").chat.completions.create(model="m", messages=messages)
        else:
            anthropic.Anthropic(base_url=url, api_key="none").messages.create(model="m", max_tokens=9, messages=messages)
    except (openai.RateLimitError, anthropic.RateLimitError):
        return waits
    finally:
        time.sleep = sleep

def javascript(library, url):
    return json.loads(subprocess.run(["node", "t.mjs", library, url], capture_output=True, text=True, check=True).stdout)

BACKOFF = "backoff"
def kind(waits, asked):
    return [BACKOFF if wait != asked and wait < 9 else round(wait) for wait in waits]
for wait, retry, expected in [
    (30, "unsaid", {"openai": ([30, 30], [30, 30]), "anthropic": ([30, 30], [30, 30])}),
    (90, "unsaid", {"openai": ([90, 90], [BACKOFF] * 2), "anthropic": ([90, 90], [90, 90])}),
    (3600, "unsaid", {"openai": ([], [BACKOFF] * 2), "anthropic": ([3600, 3600], [3600, 3600])}),
    (3600, "true", {"openai": ([], [BACKOFF] * 2), "anthropic": ([3600, 3600], [3600, 3600])}),
    (1728000, "unsaid", {"openai": ([], [BACKOFF] * 2), "anthropic": ([1728000] * 2, [1728000] * 2)}),
    (1728000, "false", {"openai": ([], []), "anthropic": ([], [])}),
]:
    for library, pair in expected.items():
        url = f"http://127.0.0.1:{server.server_port}/{wait}/{retry}"
        seen = tuple(kind(run(library, url), wait) for run in (python, javascript))
        print(f"Retry-After {wait}, x-should-retry {retry}: {library} waits {seen[0]} in Python, {seen[1]} in JavaScript")
        assert seen == pair, (seen, pair)
PY
cat > t.mjs <<'JS'
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
const [library, baseURL] = process.argv.slice(2);
const waits = [];
const real = globalThis.setTimeout;
// The SDKs' own limit for a request is 600 s, and it is cleared when the answer comes.
globalThis.setTimeout = (then, wait, ...rest) => {
  if (wait === 600000 || !String(new Error().stack).includes("sleep")) return real(then, wait, ...rest);
  waits.push(wait / 1000);
  return real(then, 0, ...rest);
};
const messages = [{ role: "user", content: "x" }];
try {
  if (library === "openai") await new OpenAI({ baseURL, apiKey: "none" }).chat.completions.create({ model: "m", messages });
  else await new Anthropic({ baseURL, apiKey: "none" }).messages.create({ model: "m", max_tokens: 9, messages });
} catch (error) {
  if (error.status !== 429) throw error;
}
console.log(JSON.stringify(waits));
process.exit();
JS
v/bin/python t.py
