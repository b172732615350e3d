// Zod's schemas as constraints of mlxd's answers: schemas_zod.mjs BASE_URL MODEL, or --dump
//
// Each feature of the library gives a value that the library parses, or a 400 that names the keyword and the place.
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const { OpenAI } = load("openai");
const { z } = load("zod");
const [base, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base ?? "", apiKey: "none", timeout: 240_000, maxRetries: 0 });

const digit = z.int().min(0).max(9);
const Category = z.object({
  name: z.string().max(4),
  get children() {
    return z.array(Category).max(1);
  },
});
const Json = z.json();
const Employee = z.object({
  name: z.string().max(4),
  get boss() {
    return z.nullable(Employee);
  },
});
const Expression = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("number"), value: digit }),
  z.object({
    kind: z.literal("minus"),
    get of() {
      return Expression.meta({ description: "What is negated." });
    },
  }),
]);
const Level = { Low: 1, High: 2 };
const features = {
  email: z.email().max(16),
  uuid: z.uuid(),
  uuidv4: z.uuidv4(),
  uuidv6: z.uuidv6(),
  uuidv7: z.uuidv7(),
  guid: z.guid(),
  uuid_method: z.string().uuid(),
  url: z.url().max(24),
  http_url: z.httpUrl().max(24),
  url_of_a_host: z.url({ protocol: /^https$/, hostname: /^example\.com$/ }).max(24),
  email_html5: z.email({ pattern: z.regexes.html5Email }).max(16),
  email_rfc5322: z.email({ pattern: z.regexes.rfc5322Email }).max(16),
  email_unicode: z.email({ pattern: z.regexes.unicodeEmail }).max(16),
  emoji: z.emoji(),
  nanoid: z.nanoid(),
  cuid: z.cuid().max(12),
  cuid2: z.cuid2().max(12),
  ulid: z.ulid(),
  xid: z.xid(),
  ksuid: z.ksuid(),
  ipv4: z.ipv4(),
  ipv6: z.ipv6(),
  cidrv4: z.cidrv4(),
  cidrv6: z.cidrv6(),
  mac: z.mac(),
  base64: z.base64().max(12),
  base64url: z.base64url().max(12),
  e164: z.e164(),
  hex: z.hex().max(12),
  hash: z.hash("md5"),
  hash_base64: z.hash("sha256", { enc: "base64" }),
  jwt: z.jwt().max(20),
  currency_code: z.currencyCode(),
  iban: z.iban(),
  credit_card: z.creditCard(),
  mac_of_dashes: z.mac({ delimiter: "-" }),
  custom_format: z.stringFormat("short-code", /^[a-z]{2}\d$/),
  hostname: z.hostname().max(20),
  date: z.iso.date(),
  time: z.iso.time(),
  time_precision: z.iso.time({ precision: 3 }),
  time_of_minutes: z.iso.time({ precision: -1 }),
  datetime: z.iso.datetime(),
  datetime_precision: z.iso.datetime({ precision: 3 }),
  datetime_of_minutes: z.iso.datetime({ precision: -1, offset: true }),
  datetime_offset: z.iso.datetime({ offset: true }),
  datetime_local: z.iso.datetime({ local: true }),
  duration: z.iso.duration(),
  lowercase: z.string().max(6).lowercase(),
  uppercase: z.string().max(6).uppercase(),
  starts_with: z.string().max(6).startsWith("ab"),
  ends_with: z.string().max(6).endsWith("yz"),
  includes: z.string().max(6).includes("mn"),
  two_patterns: z.string().max(9).startsWith("ab").endsWith("yz"),
  regex: z.string().regex(/^[A-Z]{2}-\d{3}$/),
  regex_of_any_case: z.string().regex(/^ab\d$/i),
  regex_unanchored: z.string().max(8).regex(/\d/),
  length: z.string().length(3),
  nonempty: z.string().nonempty().max(4),
  trimmed: z.string().max(6).trim().toLowerCase(),
  template: z.templateLiteral(["v", digit, "-", z.enum(["x", "y"])]),
  template_of_numbers: z.templateLiteral([z.number(), z.enum(["px", "%"])]),
  template_optional: z.templateLiteral(["a", z.literal("b").optional(), z.null()]),
  template_of_formats: z.templateLiteral(["id:", z.uuid(), "@", z.string().max(3)]),
  string_boolean: z.stringbool(),
  literal: z.literal("exact"),
  literals: z.literal(["a", 2, true, null]),
  literal_number: z.literal(5),
  literal_null: z.literal(null),
  enumeration: z.enum(["red", "green"]),
  enumeration_of_numbers: z.enum(Level),
  enumeration_narrowed: z.enum(["red", "green", "blue"]).exclude(["blue"]),
  keys: z.object({ a: z.boolean(), b: z.boolean() }).keyof(),
  boolean: z.boolean(),
  none: z.null(),
  integer: z.int(),
  integer_by_check: z.number().int().min(-3).max(3),
  integer_multiple: z.int().multipleOf(3).multipleOf(2).min(0).max(60),
  int32: z.int32(),
  uint32: z.uint32(),
  float32: z.float32(),
  float64: z.float64(),
  number: z.number(),
  positive: z.number().positive(),
  open_interval: z.number().gt(0).lt(1),
  nonnegative: z.number().nonnegative().max(1000),
  negative: z.number().negative().min(-1e-3),
  large: z.number().min(1e20).max(1e21),
  multiple: z.number().multipleOf(5).min(0).max(100),
  multiple_of_a_tenth: z.number().multipleOf(0.5).min(0).max(10),
  coerced: z.coerce.number().min(0).max(9),
  nullable: z.string().max(6).nullable(),
  nullish: z.object({ a: digit.nullish(), b: z.enum(["x"]).nullable() }),
  nullable_bare: z.boolean().nullable(),
  nullable_object: z.object({ a: z.boolean() }).nullable(),
  optional: z.object({ a: digit.optional(), b: z.boolean().exactOptional() }),
  nonoptional: z.object({ a: z.boolean().optional().nonoptional() }),
  list: z.array(digit).min(1).max(3),
  list_length: z.array(z.boolean()).length(2),
  list_of_lists: z.array(z.array(digit).max(2)).max(2),
  tuple: z.tuple([z.boolean(), digit]),
  tuple_rest: z.tuple([z.boolean()], digit),
  tuple_empty: z.tuple([]),
  tuple_optional: z.tuple([z.boolean(), digit.optional()]),
  object: z.object({ a: z.boolean(), b: z.literal("x").optional() }),
  strict_object: z.strictObject({ a: z.boolean() }),
  loose_object: z.looseObject({ a: z.boolean() }),
  with_rest: z.object({ a: z.boolean() }).catchall(digit),
  extended: z.object({ a: z.boolean() }).extend({ b: digit }),
  object_empty: z.strictObject({}),
  object_names: z.strictObject({ "a b": z.boolean(), "ü\"\\": digit, $ref: z.boolean(), properties: digit }),
  picked: z.object({ a: z.boolean(), b: digit }).pick({ a: true }).required(),
  never: z.object({ a: z.boolean(), b: z.never().optional() }),
  partial: z.object({ a: z.boolean(), b: digit }).partial(),
  record: z.record(z.string().max(3), z.boolean()),
  record_enumerated: z.record(z.enum(["a", "b"]), z.boolean()),
  record_literal: z.record(z.literal("only"), digit),
  record_pattern: z.record(z.string().regex(/^k\d$/), z.boolean()),
  record_template: z.record(z.templateLiteral(["data-", z.enum(["a", "b"])]), z.boolean()),
  record_numbers: z.record(z.number(), z.boolean()),
  record_integers: z.record(z.int().min(0), z.boolean()),
  record_loose: z.looseRecord(z.string().regex(/^k\d$/), z.boolean()),
  record_uuid: z.record(z.uuid(), z.boolean()),
  record_union: z.record(z.union([z.literal("a"), z.literal("b")]), digit),
  record_partial: z.partialRecord(z.enum(["a", "b"]), z.boolean()),
  union: z.union([z.boolean(), digit, z.literal("x")]),
  discriminated: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("cat"), lives: digit }),
    z.object({ kind: z.literal("dog"), age: digit }),
  ]),
  discriminated_by_number: z.discriminatedUnion("code", [
    z.object({ code: z.literal(200), a: z.boolean() }),
    z.object({ code: z.literal([400, 500]) }),
  ]),
  discriminated_by_enumeration: z.discriminatedUnion("kind", [
    z.object({ kind: z.enum(["cat", "lion"]) }),
    z.object({ kind: z.enum(["dog"]) }),
  ]),
  discriminated_registered: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("cat") }).meta({ id: "Cat" }),
    z.object({ kind: z.literal("dog") }).meta({ id: "Dog", deprecated: true }),
  ]),
  discriminated_recursive: Expression,
  discriminated_nested: z.discriminatedUnion("status", [
    z.object({ status: z.literal("ok"), data: z.boolean() }),
    z.discriminatedUnion("code", [
      z.object({ status: z.literal("failed"), code: z.literal(400) }),
      z.object({ status: z.literal("failed"), code: z.literal(500) }),
    ]),
  ]),
  exclusive: z.xor([z.object({ a: z.boolean() }).strict(), z.object({ b: digit }).strict()]),
  union_of_objects: z.union([z.object({ a: z.boolean() }), z.object({ b: z.enum(["x"]) })]),
  intersection_of_unions: z.object({ a: z.boolean() }).and(z.union([z.object({ b: digit }), z.object({ c: digit })])),
  intersection_of_records: z.intersection(z.object({ a: digit }), z.record(z.string().max(2), digit)),
  intersection: z.intersection(z.object({ a: z.boolean() }), z.object({ b: digit })),
  recursive: Category,
  recursive_nullable: Employee,
  recursive_inside: z.object({ root: Category, b: z.boolean() }),
  lazy: z.lazy(() => z.union([z.boolean(), z.array(z.lazy(() => digit)).max(1)])),
  registered: z.object({ a: digit.meta({ id: "Digit" }), b: z.boolean().meta({ id: "Some/Flag" }) }),
  json: z.object({ a: Json.optional(), b: z.boolean() }),
  described: z.object({ a: z.boolean().describe("Whether it is so").meta({ title: "A", examples: [true] }) }),
  defaulted: z.object({ a: z.boolean().default(true), b: digit.prefault(3) }),
  caught: z.object({ a: z.boolean().catch(false) }),
  branded: z.object({ a: digit.brand("Age") }),
  readonly: z.array(digit).max(2).readonly(),
  transformed: z.string().max(4).transform((text) => text.length),
  piped: z.string().max(4).transform((text) => text.length).pipe(digit),
  preprocessed: z.preprocess((value) => value, digit),
  codec: z.codec(z.iso.datetime(), z.date(), { decode: (text) => new Date(text), encode: (date) => date.toISOString() }),
  codec_number: z.codec(z.string().regex(/^\d{1,3}$/), z.int(), { decode: Number, encode: String }),
  refined: z.object({ a: digit }).refine(() => true).superRefine(() => {}),
  checked: z.string().check(z.minLength(1), z.maxLength(3)),
  any: z.object({ a: z.boolean(), rest: z.any() }),
  unknown: z.object({ a: z.boolean(), rest: z.unknown().optional() }),
};
// What the library gives is no value that it takes: only the schema of its input counts.
const inputOnly = ["string_boolean", "transformed", "piped", "preprocessed", "codec", "codec_number"];
// The library checks more than its schema says: a text is one of "yes", "no" and the like, digits of a check are right.
const beyondTheSchema = ["string_boolean", "iban", "credit_card", "jwt", "http_url", "url_of_a_host"];
// These are also written for older readers of schemas. For OpenAPI the library writes tuples as lists of any order.
const targets = ["draft-7", "draft-4", "openapi-3.0"];
const inOlderDraftsOnly = ["tuple", "tuple_rest"];
const inOlderForms = [
  "literal", "literals", "none", "literal_null", "enumeration", "open_interval", "positive", "multiple", "nullable",
  "nullish", "nullable_object", "tuple", "tuple_rest", "list", "two_patterns", "recursive", "recursive_nullable",
  "discriminated", "registered",
];
// Constraints that no answer can be held to: the message names the keyword and the place.
const refused = {
  look_around: [z.object({ code: z.string().regex(/^(?=a)b/) }), "pattern", "code"],
};

async function ask(schema, seed) {
  const answer = await client.chat.completions.create({
    model, seed, temperature: 1, max_tokens: 60,
    messages: [{ role: "user", content: "Give an example value, as short as you can." }],
    response_format: { type: "json_schema", json_schema: { name: "value", strict: true, schema } },
  });
  return answer.choices[0];
}

const failures = [];
let whole = 0;

// The different schemas that the library writes for a feature.
function schemas(name, kind) {
  const ios = inputOnly.includes(name) ? ["input"] : ["output", "input"];
  const options = ios.map((io) => ({ io }));
  if (inOlderForms.includes(name)) {
    const known = targets.filter((target) => target !== "openapi-3.0" || !inOlderDraftsOnly.includes(name));
    options.push(...known.map((target) => ({ io: "input", target })), { reused: "ref" });
  }
  const different = new Map();
  for (const option of options) {
    const { $schema, ...schema } = z.toJSONSchema(kind, option);
    // What is open in one and closed in the other differs in nothing else.
    const key = JSON.stringify(schema).replaceAll(',"additionalProperties":false', "");
    if (!different.has(key)) different.set(key, schema);
  }
  return [...different.values()];
}

async function check(name, kind, schema, seed) {
  try {
    let choice = await ask(schema, seed);
    for (let again = 1; again < 2 && choice.finish_reason === "length"; again++) choice = await ask(schema, seed + 1000 * again);
    if (choice.finish_reason === "length") {
      console.log(`${name}: cut off, ${choice.message.content.slice(0, 60)}`);
      return;
    }
    whole += 1;
    const parsed = kind.safeParse(JSON.parse(choice.message.content));
    if (!parsed.success && !beyondTheSchema.includes(name)) {
      failures.push(`${name}: ${choice.message.content} for ${JSON.stringify(schema)}: ${parsed.error}`);
    }
  } catch (error) {
    failures.push(`${name}: ${error} for ${JSON.stringify(schema)}`);
  }
}

const cases = Object.entries(features).flatMap(([name, kind]) => schemas(name, kind).map((schema) => [name, kind, schema]));
if (base === "--dump") {
  for (const [name, , schema] of cases) console.log(JSON.stringify([name, schema]));
  process.exit();
}
const queue = cases.entries();
await Promise.all(Array.from({ length: 12 }, async () => {
  for (const [seed, [name, kind, schema]] of queue) await check(name, kind, schema, seed);
}));

for (const [name, [kind, keyword, place]] of Object.entries(refused)) {
  const error = await ask(z.toJSONSchema(kind), 0).then(() => null, (error) => error);
  if (error?.status !== 400 || !error.message.includes(keyword) || !error.message.includes(`"${place}"`)) {
    failures.push(`${name}: ${error}`);
  }
}
assert.deepEqual(failures, []);
assert.ok(whole > cases.length * 0.8, `only ${whole} of ${cases.length} answers were whole`);
console.log("all checks passed");
