#!/usr/bin/env bash
# Guess: a pydantic or Zod model goes to the server as the JSON schema that the library writes, apart from `additionalProperties`.
# Reality: Anthropic's SDKs take `minimum`, `maximum`, `minLength`, `pattern`, `maxItems` and `default` out of the schema and write them
#   into `description` as text, such as "{minimum: 0, maximum: 150}". OpenAI's helpers leave all of them where they are.
#   The SDKs check the answer against the model afterwards, so a server that can enforce bounds never gets to, and the parse fails.
# Versions: anthropic 2.14.0, openai 3.57.0, pydantic 2.14.4 (PyPI); @anthropic-ai/sdk 1.14.0, openai 6.49.0, zod 4.6.7 (npm).
# For a server author: `output_config.format` arrives without bounds. Advise users to pass the schema as a plain object.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check anthropic==2.14.0 openai==3.57.0 pydantic==2.14.4
npm install --silent --no-fund --no-audit @anthropic-ai/sdk@1.14.0 openai@6.49.0 zod@4.6.7 > /dev/null
npm ls --depth=0 | grep @
cat > t.py <<'PY'
from importlib.metadata import version
from typing import Annotated
import pydantic
from anthropic import transform_schema
from openai.lib._pydantic import to_strict_json_schema
from pydantic import Field

print({name: version(name) for name in ("anthropic", "openai", "pydantic")})

class Person(pydantic.BaseModel):
    age: Annotated[int, Field(ge=0, le=150)]
    name: Annotated[str, Field(min_length=2, pattern="^[A-Z]")]
    tags: Annotated[list[str], Field(min_length=1, max_length=3)]

bounds = {"minimum", "maximum", "minLength", "pattern", "maxItems"}
for name, schema in (("openai", to_strict_json_schema(Person)), ("anthropic", transform_schema(Person))):
    print(name, schema["properties"])
    left = {key for field in schema["properties"].values() for key in field} & bounds
    assert left == (bounds if name == "openai" else set()), left
described = transform_schema(Person)["properties"]
assert described["age"]["description"] == "{maximum: 150, minimum: 0}", described
assert described["tags"]["minItems"] == 1 and "maxItems: 3" in described["tags"]["description"]
PY
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const Person = z.object({ age: z.int().min(0).max(150), name: z.string().min(2).regex(/^[A-Z]/) });
const openai = zodResponseFormat(Person, "person").json_schema.schema.properties;
const anthropic = zodOutputFormat(Person).schema.properties;
console.log("openai", openai, "\nanthropic", anthropic);
assert.deepEqual(openai.age, { type: "integer", minimum: 0, maximum: 150 });
assert.deepEqual(anthropic.age, { type: "integer", description: "{minimum: 0, maximum: 150}" });
assert.equal(anthropic.name.pattern, undefined);
JS
v/bin/python t.py
node t.mjs
