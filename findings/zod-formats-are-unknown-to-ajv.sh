#!/usr/bin/env bash
# Guess: a schema of `z.toJSONSchema` compiles in ajv with ajv-formats, the pair that JavaScript validates JSON schemas with.
# Reality: Zod writes names of its own into `format`: "starts_with", "lowercase", "jwt", "base64", "cuid", "ulid", "e164", "emoji". ajv takes
#   an unknown format for a mistake and throws, unless `strict: false`. The pattern beside it says the same, but is not reached.
#   `z.iso.time()` on the other hand has no format at all, since Zod's times lack the offset of RFC 3339.
# Versions: zod 4.6.7, ajv 8.20.0, ajv-formats 3.0.1 (npm).
# For a server author: a gateway that checks tools' schemas with ajv refuses tools that every other server takes. JSON Schema makes
#   unknown formats annotations: take them as such.
# Grounds: crossed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit zod@4.6.7 ajv@8.20.0 ajv-formats@3.0.1 > /dev/null
npm ls --depth=0 | grep @
cat > t.mjs <<'JS'
import assert from "node:assert/strict";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { z } from "zod";

const kinds = {
  starts_with: z.string().startsWith("ab"), lowercase: z.string().lowercase(), includes: z.string().includes("ab"), jwt: z.jwt(),
  base64: z.base64(), cuid: z.cuid(), ulid: z.ulid(), e164: z.e164(), emoji: z.emoji(),
  email: z.email(), uuid: z.uuid(), date: z.iso.date(), time: z.iso.time(), regex: z.string().regex(/^a/),
};
const known = ["email", "uuid", "date", "time", "regex"];
for (const [name, kind] of Object.entries(kinds)) {
  const schema = z.toJSONSchema(kind);
  const compile = (options) => {
    const ajv = new Ajv.default(options);
    addFormats.default(ajv);
    return ajv.compile(schema);
  };
  let seen = "compiles";
  try { compile({}); } catch (error) { seen = error.message; }
  console.log(`${name}: format ${schema.format}: ${seen}`);
  assert.equal(seen === "compiles", known.includes(name));
  if (!known.includes(name)) assert.match(seen, /^unknown format/);
  compile({ strict: false, logger: false });
}
assert.equal(z.toJSONSchema(z.iso.time()).format, undefined);
assert.equal(z.toJSONSchema(z.string().startsWith("ab")).pattern, "^ab.*");
JS
node t.mjs
