"""A program with an OpenAI-compatible API, as a backend of mlxd. Its answers are fixed.

program.py PORT FOLDER [WORD...]: writes what happens into FOLDER. Words:
  sick      the health check never succeeds
  broken    it ends at once
  late      it listens after a second
"""

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, folder, words = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
PIECES = ["one ", "two ", "three"]
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def note(name, text):
    with open(os.path.join(folder, name), "a") as file:
        file.write(text + "\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send(503 if "sick" in words else 200, {"status": "?"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        note("requests", json.dumps({"path": self.path, "body": body}))
        is_slow = "slow" in json.dumps(body["messages"])
        if body.get("stream"):
            return self.stream(body["model"], PIECES + ["more "] * 600 if is_slow else PIECES, is_slow)
        message = {"role": "assistant", "content": "".join(PIECES)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.send(200, {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice], "usage": USAGE})

    def stream(self, model, pieces, is_slow):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
        try:
            for piece in pieces:
                self.event({**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}]})
                if is_slow:
                    time.sleep(0.05)
            self.event({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            self.event({**base, "choices": [], "usage": USAGE})
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")
        except OSError:
            note("left", "a client")
            self.close_connection = True

    def event(self, value):
        self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


# A child, as servers with workers of their own have.
child = subprocess.Popen(["sleep", "1000"])
note("pids", f"{os.getpid()} {child.pid}")
note("environment", "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items())))
print("the program's own words")
if "broken" in words:
    sys.exit("no weights here")
if "late" in words:
    time.sleep(1)
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
