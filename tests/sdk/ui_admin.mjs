// The pages for operators in a real browser. Arguments: the server's address, a model, the browser's program, the name of a case.
// `cost` and `rows` answer in the server's place; the others are over a real server.
import { readFile, writeFile } from "node:fs/promises";
import { check, inspect, run, until } from "./ui_page.mjs";

const [base, model, program, name] = process.argv.slice(2);

/** Settings are refused, written, in force, and in conflict with other changes. */
async function changeSettings(page) {
  const path = process.argv[6];
  const body = page.getByLabel("Seconds for each further part of a request’s body");
  const save = page.getByRole("button", { name: "Save" });
  const shade = () => save.evaluate((one) => getComputedStyle(one).backgroundColor);
  const before = await shade();
  await save.hover();
  check((await shade()) === before, "the button's text cannot be read under the mouse");
  check(await page.getByLabel("Port", { exact: true }).isDisabled(), "the flag --port beats the file");
  await page.getByText("Set by --port").waitFor();
  await body.fill("9");
  await page.getByLabel("Memory for all models").fill("much");
  await save.click();
  await page.getByRole("alert").filter({ hasText: "no size of memory" }).waitFor();
  check((await page.getByLabel("Memory for all models").getAttribute("aria-invalid")) === "true", "the field is not marked");
  check((await body.inputValue()) === "9", "the form forgot what was typed");
  await page.getByLabel("Memory for all models").fill("3GiB");
  await save.press("Enter");
  await page.getByText("Saved, and in force.").waitFor();
  const text = await readFile(path, "utf8");
  check(text.startsWith("# Mine.\n") && text.includes("body_seconds = 9\n") && text.includes('memory = "3GiB"\n'), text);
  const pool = await (await fetch(`${base}/admin/v1/pool`)).json();
  check(pool.budget_bytes === 3 * 2 ** 30, `the budget is ${pool.budget_bytes}`);
  // What deletes something asks first.
  await page.getByLabel("Days that the request log is kept").fill("31");
  await save.click();
  await page.getByRole("dialog").getByText("for good: request_days").waitFor();
  await inspect(page, "the question before a deletion");
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  // Somebody else has changed the file meanwhile. What was typed stays, the rest is read again.
  await writeFile(path, text.replace("3GiB", "2GiB"));
  await page.getByLabel("Days that the request log is kept").fill("400");
  await save.click();
  await page.getByRole("alert").filter({ hasText: "was changed elsewhere" }).waitFor();
  check((await page.getByLabel("Memory for all models").inputValue()) === "2GiB", "the file was not read again");
  await save.click();
  await page.getByText("Saved, and in force.").waitFor();
  const last = await readFile(path, "utf8");
  check(last.includes("2GiB") && last.includes("request_days = 400"), last);
}

const cases = {
  /** The model of a backend is marked, loaded, set and unloaded. It is no file, so it cannot be deleted. */
  async external({ open }) {
    const page = await open("/#/models");
    const card = page.locator("article").filter({ hasText: "lm/toy" });
    await card.getByText("external: the program of the backend lm").waitFor();
    check((await card.getByRole("button", { name: /Delete/ }).count()) === 0, "it can be deleted");
    await card.getByRole("button", { name: "Load" }).click();
    await card.getByText("ready").waitFor();
    await card.getByRole("button", { name: "Settings" }).click();
    await page.getByText("under [backends.lm] in config.toml").waitFor();
    for (const absent of ["Aliases", "Requests at once", "Format of calls"]) {
      check((await page.getByLabel(absent).count()) === 0, `${absent} has no effect on it`);
    }
    await page.getByLabel("Idle seconds before unloading").fill("600");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved").waitFor();
    await page.getByRole("button", { name: "Close" }).click();
    await card.getByRole("button", { name: "Restart" }).click();
    await card.getByText("ready").waitFor();
    await card.getByRole("button", { name: "Unload" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Unload" }).click();
    await card.getByText("not loaded").waitFor();
    await inspect(page, "the model of a backend");
  },

  /** The lines of all processes, filtered, followed, and kept as a file. */
  async logs({ open }) {
    const page = await open("/#/logs");
    const lines = page.getByRole("region", { name: "Logs" }).getByRole("listitem");
    await lines.filter({ hasText: "mlxd is listening" }).waitFor();
    const loaded = await fetch(`${base}/admin/v1/models/${model}/load`, { method: "POST" });
    check(loaded.ok, await loaded.text());
    await lines.filter({ hasText: "a worker changes" }).filter({ hasText: "to=Ready" }).waitFor();
    // One process, whose name is the model's.
    await page.getByLabel("Process").selectOption(model);
    const own = lines.filter({ hasText: "folder=" });
    await own.waitFor();
    check((await lines.filter({ hasText: "supervisor" }).count()) === 0, "another process is shown");
    await page.getByLabel("Text", { exact: true }).fill("FOLDER=");
    await until("one line is left", async () => (await lines.count()) === 1);
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
    const text = await readFile(await file.path(), "utf8");
    check(text.includes(`INFO [${model}] `) && text.split("\n").length === 2, text);
    await page.getByLabel("At least").selectOption("ERROR");
    await page.getByText("Nothing matches.").waitFor();
    await page.getByLabel("At least").selectOption("INFO");
    await page.getByLabel("Text", { exact: true }).fill("");
    await page.getByLabel("Process").selectOption("");
    for (const [width, height, colorScheme] of [[1024, 768, "dark"], [2560, 1440, "light"], [360, 640, "light"]]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await inspect(page, `logs at ${width}`);
    }
    // Who scrolls up reads: the page follows again when it is told to.
    const region = page.getByRole("region", { name: "Logs" });
    const follow = page.getByLabel("Follow");
    await until("it is at the end", () => region.evaluate((one) => one.scrollTop > 0));
    await region.evaluate((one) => (one.scrollTop = 0));
    await until("it follows no longer", async () => !(await follow.isChecked()));
    const before = await lines.count();
    await fetch(`${base}/admin/v1/models/${model}/unload`, { method: "POST" });
    await page.waitForTimeout(1500);
    check((await lines.count()) === before, "lines came although it does not follow");
    await follow.check();
    await until("the lines come", async () => (await lines.count()) > before);
    await until("it is at the end again", () =>
      region.evaluate((one) => one.scrollHeight - one.scrollTop - one.clientHeight < 60));
  },

  /** A server without a model says what to do first. */
  async first({ open }) {
    const page = await open();
    await page.getByText("There is no model here yet.").waitFor();
    await page.getByText("of memory together").waitFor();
    for (const [width, height, colorScheme] of [[1024, 768, "dark"], [360, 640, "light"]]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await inspect(page, `the first steps at ${width}`);
    }
    await page.getByRole("link", { name: "Search", exact: true }).click();
    await page.getByLabel("Words of the name").waitFor();
  },

  /** What this browser keeps, and the settings of the server. The last argument is its config.toml. */
  async settings({ open }) {
    const page = await open("/#/settings");
    const shade = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: "light" });
    await page.getByText("body_seconds").waitFor();
    check((await page.getByLabel("Web pages that may read answers").inputValue()) === "http://a.test", "the setting is not shown");
    const light = await shade();
    await page.getByLabel("Appearance").selectOption("dark");
    check((await shade()) !== light, "it is as light as before");
    await page.reload();
    await page.getByText("body_seconds").waitFor();
    check((await shade()) !== light, "the choice is lost");
    for (const width of [1024, 2560, 360]) {
      await page.setViewportSize({ width, height: 700 });
      await inspect(page, `settings at ${width}`);
    }
    await changeSettings(page);
    // On a small window the language is here only.
    await page.getByLabel("Language").last().selectOption("de");
    await page.getByRole("heading", { name: "Einstellungen" }).waitFor();
    await page.getByLabel("Erscheinungsbild").selectOption("system");
    check((await shade()) === light, "it is still dark");
  },

  /** Ten thousand requests are read as somebody scrolls, and a few of them are drawn. */
  async rows({ open, context }) {
    const record = (place) => ({ id: `r${place}`, started_at_ms: Date.now() - place * 1000, endpoint: "/v1/chat/completions", model: `model-${place}`,
      used_model: null, backend: "local", route: null, fallback_reason: null, attempts: 1, recoveries: 0, streamed: true, status: "finished",
      error: null, prompt_tokens: 100, cached_tokens: 25, completion_tokens: 10, reasoning_tokens: 1, first_token_ms: 100, total_ms: 1000,
      key_id: null, key_name: null, sender: null, session: null, notes: null, cost_usd: null, price_since: null });
    const tails = [];
    await context.route(/\/admin\/v1\/requests(\/tail)?\?/, (route) => {
      const url = new URL(route.request().url());
      if (url.pathname.endsWith("/tail")) {
        // A server that ends after one request, as one that is replaced does.
        tails.push(route.request().headers()["last-event-id"] ?? null);
        const row = { ...record(0), id: `new${tails.length}`, model: `tail-${tails.length}` };
        return route.fulfill({ contentType: "text/event-stream", body: `event: request\nid: ${tails.length}\ndata: ${JSON.stringify(row)}\n\n` });
      }
      const [from, limit] = [Number(url.searchParams.get("after") ?? 0), Number(url.searchParams.get("limit"))];
      const requests = Array.from({ length: Math.min(limit, 10_600 - from) }, (_, place) => record(from + place));
      return route.fulfill({ json: { requests, next: from + limit < 10_600 ? String(from + limit) : null } });
    });
    const page = await open("/#/activity");
    const table = page.getByRole("region", { name: "Activity" });
    await table.getByTitle("tail-1", { exact: true }).waitFor();
    // A stream that ends is taken up again where it ended, without a word.
    await table.getByTitle("tail-2", { exact: true }).waitFor();
    check(tails[0] === null && tails[1] === "1", JSON.stringify(tails));
    check((await page.getByRole("alert").count()) === 0, "the page complains");
    await page.getByLabel("Live").uncheck();
    await page.getByText("Paused").waitFor();
    await until("ten thousand are there", async () => {
      await table.evaluate((one) => (one.scrollTop = one.scrollHeight));
      return (await table.getByRole("table").getAttribute("aria-rowcount")) === "10001";
    });
    await page.getByText("holds no more than 10,000").waitFor();
    const drawn = await table.getByRole("row").count();
    check(drawn < 60, `${drawn} rows are drawn`);
    const jump = await table.evaluate(async (one) => {
      const start = performance.now();
      for (let step = 0; step < 20; step += 1) {
        one.scrollTop = (one.scrollHeight * step) / 20;
        await new Promise(requestAnimationFrame);
      }
      return performance.now() - start;
    });
    check(jump < 4000, `twenty jumps take ${jump} ms`);
    const middle = Number(await table.getByRole("row").nth(20).getAttribute("aria-rowindex"));
    check(middle > 8000, `row ${middle} after a jump to the end`);
    await inspect(page, "ten thousand requests");
  },

  /** The cost of a request to a provider, where it is known. */
  async cost({ open, context }) {
    const record = (id, more) => ({ id, started_at_ms: Date.now(), endpoint: "/v1/chat/completions", model: "far/m", used_model: "m",
      backend: "far", route: null, fallback_reason: null, attempts: 1, recoveries: 0, streamed: true, status: "finished", error: null,
      prompt_tokens: 100, cached_tokens: 25, completion_tokens: 10, reasoning_tokens: 1, first_token_ms: 100, total_ms: 1000,
      key_id: null, key_name: null, sender: null, session: null, notes: null, cost_usd: null, price_since: null, ...more });
    const list = [record("priced", { cost_usd: 0.0123 }), record("unpriced")];
    await context.route(/\/admin\/v1\/requests(\/|\?)/, (route) => {
      const one = list.find(({ id }) => route.request().url().endsWith(`/${id}`));
      return route.fulfill({ json: one ? { ...one, trace: null } : { requests: list, next: null } });
    });
    const page = await open("/#/activity/priced");
    const dialog = page.getByRole("dialog");
    await dialog.getByText("$0.0123").waitFor();
    await inspect(page, "a request with its cost");
    await page.goto(`${base}/#/activity/unpriced`);
    await dialog.getByText("unpriced").waitFor();
    check((await dialog.getByText("Cost", { exact: true }).count()) === 0, "a cost that nobody knows");
  },
};

await run(cases, name, base, program);
