// The web UI's pure functions, without a browser and without a server.
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";

const place = (path) => new URL(`../../${path}`, import.meta.url);
const { default: ts } = await import(place("ui/node_modules/typescript/lib/typescript.js"));

/** A module of the page that imports nothing but types. */
async function load(name) {
  const source = readFileSync(place(`ui/src/lib/${name}.ts`), "utf8");
  const compilerOptions = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 };
  const { outputText } = ts.transpileModule(source, { compilerOptions });
  return import(`data:text/javascript,${encodeURIComponent(outputText)}`);
}

const bench = await load("bench");
const rows = await load("requestrows");
const settings = await load("serversettings");
const routing = await load("routing");

// The figures are those of `mlxd bench`: cli/src/bench/measure.rs has the same example.
const example = JSON.parse(readFileSync(place("cli/src/bench/example.json"), "utf8"));
assert.deepEqual(bench.figures(example.context, example.samples, example.memory), example.row);
assert.equal(bench.words(50, "first").split(" ").length, 50);
assert.deepEqual([bench.wordsFor(1000, 200), bench.wordsFor(1000, 400), bench.wordsFor(1, 4000)], [1000, 500, 1]);
assert.deepEqual(bench.numbers("128, 1024;128", 32, 2000), [128, 1024]);
assert.deepEqual(["", "31", "3000", "1.5", "many"].map((text) => bench.numbers(text, 32, 2000)), [null, null, null, null, null]);
assert.deepEqual([bench.change(100, 104.9), bench.change(100, 50), bench.change(30, 36), bench.change(undefined, 5)], ["", "-50 %", "+20 %", ""]);

// Rows that are drawn: those that are seen, and some more.
assert.deepEqual(rows.drawn(0, 640, 64, 10_000), { from: 0, to: 22 });
assert.deepEqual(rows.drawn(320_000, 640, 64, 10_000), { from: 4988, to: 5022 });
assert.deepEqual(rows.drawn(639_360, 640, 64, 10_000), { from: 9978, to: 10_000 });
assert.deepEqual([rows.drawn(-50, 640, 64, 3), rows.drawn(999_999, 640, 64, 3), rows.drawn(0, 640, 64, 0)],
  [{ from: 0, to: 3 }, { from: 2, to: 3 }, { from: 0, to: 0 }]);
const row = (id) => ({ id });
const ids = (list) => list.map(({ id }) => id).join("");
assert.equal(ids(rows.merge([row("c"), row("d"), row("b"), row("d")], [row("b"), row("a")])), "dcba");
const known = [row("a")];
assert.equal(rows.merge([row("a")], known), known);
assert.equal(rows.merge([row("new")], Array.from({ length: rows.MOST }, (_, at) => row(at))).length, rows.MOST);

// The form of settings sends what differs, and says what a change deletes.
const setting = (name, value, more) => ({ name, value, default: null, source: "file", place: null, effect: "at_once", is_pending: false, ...more });
const list = [
  setting("body_seconds", 30, { default: 30, source: "default" }), setting("request_days", 365, { default: 90 }), setting("memory", "1GiB"),
  setting("cors_origins", ["http://a.test"], { default: [] }), setting("auto_download", false, { default: false, source: "default" }),
  setting("port", 1, { source: "flag", place: "--port" }),
];
const draft = settings.draftOf(list);
assert.deepEqual(draft, { body_seconds: "", request_days: 365, memory: "1GiB", cors_origins: "http://a.test", auto_download: false, port: 1 });
assert.deepEqual(settings.changes(list, draft), {});
const typed = { ...draft, body_seconds: 7, request_days: null, memory: " ", cors_origins: "http://a.test,, localhost ", auto_download: true, port: 2 };
assert.deepEqual(settings.changes(list, typed),
  { body_seconds: 7, request_days: null, memory: null, cors_origins: ["http://a.test", "localhost"], auto_download: true });
assert.deepEqual(settings.losses(list, settings.changes(list, typed)), ["request_days"], "90 days are fewer than 365");
assert.deepEqual(settings.losses(list, { request_days: 400 }), []);
const after = list.map((one) => (one.name === "memory" ? { ...one, value: "2GiB" } : one));
const mine = settings.rebase({ ...draft, body_seconds: 9 }, list, after);
assert.deepEqual([mine.memory, mine.body_seconds], ["2GiB", 9], "what nobody has touched follows the file");

// The form of a route gives back the route, judged conditions included, and leaves out what belongs to an empty condition.
const judged = {
  model: "auto", time: "22:00-06:00", targets: ["role:fast", "m"], sentence: "the user is brainstorming", judge: "small",
  similar: { examples: ["what could we do?", "ideas"], at_least: 0.655, model: "vectors" },
};
assert.deepEqual(routing.routeOf(routing.draftOf(judged)), judged);
const form = { ...routing.draftOf(judged), sentence: " ", examples: " one \n\n two", atLeast: null, vectors: "" };
const { similar, ...others } = routing.routeOf(form);
assert.deepEqual(similar, { examples: ["one", "two"], at_least: routing.DEFAULT_NEARNESS });
assert.deepEqual([others.sentence, others.judge], [undefined, undefined]);
assert.equal(routing.routeOf({ ...form, examples: "\n" }).similar, undefined);
console.log("all checks passed");
