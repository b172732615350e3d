#!/usr/bin/env bash
# Guess: mlx-lm's parser for Qwen3-Coder's calls gives the arguments that the model wrote, with the types of the tool's schema.
# Reality: the text `null` is None for a parameter of type string too. An integer goes through a float: 12345678901234567 becomes
#   12345678901234568. `int | None`, which Pydantic writes as `anyOf`, stays text: "5". A text in brackets for `str | None`
#   becomes a list. The boolean `1` is False, and `1e400` raises OverflowError.
# Versions: mlx-lm 0.32.2, pydantic 2.14.4.
# For a server author: ids of 17 digits name another record, silently. Convert by the whole schema and never through a float; calls of
#   mlx_lm.server are no reference for a parser of this format.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check mlx==0.32.2 mlx-cpu==0.32.2 mlx-lm==0.32.2 pydantic==2.14.4
cat > t.py <<'PY'
from importlib.metadata import version
from mlx_lm.tool_parsers.qwen3_coder import parse_tool_call
from pydantic import TypeAdapter

print({name: version(name) for name in ("mlx-lm", "pydantic")})

def read(text, kind):
    parameters = {"type": "object", "properties": {"a": TypeAdapter(kind).json_schema()}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    call = f"<function=f>\n<parameter=a>\n{text}\n</parameter>\n</function>"
    try:
        return parse_tool_call(call, tools)["arguments"]["a"]
    except OverflowError:
        return OverflowError

for kind, text, meant, read_as in [
    (str, "12", "12", "12"), (int, "12", 12, 12), (list[int], "[1, 2]", [1, 2], [1, 2]),
    (str, "null", "null", None), (str, "NULL", "NULL", None),
    (int, "12345678901234567", 12345678901234567, 12345678901234568),
    (int | None, "5", 5, "5"), (bool | None, "true", True, "true"), (str | None, "[1]", "[1]", [1]),
    (bool, "1", True, False), (float, "1e400", float("inf"), OverflowError),
]:
    seen = read(text, kind)
    print(f"{kind!s:16} {text:18} is read as {seen!r}, {'as meant' if seen == meant else f'meant is {meant!r}'}")
    assert seen == read_as and type(seen) is type(read_as), (kind, text, seen)
PY
v/bin/python t.py
