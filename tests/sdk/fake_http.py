"""The HTTP side of the fake providers: reads and records requests, and sends answers with the faults of the scripts."""
import collections
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fake_scripts import RETRY_AFTER, Refused, Script, script_of

LATE = 0.6


class Recorder:
    """The requests that a fake has seen, by model."""

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = collections.defaultdict(list)

    def note(self, model, entry):
        with self.lock:
            self.seen[model].append(entry)
            return len(self.seen[model])

    def of(self, model):
        with self.lock:
            return list(self.seen[model])


class Fake(BaseHTTPRequestHandler):
    """One request to a fake. A vendor's subclass checks and answers it."""
    protocol_version = "HTTP/1.1"
    recorder: Recorder
    # Answers that were not as the vendor's own types say.
    unfaithful: list
    # More than one segment of TCP at once would hide the borders of the pieces.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.startswith("/seen/"):
            self.answer(200, self.recorder.of(self.path.removeprefix("/seen/")))
        elif self.path == "/unfaithful":
            self.answer(200, self.unfaithful)
        else:
            self.guarded(self.get)

    def do_POST(self):
        self.raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.guarded(self.post)

    def guarded(self, method):
        try:
            method()
        except Refused as refused:
            self.refuse(400, str(refused))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def post(self):
        try:
            body = json.loads(self.raw)
        except ValueError:
            return self.refuse(400, "the body is no JSON")
        headers = {name.lower(): value for name, value in self.headers.items()}
        model = body.get("model", "")
        self.entry = {"path": self.path, "headers": headers, "body": body, "refused": None}
        count = self.recorder.note(model, self.entry)
        if not self.is_authorised():
            return self.refuse(401, f"invalid api key: {headers.get('authorization', '')[:12]}")
        script = script_of(model)
        if script is None:
            return self.refuse(404, f"model: {model}")
        if script.status:
            return self.fail(script)
        if script.fault == "flaky" and count == 1:
            return self.refuse(500, "try again", {"retry-after-ms": "1"})
        if script.fault == "late":
            time.sleep(LATE)
        if script.fault == "report" and not body.get("stream"):
            return self.refuse(500, "it broke")
        return self.serve(body, script)

    def fail(self, script):
        headers = {"retry-after": str(RETRY_AFTER)} if script.status == 429 else {}
        self.refuse(script.status, self.words(script), headers)

    def refuse(self, status, text, headers=None):
        if status == 400 and hasattr(self, "entry"):
            self.entry["refused"] = text
        self.answer(status, self.error(status, text), headers)

    def words(self, script):
        return f"the fake fails with {script.status}"

    def answer(self, status, body, headers=None):
        data = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **self.limits(), **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def whole(self, body, script: Script):
        """A whole answer, or as much of it as the script's fault lets through."""
        data = json.dumps(body, ensure_ascii=False).encode()
        if script.fault not in ("reset", "cut", "malformed", "trickle"):
            return self.answer(200, body)
        self.send_response(200)
        for name, value in {"content-type": "application/json", **self.limits()}.items():
            self.send_header(name, value)
        if script.fault == "malformed":
            data = data[: len(data) // 2]
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if script.fault == "trickle":
            return self.trickle(data, self.wfile.write)
        if script.fault == "malformed":
            return self.wfile.write(data)
        self.wfile.write(data[: len(data) // 2])
        return self.drop(script)

    def stream(self, frames, script: Script):
        """A stream of events, each of which is text, with the script's fault."""
        self.send_response(200)
        for name, value in {"content-type": "text/event-stream; charset=utf-8", **self.limits()}.items():
            self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if script.fault == "trickle":
            self.trickle("".join(frames).encode(), self.chunk)
        else:
            if script.fault in ("reset", "cut", "malformed", "report"):
                frames = frames[: len(frames) // 2 + 1] + self.broken_end(script)
            for frame in frames:
                self.chunk(frame.encode())
        if script.fault == "reset":
            return self.drop(script)
        return self.chunk(b"")

    def broken_end(self, script):
        if script.fault == "malformed":
            return ['data: {"id": "x", "choices": [{\n\n']
        return [self.report()] if script.fault == "report" else []

    def chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def trickle(self, data, write):
        """Sends one to three bytes at a time: within characters, and within the borders of events."""
        at = 0
        while at < len(data):
            size = at % 3 + 1
            write(data[at:at + size])
            at += size
            if at % 16 == 0:
                time.sleep(0.0005)

    def drop(self, script):
        """Ends the connection in the middle of the answer."""
        self.close_connection = True
        if script.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        # The client has left.
        pass


def serve(handler):
    """Serves a fake in the background. Returns its port."""
    server = Server(("127.0.0.1", 0), type(handler.__name__, (handler,), {"recorder": Recorder(), "unfaithful": []}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
