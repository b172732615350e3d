// Zod's schemas as constraints of mlxd's answers: schemas_zod.mjs BASE_URL MODEL
//
// Each feature of the library gives a value that the library parses, or a 400 that names the keyword and the place.
import assert from "node:assert/strict";
import { load } from "./packages.mjs";

const { OpenAI } = load("openai");
const { z } = load("zod");
const [base, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base, apiKey: "none", timeout: 240_000, maxRetries: 0 });

const digit = z.int().min(0).max(9);
const Category = z.object({
  name: z.string().max(4),
  get children() {
    return z.array(Category).max(1);
  },
});
const features = {
  email: z.email(),
  uuid: z.uuid(),
  uuidv4: z.uuidv4(),
  uuidv7: z.uuidv7(),
  guid: z.guid(),
  url: z.url(),
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
  hostname: z.hostname().max(20),
  date: z.iso.date(),
  time: z.iso.time(),
  time_precision: z.iso.time({ precision: 3 }),
  datetime: z.iso.datetime(),
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
  length: z.string().length(3),
  template: z.templateLiteral(["v", digit, "-", z.enum(["x", "y"])]),
  string_boolean: z.stringbool(),
  literal: z.literal("exact"),
  literals: z.literal(["a", 2, true, null]),
  enumeration: z.enum(["red", "green"]),
  boolean: z.boolean(),
  none: z.null(),
  integer: z.int(),
  int32: z.int32(),
  uint32: z.uint32(),
  float32: z.float32(),
  float64: z.float64(),
  number: z.number(),
  positive: z.number().positive(),
  open_interval: z.number().gt(0).lt(1),
  multiple: z.number().multipleOf(5).min(0).max(100),
  nullable: z.string().max(6).nullable(),
  list: z.array(digit).min(1).max(3),
  tuple: z.tuple([z.boolean(), digit]),
  tuple_rest: z.tuple([z.boolean()], digit),
  object: z.object({ a: z.boolean(), b: z.literal("x").optional() }),
  strict_object: z.strictObject({ a: z.boolean() }),
  loose_object: z.looseObject({ a: z.boolean() }),
  with_rest: z.object({ a: z.boolean() }).catchall(digit),
  extended: z.object({ a: z.boolean() }).extend({ b: digit }),
  partial: z.object({ a: z.boolean(), b: digit }).partial(),
  record: z.record(z.string().max(3), z.boolean()),
  record_enumerated: z.record(z.enum(["a", "b"]), z.boolean()),
  record_partial: z.partialRecord(z.enum(["a", "b"]), z.boolean()),
  union: z.union([z.boolean(), digit, z.literal("x")]),
  discriminated: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("cat"), lives: digit }),
    z.object({ kind: z.literal("dog"), age: digit }),
  ]),
  intersection: z.intersection(z.object({ a: z.boolean() }), z.object({ b: digit })),
  recursive: Category,
  described: z.object({ a: z.boolean().describe("Whether it is so").meta({ title: "A", examples: [true] }) }),
  defaulted: z.object({ a: z.boolean().default(true), b: digit.prefault(3) }),
  caught: z.object({ a: z.boolean().catch(false) }),
  branded: z.object({ a: digit.brand("Age") }),
  readonly: z.array(digit).max(2).readonly(),
  unknown: z.object({ a: z.boolean(), rest: z.unknown().optional() }),
};
// The library checks more than its schema says: that a text is one of "yes", "no" and the like.
const beyondTheSchema = ["string_boolean"];
// Constraints that no answer can be held to: the message names the keyword and the place.
const refused = {
  look_around: [z.object({ code: z.string().regex(/^(?=a)b/) }), "pattern", "code"],
};

async function ask(schema, seed) {
  const answer = await client.chat.completions.create({
    model, seed, temperature: 1, max_tokens: 80,
    messages: [{ role: "user", content: "Give an example value, as short as you can." }],
    response_format: { type: "json_schema", json_schema: { name: "value", strict: true, schema } },
  });
  return answer.choices[0];
}

const failures = [];
let whole = 0;

async function check([name, kind], at) {
  for (const io of ["output", "input"]) {
    const schema = z.toJSONSchema(kind, { io });
    try {
      let choice = await ask(schema, at);
      for (let again = 1; again < 3 && choice.finish_reason === "length"; again++) choice = await ask(schema, at + 1000 * again);
      if (choice.finish_reason === "length") {
        console.log(`${name}: cut off, ${choice.message.content.slice(0, 60)}`);
        continue;
      }
      whole += 1;
      const parsed = kind.safeParse(JSON.parse(choice.message.content));
      if (!parsed.success && !beyondTheSchema.includes(name)) {
        failures.push(`${name}, ${io}: ${choice.message.content} for ${JSON.stringify(schema)}: ${parsed.error}`);
      }
    } catch (error) {
      failures.push(`${name}, ${io}: ${error} for ${JSON.stringify(schema)}`);
    }
    if (JSON.stringify(schema) === JSON.stringify(z.toJSONSchema(kind, { io: "input" }))) break;
  }
}

const queue = Object.entries(features).entries();
await Promise.all(Array.from({ length: 4 }, async () => {
  for (const [at, feature] of queue) await check(feature, at);
}));

for (const [name, [kind, keyword, place]] of Object.entries(refused)) {
  const error = await ask(z.toJSONSchema(kind), 0).then(() => null, (error) => error);
  if (error?.status !== 400 || !error.message.includes(keyword) || !error.message.includes(`"${place}"`)) {
    failures.push(`${name}: ${error}`);
  }
}
assert.deepEqual(failures, []);
assert.ok(whole > Object.keys(features).length * 0.8, `only ${whole} answers were whole`);
console.log("all checks passed");
