"""Every client's protocol to every kind of provider: matrix.py MLXD OPENAI ANTHROPIC PAGE [NAME...]

The addresses are those of the server and of the two fake providers, as `fake_upstreams.py` prints them. The page documents the table
for users, and must have it as it is here. Names choose features.
"""
import collections
import concurrent.futures
import json
import sys
import time
import traceback
import urllib.request

import fake_scripts as scripts
import matrix_beside as beside
import matrix_asks as asks
from matrix_cells import DOCUMENTED, FEATURES, RETRIED, SHOWN, Cell, calls_of, cells, end_of, shows_thinking
from matrix_clients import CLIENTS, Answer, Failed, guarded

THREADS = 24
OVERLOADED = dict.fromkeys((503, 529), "rate_limit_exceeded")
# By the status that the client gets: the code or type in a body of OpenAI's, and of Anthropic's.
WORDS = {400: ("invalid_request_error", "invalid_request_error"), 404: ("model_not_found", "not_found_error"),
         413: ("request_too_large", "request_too_large"), 502: ("upstream_error", "api_error")}
# Cells that wait for retries come first.
SLOW = ("status_500", "status_503", "status_529", "report", "reset", "late", "flaky", "trickle")


class Matrix:
    def __init__(self, server, openai, anthropic):
        self.server, self.fakes = server, {"op": openai, "co": openai, "an": anthropic}
        bases = {"direct-op": openai, "direct-co": f"{openai}/compat", "direct-an": anthropic}
        self.clients = {(name, base): make(url, key) for name, make in CLIENTS.items()
                        for base, url, key in [("mlxd", server, "none"), *((base, url, scripts.KEY) for base, url in bases.items())]}

    def run(self, cell):
        """What is wrong with a cell, or nothing."""
        client = self.clients[cell.client, cell.upstream if cell.is_direct else "mlxd"]
        model = cell.model if cell.is_direct else f"{cell.upstream}/{cell.model}"
        try:
            outcome = guarded(lambda: client.ask(model, cell.feature.ask, cell.stream))
            check(cell, model, outcome, self.seen(cell))
        except AssertionError as error:
            return str(error) or traceback.format_exc()
        except Exception:
            return traceback.format_exc(limit=-2)
        return None

    def seen(self, cell):
        return get(f"{self.fakes[cell.kind]}/seen/{cell.model}")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def same(what, got, expected):
    assert got == expected, f"{what}: {got!r}, not {expected!r}"


def check(cell, model, outcome, seen):
    script = scripts.SCRIPTS[cell.feature.script]
    refusals = [entry["refused"] for entry in seen if entry["refused"] and not script.status]
    if cell.refused:
        assert isinstance(outcome, Failed), f"{cell.refused} is not refused: {outcome}"
        assert outcome.status == 400 and cell.refused in f"{outcome.param} {outcome.message}", f"not refused by name: {outcome}"
        return
    assert not refusals, f"the provider refuses the request: {refusals}"
    if script.status:
        check_status(cell, outcome, script.status, seen)
    elif script.fault in ("reset", "cut", "malformed", "report"):
        check_broken(cell, outcome, script.fault, seen)
    else:
        assert isinstance(outcome, Answer), f"failed: {outcome}"
        check_answer(cell, model, outcome, script)
        check_seen(cell, outcome, seen, 2 if script.fault == "flaky" and not cell.is_direct else 1)


def check_status(cell, outcome, status, seen):
    assert isinstance(outcome, Failed), f"did not fail: {outcome}"
    # Codex acts on these codes within a stream only.
    code = "context_length_exceeded" if cell.feature.name == "too_long" else OVERLOADED.get(status)
    if cell.is_response and cell.stream and not cell.is_direct and code:
        same("status and code", (outcome.status, outcome.kind), (0, code))
        return
    same("status", outcome.status, status if cell.is_direct else SHOWN[status])
    if status == 429:
        same("retry-after", outcome.retry_after, str(scripts.RETRY_AFTER))
    if not cell.is_direct:
        same("x-mlxd-backend", outcome.backend, cell.upstream)
        same("attempts", len(seen), 3 if status in RETRIED else 1)
        words = {**WORDS, 429: ("overloaded" if status in OVERLOADED else "rate_limit_exceeded", "rate_limit_error")}
        if cell.feature.name != "too_long":
            same("code", outcome.kind, words[SHOWN[status]][cell.client == "messages"])
        assert cell.upstream in outcome.message, outcome.message
        assert scripts.KEY not in outcome.message
    if cell.feature.name == "too_long" and cell.client != "messages":
        assert cell.is_direct or outcome.kind == "context_length_exceeded", outcome


def check_broken(cell, outcome, fault, seen):
    if cell.is_direct and fault == "cut" and cell.client == "chat" and cell.stream:
        # OpenAI's SDK does not mind a stream without an end.
        return
    assert isinstance(outcome, Failed), f"took a broken answer for a whole one: {outcome}"
    if not cell.is_direct and not cell.stream and not cell.passes:
        assert outcome.status >= 429, outcome
    if fault != "report" or cell.stream:
        same("attempts", len(seen), 1)


def check_answer(cell, model, answer, script):
    same("text", answer.text, script.text)
    expected = [(name, json.loads(arguments)) for name, arguments in calls_of(cell)]
    if cell.feature.name == "custom_call":
        expected = [("shell", "ls -l")]
    same("calls", answer.calls, expected)
    same("finish", answer.finish, end_of(cell))
    same("stop", answer.stop, scripts.END if answer.finish == "stop_sequence" else None)
    same("model", answer.model, model)
    same("usage", answer.usage, usage_of(cell, script))
    assert not answer.unfit, f"does not fit the SDK's types: {answer.unfit[:3]}"
    if not (cell.is_response and cell.passes):
        same("reasoning", answer.reasoning, script.reasoning if shows_thinking(cell) else "")
    if cell.client == "messages" and cell.kind == "an" and answer.reasoning:
        same("signature", answer.signature, scripts.SIGNATURE)
    if cell.feature.name == "sealed_reasoning":
        same("sealed reasoning and its summary", (answer.sealed, answer.reasoning), (scripts.SEALED, script.reasoning))
    if cell.feature.name == "logprobs":
        same("logprobs", answer.logprobs, ["Grüße", ", ", "世界"] if cell.client == "chat" or not cell.is_direct else [])
    same("choices", answer.choices, 2 if cell.feature.name == "choices" else 1)
    if not cell.is_direct:
        same("x-mlxd-backend", answer.headers.get("x-mlxd-backend"), cell.upstream)
    if cell.passes:
        limits = {name: value for name, value in answer.headers.items() if "ratelimit" in name}
        same("limits", sorted(limits.values()), sorted(scripts.LIMITS.values()))


def usage_of(cell, script):
    thinks = script.reasoning and cell.feature.ask.effort != "none" and (cell.kind != "an" or shows_thinking(cell))
    counts = {"output": scripts.OUTPUT, "cached": scripts.CACHED, "reasoning": scripts.REASONING if thinks else 0}
    if cell.client == "messages":
        return {**counts, "input": scripts.PROMPT - scripts.CACHED - scripts.WRITTEN, "written": scripts.WRITTEN}
    return {**counts, "prompt": scripts.PROMPT}


def check_seen(cell, answer, seen, attempts):
    same("attempts", len(seen), attempts)
    body = dict(seen[-1]["body"])
    if cell.passes:
        sent = {**answer.sent, "model": cell.model}
        same("what the provider saw", body, sent)
        return
    same("stream", body["stream"], True)
    for path, expected in cell.feature.sees.get(cell.upstream, {}).items():
        same(f"{path} of the provider's request", find(body, path), expected)
    if cell.client == "completions":
        same("prompt", body["prompt"], cell.feature.ask.turns[-1].text)
        for name in ("max_tokens", "temperature", "top_p"):
            same(name, body.get(name), getattr(cell.feature.ask, name))
    elif cell.feature.compares:
        got = asks.read_messages(body) if cell.kind == "an" else asks.read_chat(body)
        expected = asks.wanted(cell.feature.ask, cell.kind == "an")
        for name in expected:
            same(f"{name} of the provider's request", got[name], expected[name])


def find(value, path):
    for name in path.split("."):
        if isinstance(value, list) and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict) and name in value:
            value = value[name]
        else:
            return None
    return value


def show(outcomes):
    """A line for each feature and client: works, refused by name, fails as it must, or wrong."""
    rows = collections.defaultdict(dict)
    for cell, problem in outcomes.items():
        broken = cell.feature.script.startswith("status") or cell.feature.script in ("long", "reset", "cut", "malformed", "report")
        word = "WRONG" if problem else f"no {cell.refused}" if cell.refused else "fails" if broken else "passes" if cell.passes else "works"
        rows[cell.feature.name, cell.client].setdefault(cell.upstream, set()).add(word)
    columns = ["op", "co", "an", "direct-op", "direct-co", "direct-an"]
    print("".join(f"{text:<26}" for text in ("feature", "client", *columns)))
    for (feature, client), row in rows.items():
        print("".join(f"{text:<26}" for text in (feature, client, *("/".join(sorted(row.get(column, "-"))) for column in columns))))


def documented():
    """The table of the documentation: what translated requests can have."""
    ways = [("chat", "an"), ("responses", "op"), ("responses", "co"), ("responses", "an"), ("messages", "op"), ("messages", "co")]
    features = {feature.name: feature for feature in FEATURES}
    words = {"chat": "Chat", "responses": "Responses", "messages": "Messages", "op": "`openai`", "co": "compatible", "an": "`anthropic`"}
    lines = ["| | " + " | ".join(f"{words[client]} to {words[kind]}" for client, kind in ways) + " |", "|---" * (len(ways) + 1) + "|"]
    for text, name in DOCUMENTED.items():
        row = []
        for client, kind in ways:
            cell = Cell(features[name], client, kind, False)
            word = "no" if cell.refused else "ignored" if None in cell.feature.sees.get(kind, {}).values() else "yes"
            row.append(word if client in cell.feature.clients else "–")
        lines.append(f"| {text} | {' | '.join(row)} |")
    return "\n".join(lines)


def main(server, openai, anthropic, page, *names):
    begun = time.monotonic()
    matrix = Matrix(server, openai, anthropic)
    chosen = [cell for cell in cells() if not names or cell.feature.name in names]
    chosen.sort(key=lambda cell: cell.feature.script not in SLOW)
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        outcomes = dict(zip(chosen, pool.map(matrix.run, chosen)))
    order = {cell: at for at, cell in enumerate(cells())}
    outcomes = dict(sorted(outcomes.items(), key=lambda entry: order[entry[0]]))
    show(outcomes)
    wrong = {cell: problem for cell, problem in outcomes.items() if problem}
    for cell, problem in wrong.items():
        print(f"{cell.model}: {problem}", file=sys.stderr)
    beside.run(server, {"op": openai, "co": openai, "an": anthropic})
    unfaithful = {problem for fake in (openai, anthropic) for problem in get(f"{fake}/unfaithful")}
    for problem in unfaithful:
        print(f"a fake is not as its vendor: {problem}", file=sys.stderr)
    with open(page, encoding="utf-8") as file:
        assert documented() in file.read(), f"{page} has another table than this one:\n{documented()}"
    print(f"{len(outcomes)} cells, {len(wrong)} wrong, {time.monotonic() - begun:.1f} s")
    assert not wrong and not unfaithful, f"{len(wrong)} wrong cells, {len(unfaithful)} unfaithful answers"
    print("all checks passed")


if __name__ == "__main__":
    main(*sys.argv[1:])
