// Opens the web UI in a browser that notes what must not happen: a request to another host, a broken policy, an error in a script.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { load } from "./packages.mjs";

const { chromium } = await load("playwright-core");
const axe = readFileSync(join(process.env.MLXD_TEST_NODE, "node_modules/axe-core/axe.min.js"), "utf8");

export const check = (holds, text) => {
  if (!holds) throw new Error(text);
};

/** A browser whose pages are watched. `options` are those of Playwright's contexts. */
export async function launch(base, program, options = {}) {
  const browser = await chromium.launch({
    executablePath: program,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  const context = await browser.newContext({ locale: "en-US", reducedMotion: "reduce", ...options });
  const problems = [];
  context.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(base) && !/^(data|blob):/.test(url)) problems.push(`a request to ${url}`);
  });
  context.on("weberror", (error) => problems.push(`an error: ${error.error().stack}`));
  context.on("console", (message) => {
    // A refused request is written there too; the tests look at what the page says about it.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
      problems.push(`in the console: ${message.text()}`);
    }
  });
  return {
    context,
    open: async (path = "/") => {
      const page = await context.newPage();
      await page.goto(base + path);
      return page;
    },
    end: async () => {
      await browser.close();
      check(problems.length === 0, problems.join("\n"));
    },
  };
}

/** Fails if axe finds a violation, or the page can be scrolled sideways. */
export async function inspect(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.map((node) => node.html).join("\n  ")}`);
  check(found.length === 0, `${where}:\n${found.join("\n")}`);
  const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(wide <= window, `${where} is ${wide} wide in a window of ${window}`);
}

/** Sends a question and waits until its answer has some text. */
export async function ask(page, text) {
  const answers = page.locator("article.assistant");
  const before = await answers.count();
  await page.getByLabel("Ask something").fill(text);
  await page.keyboard.press("Enter");
  await page.waitForFunction((count) => document.querySelectorAll("article.assistant .text").length > count, before);
}

/** Answers become short and always the same. */
export async function brief(page) {
  await page.getByRole("button", { name: "Parameters" }).click();
  await page.getByLabel("Most tokens").fill("24");
  await page.getByLabel("Temperature").fill("0");
  await page.getByRole("button", { name: "Done" }).click();
}

/** Waits until no answer is being written. */
export const settled = (page) => page.waitForFunction(() => !document.querySelector("article[aria-busy=true]"));

/** The options of a request with a JSON body. */
export const body = (value) => ({ headers: { "content-type": "application/json" }, body: JSON.stringify(value) });

/** Waits until `holds` says so. */
export async function until(what, holds) {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await holds()) return;
    await pause(100);
  }
  throw new Error(`not within ten seconds: ${what}`);
}

/** Runs one of the cases in a browser. */
export async function run(cases, name, base, program) {
  const browser = await launch(base, program);
  try {
    await cases[name](browser);
  } finally {
    await browser.end();
  }
  console.log("all checks passed");
}
