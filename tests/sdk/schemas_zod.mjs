// Zod's schemas as constraints of mlxd's answers and calls: schemas_zod.mjs BASE_URL MODEL
// Each feature of the library either gives a value that the library parses, or a 400 that names the keyword and the place.
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const { z } = load("zod");
const OpenAI = load("openai").default ?? load("openai");
const Node = z.object({ value: z.int().min(0).max(9), get next() { return Node.nullable(); } });
const point = z.object({ x: z.number().min(-1).max(1), y: z.number().gt(0).lt(1) });
const FEATURES = {
  string_length: z.string().min(2).max(6),
  string_regex: z.string().regex(/^[A-Z]{2}-\d{3}$/),
  string_case_checks: z.string().startsWith("ab").endsWith("yz").max(8),
  string_includes: z.string().includes("ok").max(6),
  lowercase: z.string().lowercase().max(5),
  uppercase: z.string().uppercase().max(5),
  email: z.email().max(20),
  uuid: z.uuid(),
  uuid_version_4: z.uuidv4(),
  guid: z.guid(),
  url: z.url().max(20),
  http_url: z.httpUrl().max(30),
  iso_datetime: z.iso.datetime({ precision: 0 }),
  iso_datetime_offset: z.iso.datetime({ offset: true, precision: 3 }),
  iso_date: z.iso.date(),
  iso_time: z.iso.time({ precision: 0 }),
  iso_duration: z.iso.duration().max(8),
  ipv4: z.ipv4(),
  ipv6: z.ipv6(),
  cidrv4: z.cidrv4(),
  nanoid: z.nanoid(),
  cuid: z.cuid().max(12),
  cuid2: z.cuid2().max(12),
  ulid: z.ulid(),
  ksuid: z.ksuid(),
  xid: z.xid(),
  base64: z.base64().max(8),
  base64url: z.base64url().max(8),
  jwt: z.jwt().max(20),
  e164: z.e164(),
  emoji: z.emoji().max(2),
  hostname: z.hostname().max(12),
  hex: z.hex().max(6),
  template_literal: z.templateLiteral(["v", z.int().min(0).max(9), ".", z.enum(["a", "b"])]),
  literal: z.literal("exact"),
  literal_number: z.literal(3.5),
  literal_list: z.literal(["a", 2, true, null]),
  enumeration: z.enum(["red", "green"]),
  native_enumeration: z.enum({ Red: 1, Green: 2 }),
  boolean: z.boolean(),
  null_value: z.null(),
  any_value: z.object({ kind: z.literal("k"), rest: z.unknown().optional() }),
  integer: z.int(),
  integer_bounds: z.int().min(10).max(99),
  integer_positive: z.int().positive().max(500),
  integer_negative: z.int().negative().min(-500),
  integer_multiple: z.int().multipleOf(5).min(0).max(100),
  int32: z.int32(),
  uint32: z.uint32(),
  float_positive: z.number().positive(),
  float_nonnegative: z.number().nonnegative(),
  float_open_interval: z.number().gt(0).lt(1),
  float_closed_interval: z.number().min(-0.5).max(2.5),
  float_multiple: z.number().multipleOf(0.5).min(0).max(10),
  float32: z.float32(),
  float64: z.float64(),
  array_length: z.array(z.int().min(0).max(9)).min(1).max(3),
  array_nonempty: z.array(z.boolean()).nonempty().max(3),
  set_as_array: z.array(z.enum(["a", "b"])).max(2),
  tuple: z.tuple([z.enum(["a", "b"]), z.int().min(0).max(9)]),
  tuple_rest: z.tuple([z.boolean()], z.enum(["x"])),
  record: z.record(z.string().max(3), z.int().min(0).max(9)),
  record_of_strings: z.object({ tags: z.record(z.string(), z.boolean()) }),
  record_enumerated_keys: z.record(z.enum(["a", "b"]), z.boolean()),
  record_partial: z.partialRecord(z.enum(["a", "b"]), z.boolean()),
  record_pattern_keys: z.record(z.string().regex(/^k[0-9]$/), z.boolean()),
  record_loose: z.looseRecord(z.string().regex(/^k[0-9]$/), z.boolean()),
  object: z.object({ a: z.boolean(), b: z.object({ c: z.enum(["d"]) }) }),
  object_strict: z.strictObject({ a: z.boolean() }),
  object_loose: z.looseObject({ a: z.boolean() }),
  object_catchall: z.object({ a: z.boolean() }).catchall(z.int().min(0).max(9)),
  optional: z.object({ a: z.boolean().optional(), b: z.enum(["x"]) }),
  nullable: z.object({ a: z.enum(["x", "y"]).nullable() }),
  nullish: z.object({ a: z.int().min(0).max(9).nullish() }),
  with_default: z.object({ a: z.enum(["x", "y"]).default("x") }),
  prefault: z.object({ a: z.enum(["x", "y"]).prefault("x") }),
  caught: z.object({ a: z.enum(["x", "y"]).catch("x") }),
  readonly: z.object({ a: z.boolean() }).readonly(),
  union: z.union([z.boolean(), z.enum(["x"]), z.int().min(0).max(9)]),
  exclusive_union: z.xor([z.boolean(), z.enum(["x"])]),
  discriminated_union: z.discriminatedUnion("kind", [z.object({ kind: z.literal("a"), n: z.number().positive() }),
    z.object({ kind: z.literal("b"), flag: z.boolean() })]),
  intersection: z.intersection(z.object({ a: z.boolean() }), z.object({ b: z.enum(["x"]) })),
  extended: z.object({ a: z.boolean() }).extend({ b: z.enum(["x"]) }),
  recursive: Node,
  nested_shared: z.object({ from: point, to: point }),
  described: z.object({ a: z.boolean().describe("whether").meta({ title: "A", examples: [true], deprecated: true }) }),
  branded: z.object({ a: z.enum(["x"]).brand("B") }),
  json: z.object({ kind: z.literal("k"), data: z.json().optional() }),
  coerced: z.object({ a: z.coerce.number().min(0).max(9) }),
  string_bool: z.stringbool(),
  piped: z.string().max(3).pipe(z.string().max(5)),
  // `not: {}` and nothing else: no value.
  never_optional: z.object({ a: z.boolean(), b: z.never().optional() }),
  partial_object: z.object({ a: z.boolean() }).partial(),
};
// Checks of the library that its schema does not state: its answers are only generated.
const BEYOND_THE_SCHEMA = new Set(["http_url"]);
// Schemas that no answer can be held to: the keyword and the place stand in the message.
const REFUSED = {
  not: [{ type: "object", properties: { user: { type: "object", properties: { name: { not: { const: "x" } } } } } }, "not", "user.name"],
  look_around: [{ type: "object", properties: { code: { type: "string", pattern: "^(?=a)b" } } }, "pattern", "code"],
  unique: [{ type: "object", properties: { ids: { type: "array", items: { type: "object", properties: { tags: { type: "array", uniqueItems: true } } } } } },
    "uniqueItems", "ids[].tags"],
  bounds: [{ type: "object", properties: { n: { type: "integer", minimum: 3, maximum: 2 } }, required: ["n"] }, "minimum", "n"],
};
const VARIANTS = [{ target: "draft-2020-12", io: "output" }, { target: "draft-7", io: "input" },
  { target: "draft-2020-12", io: "output", reused: "ref" }];

/** The feature, its schemas that differ, and the type. */
const dumped = () => Object.entries(FEATURES).flatMap(([name, type]) => {
  const texts = new Map(VARIANTS.map((variant) => {
    const { $schema, ...schema } = z.toJSONSchema(type, variant);
    return [JSON.stringify(schema), `${name}, ${variant.target} ${variant.reused ?? ""}`];
  }));
  return [...texts].map(([text, label]) => [label, JSON.parse(text), type]);
});

const [baseURL, model] = process.argv.slice(2);
if (baseURL === "--dump") {
  for (const [name, schema] of dumped()) console.log(JSON.stringify([name, schema]));
  process.exit(0);
}
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout: 240_000 });
const failures = [];

async function ask(schema, seed) {
  const answer = await client.chat.completions.create({ model, seed, temperature: 1, max_tokens: 64,
    messages: [{ role: "user", content: "Give an example value, as short as you can." }],
    response_format: { type: "json_schema", json_schema: { name: "value", strict: true, schema } } });
  return answer.choices[0];
}

for (const [at, [name, schema, type]] of dumped().entries()) {
  try {
    let choice = await ask(schema, at);
    for (let again = 1; choice.finish_reason === "length" && again < 3; again++) choice = await ask(schema, at + 1000 * again);
    if (choice.finish_reason === "length") console.log(`${name}: cut off, ${choice.message.content.slice(0, 60)}`);
    else {
      const value = JSON.parse(choice.message.content);
      if (!BEYOND_THE_SCHEMA.has(name.split(",")[0])) type.parse(value);
    }
  } catch (error) {
    failures.push(`${name}: ${error.message} for ${JSON.stringify(schema)}`);
  }
}

async function strictTool() {
  const parameters = z.toJSONSchema(z.object({ n: z.number().positive(), tags: z.record(z.string().max(4), z.boolean()) }));
  const answer = await client.chat.completions.create({ model, seed: 1, temperature: 1, max_tokens: 160,
    messages: [{ role: "user", content: "Call it." }], tool_choice: "required",
    tools: [{ type: "function", function: { name: "save", strict: true, parameters } }] });
  const call = answer.choices[0].message.tool_calls?.[0];
  if (answer.choices[0].finish_reason === "tool_calls") assert.ok(JSON.parse(call.function.arguments).n > 0);
}
await strictTool();

for (const [name, [schema, keyword, place]] of Object.entries(REFUSED)) {
  const parameters = schema;
  const calls = [() => ask(schema, 0), () => client.chat.completions.create({ model, max_tokens: 8, messages: [{ role: "user", content: "x" }],
    tools: [{ type: "function", function: { name: "lookup", strict: true, parameters } }] })];
  for (const [at, call] of calls.entries()) {
    const error = await call().then(() => null, (error) => error);
    if (error?.status !== 400 || !error.message.includes(keyword) || !error.message.includes(`"${place}"`)
        || at === 1 && !error.message.includes("lookup")) failures.push(`${name}: ${error?.message}`);
  }
}
assert.deepEqual(failures, [], failures.join("\n"));
console.log("all checks passed");
