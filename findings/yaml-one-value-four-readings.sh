#!/usr/bin/env bash
# Guess: the numbers and words of a config.yaml mean the same to every YAML parser that tools of this field use, but for `yes`, `no` and dates.
# Reality: of 11 plain values PyYAML, ruamel.yaml, js-yaml and yaml read 2 alike. `2e-7`, a price for a token, and `12e3` are text for PyYAML, whose exponents
#   want a point, and numbers for the others. `20:30` is 1230 for PyYAML and text for the others; `017` is 15 and 17; `0o17` is text and 15; `08` is text and 8.
#   `1_800` and `0b11` are numbers in Python and text in JavaScript. `1e400` is text, infinity, text and infinity. `on` is true for PyYAML alone.
# Versions: PyYAML 6.0.4, ruamel.yaml 0.19.1 (PyPI), js-yaml 5.5.0, yaml 2.9.1 (npm), each with its defaults.
# For a server author: a file that one tool has accepted for years has other limits and prices for the next one. A reader of others' files has to take numbers
#   that are text, and a writer should quote whatever is not a plain decimal.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check pyyaml==6.0.4 ruamel.yaml==0.19.1
npm install --silent --no-fund --no-audit js-yaml@5.5.0 yaml@2.9.1 > /dev/null
cat > values.yaml <<'YAML'
- 2e-7
- 12e3
- 20:30
- 017
- 0o17
- 08
- 1_800
- 0b11
- 1e400
- 0.5
- 0x1F
YAML
cat > t.py <<'PY'
import json
from importlib.metadata import version
import yaml
from ruamel.yaml import YAML

def kind(value):
    return ["text", value] if isinstance(value, str) else ["number", str(value)]

parsers = {"PyYAML": yaml.safe_load, "ruamel.yaml": YAML(typ="safe", pure=True).load}
text = open("values.yaml").read()
print(json.dumps({f"{name} {version(name)}": [kind(value) for value in load(text)] for name, load in parsers.items()}))
assert [load("on") for load in parsers.values()] == [True, "on"]
PY
cat > t.mjs <<'JS'
import assert from "node:assert";
import { readFileSync } from "node:fs";
import * as jsYaml from "js-yaml";
import { parse } from "yaml";

const kind = (value) => [typeof value === "string" ? "text" : "number", String(value)];
const version = (name) => `${name} ${JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version}`;
const text = readFileSync("values.yaml", "utf8");
console.log(JSON.stringify({ [version("js-yaml")]: jsYaml.load(text).map(kind), [version("yaml")]: parse(text).map(kind) }));
assert.ok(jsYaml.load("on") === "on" && parse("on") === "on");
JS
v/bin/python t.py > python.json
node t.mjs > javascript.json
cat > compare.py <<'PY'
import json

values = [line[2:] for line in open("values.yaml").read().splitlines()]
read = {**json.load(open("python.json")), **json.load(open("javascript.json"))}

def short(kind, value):
    return value if kind == "text" else float(value.replace("Infinity", "inf"))

rows = {value: [short(*read[parser][at]) for parser in read] for at, value in enumerate(values)}
print("value:", *read, sep=" | ")
for value, row in rows.items():
    print(f"{value}:", *map(repr, row), sep=" | ")
infinity = float("inf")
assert rows == {
    "2e-7": ["2e-7", 2e-7, 2e-7, 2e-7], "12e3": ["12e3", 12000, 12000, 12000], "20:30": [1230, "20:30", "20:30", "20:30"],
    "017": [15, 17, 17, 17], "0o17": ["0o17", 15, 15, 15], "08": ["08", 8, 8, 8], "1_800": [1800, 1800, "1_800", "1_800"],
    "0b11": [3, 3, "0b11", "0b11"], "1e400": ["1e400", infinity, "1e400", infinity], "0.5": [0.5] * 4, "0x1F": [31] * 4,
}, rows
PY
python3 compare.py
