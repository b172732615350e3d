#!/usr/bin/env bash
# Guess: `strftime_now` of a chat template writes the same date in JavaScript as in Python, or raises at a directive that it does not know.
# Reality: @huggingface/jinja knows eight directives and leaves all others in the prompt as they are: "%A, %-d" is "%A, %-d". And its %B and %b are in the language of
#   the process: under `LC_ALL=de_DE.UTF-8` the system prompt says "30 Dezember" where Python, which starts in the C locale, says "30 December".
# Versions: @huggingface/jinja 0.5.11 (npm) on node, Jinja2 3.1.6 (PyPI) with `strftime_now` as Transformers defines it.
# For a server author: a prompt that a browser counted differs from the server's by the reader's language, and the model sees a system prompt that it was not
#   trained with. Compare prompts under LC_ALL=C.
# Grounds: deep
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check Jinja2==3.1.6
npm install --silent --no-fund --no-audit @huggingface/jinja@0.5.11 > /dev/null
npm ls --depth=0 | grep jinja
cat > t.mjs <<'JS'
import { Template } from "@huggingface/jinja";
const OldDate = Date;
globalThis.Date = class extends OldDate { constructor() { super(2026, 11, 30, 15, 4, 5); } };
console.log(JSON.stringify(JSON.parse(process.argv[2]).map((format) => new Template(`{{ strftime_now("${format}") }}`).render({}))));
JS
cat > t.py <<'PY'
import datetime, json, os, subprocess
from importlib.metadata import version
from jinja2 import Environment

print("Jinja2", version("Jinja2"), "| node", subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip())
now, environment = datetime.datetime(2026, 12, 30, 15, 4, 5), Environment()
environment.globals["strftime_now"] = now.strftime
formats = ["%Y-%m-%d", "%d %B %Y", "%d %b %Y", "%A, %-d %B", "%I:%M %p", "%y%j"]
javascript = {
    "C": ["2026-12-30", "30 December 2026", "30 Dec 2026", "%A, %-d December", "%I:04 %p", "%y%j"],
    "de_DE.UTF-8": ["2026-12-30", "30 Dezember 2026", "30 Dez 2026", "%A, %-d Dezember", "%I:04 %p", "%y%j"],
}
python = ["2026-12-30", "30 December 2026", "30 Dec 2026", "Wednesday, 30 December", "03:04 PM", "26364"]
for locale, expected in javascript.items():
    run = subprocess.run(["node", "t.mjs", json.dumps(formats)], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": locale})
    seen = json.loads(run.stdout), [environment.from_string(f'{{{{ strftime_now("{one}") }}}}').render() for one in formats]
    for one, *both in zip(formats, *seen):
        print(f"LC_ALL={locale}, {one}: JavaScript {both[0]!r}, Python {both[1]!r}")
    assert seen == (expected, python), seen
PY
for locale in C de_DE.UTF-8; do LC_ALL=$locale v/bin/python -c 'import datetime; assert datetime.datetime(2026, 12, 30).strftime("%B") == "December"'; done
v/bin/python t.py
