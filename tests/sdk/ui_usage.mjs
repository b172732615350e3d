// The page of usage in a real browser. Arguments: the server's address, a model, the browser's program, the name of a case. `sums` and
// `bounds` answer in the server's place, so that every figure is known; `real` counts requests of a real server.
import { readFile } from "node:fs/promises";
import { body, check, inspect, run, until } from "./ui_page.mjs";

const [base, model, program, name] = process.argv.slice(2);
const HOUR = 3_600_000;

/** Noon of the day `ago` days ago: the page opens on the same day unless midnight passes. */
const noon = (ago) => new Date().setHours(12, 0, 0, 0) - ago * 24 * HOUR;
const record = (more) => ({ id: "r", started_at_ms: noon(0), endpoint: "/v1/chat/completions", model: "m", used_model: null, backend: "local",
  route: null, fallback_reason: null, attempts: 1, recoveries: 0, streamed: true, status: "finished", error: null, prompt_tokens: 100,
  cached_tokens: 25, completion_tokens: 10, reasoning_tokens: 1, first_token_ms: 100, total_ms: 1000, key_id: null, key_name: null,
  sender: null, session: null, notes: null, cost_usd: null, price_since: null, ...more });

/** A server with these requests. Returns the queries that it was sent; `state.fails` lets the next one fail. */
async function serve(context, list) {
  const queries = [];
  const state = { fails: false };
  await context.route(/\/admin\/v1\/requests\?/, (route) => {
    const query = new URL(route.request().url()).searchParams;
    queries.push(Object.fromEntries(query));
    if (state.fails) return route.fulfill({ status: 503, json: { status: 503, detail: "the log cannot be read at present" } });
    const since = query.has("since") ? Date.parse(query.get("since")) : 0;
    const [from, limit] = [Number(query.get("after") ?? 0), Number(query.get("limit"))];
    const found = list.filter((one) => one.started_at_ms >= since);
    const next = from + limit < found.length ? String(from + limit) : null;
    return route.fulfill({ json: { requests: found.slice(from, from + limit), next } });
  });
  return { queries, state };
}

const by = (page) => page.getByRole("combobox", { name: "By", exact: true });
const time = (page) => page.getByRole("combobox", { name: "Time", exact: true });
const row = async (page, table, name) => {
  const found = page.getByRole("region", { name: table }).getByRole("row").filter({ has: page.getByRole("rowheader", { name, exact: true }) });
  return (await found.getByRole("cell").allInnerTexts()).map((text) => text.replace(/\s+/g, " ").trim());
};
const same = (found, expected) => check(JSON.stringify(found) === JSON.stringify(expected), `${JSON.stringify(found)}\n${JSON.stringify(expected)}`);

async function csv(page) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export as CSV" }).click()]);
  return [file.suggestedFilename(), await readFile(await file.path(), "utf8")];
}

const cases = {
  async sums({ open, context }) {
    const list = [
      ...Array.from({ length: 100 }, (_, place) => record({ first_token_ms: place + 1, total_ms: (place + 1) * 10 })),
      record({ model: "fast", used_model: "m", key_id: "1", key_name: "laptop", status: "failed", first_token_ms: null }),
      record({ model: "far/m", used_model: "m", backend: "far", key_id: "2", key_name: "laptop", cost_usd: 0.5, started_at_ms: noon(1) + HOUR }),
      record({ model: "=far", backend: "far", status: "cancelled", prompt_tokens: 0, cached_tokens: 0, started_at_ms: noon(40) }),
    ];
    const { queries, state } = await serve(context, list);
    const page = await open("/#/usage");
    await page.getByText("102 requests, back to").waitFor();
    check(queries[0].limit === "500" && Date.parse(queries[0].since) === new Date(noon(6)).setHours(0, 0, 0, 0), JSON.stringify(queries[0]));
    same(await row(page, "Usage by model", "m"),
      ["101", "1", "10,100", "25 %", "1,010", "–", "50 ms", "95 ms", "500 ms", "950 ms"]);
    same(await row(page, "Usage by model", "far/m"), ["1", "0", "100", "25 %", "10", "$0.50", "100 ms", "100 ms", "1.0 s", "1.0 s"]);
    await inspect(page, "the usage");
    await by(page).selectOption("Key");
    check((await page.getByRole("rowheader", { name: "laptop" }).count()) === 2, "two keys of one name are one");
    same((await row(page, "Usage by key", "without a key")).slice(0, 3), ["100", "0", "10,000"]);
    await by(page).selectOption("Day");
    check((await page.getByRole("region", { name: "Usage by day" }).getByRole("rowheader").count()) === 2, "not each day is a row");
    // All of the log, with a request whose name is a formula.
    await time(page).selectOption("all");
    await page.getByText("103 requests, back to").waitFor();
    check(queries.at(-1).since === undefined, "it asks for a part");
    await by(page).selectOption("Provider");
    same((await row(page, "Usage by provider", "far")).slice(0, 6), ["2", "0", "100", "25 %", "20", "$0.50 1 without a price"]);
    await by(page).selectOption("Model");
    const [file, text] = await csv(page);
    check(/^mlxd-usage-by-model-\d{4}-\d\d-\d\d\.csv$/.test(file), file);
    const lines = text.split("\r\n");
    check(lines[0] === "model,requests,failed,cancelled,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,cost_usd,"
      + "requests_without_price,first_token_ms_p50,first_token_ms_p95,first_token_ms_p99,total_ms_p50,total_ms_p95,total_ms_p99", lines[0]);
    check(lines[1] === "m,101,1,0,10100,2525,1010,101,,0,50,95,99,500,950,990", lines[1]);
    check(lines.includes("far/=far,1,0,1,0,0,10,1,,1,,,,,,") && lines.length === 5, text);
    // The map has a row for each day between the first and the last request.
    const map = page.getByRole("region", { name: "Days and hours" });
    check((await map.getByRole("rowheader").count()) === 41, `${await map.getByRole("rowheader").count()} days`);
    const cells = map.getByRole("row").nth(1).getByRole("cell");
    check((await cells.allInnerTexts()).map((one) => one.trim()).join() === [...Array(12).fill(0), 101, ...Array(11).fill(0)].join(), "the hours are wrong");
    await page.getByRole("combobox", { name: "Shade by" }).selectOption("Tokens");
    await page.getByText("The strongest shade stands for 11,110.").waitFor();
    // A failure says so and can be tried again; nothing in a time is said too.
    state.fails = true;
    await time(page).selectOption("today");
    await page.getByRole("alert").filter({ hasText: "the log cannot be read at present" }).waitFor();
    await inspect(page, "a failure");
    state.fails = false;
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByText("101 requests, back to").waitFor();
    list.length = 0;
    await time(page).selectOption("the last 30 days");
    await page.getByText("No request in this time.").waitFor();
    check(await page.getByRole("button", { name: "Export as CSV" }).isDisabled(), "nothing can be exported");
  },

  /** Ten thousand are read at once, more only if somebody asks, and many rows stay usable. */
  async bounds({ open, context }) {
    const list = Array.from({ length: 10_600 }, (_, place) => record({ started_at_ms: noon(0) - place, model: `model-${place % 150}` }));
    const { queries } = await serve(context, list);
    const page = await open("/#/usage");
    await page.getByText("10,000 requests, back to").waitFor();
    await page.getByText("Earlier ones of this time are not counted.").waitFor();
    check(queries.length === 20, `${queries.length} pages`);
    check((await page.getByRole("region", { name: "Usage by model" }).getByRole("rowheader").count()) === 100, "not a hundred rows");
    await page.getByRole("button", { name: "Show more" }).click();
    check((await page.getByRole("region", { name: "Usage by model" }).getByRole("rowheader").count()) === 150, "the others do not come");
    await inspect(page, "many requests");
    await page.getByRole("button", { name: "Read 10,000 more" }).press("Enter");
    await page.getByText("10,600 requests, back to").waitFor();
    check((await page.getByText("are not counted").count()) === 0, "it says that some are missing");
    for (const [width, height, colorScheme] of [[360, 640, "dark"], [1024, 768, "light"], [2560, 1440, "dark"]]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await inspect(page, `the usage at ${width}`);
    }
    await page.getByLabel("Language").selectOption("de");
    await page.getByText("Nutzung nach Modell").or(page.getByRole("heading", { name: "Nutzung" })).first().waitFor();
    await page.getByText("10.600 Anfragen, zurück bis").or(page.getByText("10,600 Anfragen, zurück bis")).waitFor();
  },

  async real({ open }) {
    const question = (text) => ({ method: "POST",
      ...body({ model, max_tokens: 2, messages: [{ role: "user", content: text }] }) });
    for (const text of ["one", "two"]) await (await fetch(`${base}/v1/chat/completions`, question(text))).json();
    const list = async () => (await (await fetch(`${base}/admin/v1/requests`)).json()).requests;
    await until("both are in the log", async () => (await list()).length === 2);
    const prompt = (await list()).reduce((sum, one) => sum + one.prompt_tokens, 0);
    const page = await open("/#/usage");
    const [requests, failed, tokens, , output] = await row(page, "Usage by model", model).then(async (cells) => {
      await page.getByText("2 requests, back to").waitFor();
      return cells.length > 0 ? cells : row(page, "Usage by model", model);
    });
    same([requests, failed, tokens, output], ["2", "0", String(prompt), "4"]);
  },
};

await run(cases, name, base, program);
