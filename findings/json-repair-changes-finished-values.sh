#!/usr/bin/env bash
# Guess: a repair library closes what a limit has cut, and leaves the values that were finished as they are.
# Reality: json_repair changes them once any bracket is missing. Line ends at the end of a text are gone, so a file loses its last one; a text that begins with
#   a fence of JSON loses it but for an "n"; `\/` keeps its backslash; a surrogate pair stays two halves, which UTF-8 refuses later. With the last bracket the same
#   texts are right. fast-json-repair for Python, partial-json-parser, jiter and jsonrepair for JavaScript keep all of them.
# Versions: json-repair 0.64.6, fast-json-repair 0.2.3, partial-json-parser 0.2.1.1.post7, jiter 0.19.0 (PyPI), jsonrepair 3.15.0 (npm).
# For a server author: an answer that `length` ended is another text in a client that repairs it, not only a shorter one. Send `length`, and let no agent write
#   files from a repaired call.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check json-repair==0.64.6 fast-json-repair==0.2.3 partial-json-parser==0.2.1.1.post7 jiter==0.19.0
npm install --silent --no-fund --no-audit jsonrepair@3.15.0 > /dev/null 2>&1
npm ls --depth=0 | grep @
cat > t.py <<'PY'
import json, subprocess
from importlib.metadata import version
import fast_json_repair, jiter, json_repair, partial_json_parser

print({name: version(name) for name in ("json-repair", "fast-json-repair", "partial-json-parser", "jiter")})

def javascript(text):
    program = 'import { jsonrepair } from "jsonrepair"; console.log(JSON.stringify(JSON.parse(jsonrepair(process.argv[1]))))'
    return json.loads(subprocess.run(["node", "--input-type=module", "-e", program, text], capture_output=True, text=True, check=True).stdout)

others = {"fast-json-repair": fast_json_repair.loads, "partial-json-parser": partial_json_parser.loads, "jsonrepair": javascript,
          "jiter": lambda text: jiter.from_json(text.encode(), partial_mode=True)}
FENCE = "```json\n{}\n```\n"
for written, repaired in (
    (json.dumps({"text": "one\ntwo\n"}), "one\ntwo"),
    (json.dumps({"text": "\n"}), ""),
    (json.dumps({"text": FENCE}), "n{}\n```"),
    (json.dumps({"text": "# Title\n" + FENCE}), "# Title\n```json\n{}\n```"),
    ('{"text": "a\\/b"}', "a\\/b"),
    (json.dumps({"text": "\U0001d7d9"}), "\ud835\udfd9"),
    (json.dumps({"text": 'say "no", twice'}), 'say "no", twice'),
):
    right = json.loads(written)["text"]
    # The value is finished; the bracket behind it is missing, or a second field is cut.
    for cut in (written[:-1], written[:-1] + ', "size": 12'):
        seen = json_repair.loads(cut)["text"]
        kept = {name: repair(cut)["text"] == right for name, repair in others.items()}
        print(f"{cut[:48]!r}: {seen!r} of {right!r}; kept by {[name for name in kept if kept[name]]}")
        assert seen == repaired, seen
        assert kept == dict.fromkeys(others, True), kept
    assert json_repair.loads(written)["text"] == right
PY
v/bin/python t.py
