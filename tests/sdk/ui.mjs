// The web UI in a real browser. Arguments: the server's address, a model, the browser's program, the name of a case.
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { ask, body, brief, check, inspect, run, settled, until } from "./ui_page.mjs";

const [base, model, program, name] = process.argv.slice(2);
const DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=";
const LONG = "Write a very long story about the sea, with many chapters.";

const json = async (path, options) => (await fetch(base + path, options)).json();
const running = async () => (await json(`/admin/v1/models/${model}`)).workers[0]?.running ?? 0;

const answerOf = (page) => page.locator("article.assistant .text").last().innerText();

/** A conversation that the page finds stored. */
async function store(id, turns, fields = {}, more = {}) {
  const parameters = { temperature: 0, top_p: null, top_k: null, min_p: null, max_tokens: null, seed: null,
    repetition_penalty: null, stop: "", reasoning_effort: "" };
  const chat = { model, system: "", parameters, turns, leaf: turns.at(-1).id, ...more };
  const stored = await fetch(`${base}/ui/v1/chats/${id}`,
    { method: "PUT", ...body({ title: id, revision: 0, body: chat, ...fields }) });
  check(stored.ok, `the conversation was refused: ${await stored.text()}`);
}

/** The agents' set-ups on the page are those of the documentation, with this server's values. */
async function expectDocumented(page) {
  const chosen = await page.getByLabel("Model").inputValue();
  const listed = (await json("/v1/models")).data.find((one) => one.id === chosen);
  const output = Math.min(Math.floor(listed.context_length / 4), 32_000);
  const values = { MODEL: listed.id, "http://127.0.0.1:10240": base, 32768: listed.context_length, 8192: output,
    24576: listed.context_length - output };
  const normal = (text) => {
    try {
      return JSON.stringify(JSON.parse(text));
    } catch {
      return text;
    }
  };
  const documentation = readFileSync(new URL("../../docs/src/clients.md", import.meta.url), "utf8");
  const blocks = [...documentation.matchAll(/^```\w+\n(.*?)\n```$/gms)].map((match) =>
    normal(match[1].replace(/(?<!_)MODEL\b|http:\/\/127\.0\.0\.1:10240|32768|8192|24576/g, (word) => values[word])));
  const agents = JSON.parse(readFileSync(new URL("../../ui/src/lib/clients.json", import.meta.url), "utf8"));
  for (const { name } of agents) {
    const texts = await page.getByRole("region", { name, exact: true }).locator("pre").allInnerTexts();
    check(texts.length > 0, `${name} is not on the page`);
    for (const text of texts) check(blocks.includes(normal(text)), `${name}: not in the documentation: ${text}`);
  }
}

const turn = (id, parent, role, text, more = {}) => ({ id, parent, role, text, at: 0, state: "done", ...more });

const cases = {
  async chat({ open }) {
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    await brief(page);
    await ask(page, "What is the capital of France?");
    await settled(page);
    const first = await answerOf(page);
    check(first.includes("Paris"), first);
    const figures = await page.locator("article.assistant footer").innerText();
    check(/\d+ tokens · [\d.]+ tokens\/s · first after .* of \d+ prompt tokens cached/.test(figures), figures);
    // Another answer is a branch beside the first.
    await page.getByRole("button", { name: "Another answer" }).click();
    await settled(page);
    await page.getByText("2/2").waitFor();
    await page.getByRole("button", { name: "Earlier version" }).click();
    await page.getByText("1/2").waitFor();
    // An edited question too.
    await page.getByRole("button", { name: "Edit", exact: true }).click();
    await page.getByLabel("Edit the message").fill("What is the capital of Italy?");
    await page.getByRole("button", { name: "Send" }).first().click();
    await page.waitForFunction(() => document.querySelector("article.user")?.innerText.includes("Italy"));
    await settled(page);
    check((await page.locator("article.user .branches").innerText()).includes("2/2"), "the question has no branch");
    // A conversation is found again, with its branches, by its text.
    await page.reload();
    await page.getByText("What is the capital of Italy?").waitFor();
    await page.getByLabel("Search conversations").fill("italy?");
    await page.getByRole("link", { name: "What is the capital of France?" }).waitFor();
    await page.getByLabel("Search conversations").fill("nothing like it");
    await page.getByText("Nothing matches.").waitFor();
  },

  async stop({ open }) {
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    await ask(page, LONG);
    await page.getByRole("button", { name: "Stop" }).click();
    await settled(page);
    await until("the worker stops too", async () => (await running()) === 0);
    const stopped = await answerOf(page);
    await page.getByText("Stopped.").waitFor();
    await page.getByRole("button", { name: "Continue" }).click();
    await page.waitForFunction((length) =>
      document.querySelector("article.assistant .text").innerText.length > length + 20, stopped.length);
    check((await answerOf(page)).startsWith(stopped.slice(0, 20)), "the answer began anew");
    await page.keyboard.press("Escape");
    await settled(page);
  },

  async reload({ open, context }) {
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    await ask(page, LONG);
    const address = page.url();
    await until("the conversation is stored", async () => (await json("/ui/v1/chats")).chats.length === 1);
    const before = await answerOf(page);
    await page.close();
    await pause(500);
    check((await running()) === 1, "the answer ended with its page");
    const again = await context.newPage();
    await again.goto(address);
    await again.waitForFunction((text) =>
      document.querySelector("article.assistant .text")?.innerText.length > text.length + 40, before);
    check((await answerOf(again)).startsWith(before.slice(0, 20)), "it is another answer");
    await again.getByRole("button", { name: "Stop" }).click();
    await until("the worker stops too", async () => (await running()) === 0);
  },

  async tabs({ open, context }) {
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    await brief(page);
    await ask(page, "What is the capital of France?");
    await settled(page);
    const other = await context.newPage();
    await other.goto(page.url());
    await other.getByText("What is the capital of France?").first().waitFor();
    for (const [tab, text] of [[page, "And of Spain?"], [other, "And of Italy?"]]) {
      await ask(tab, text);
      await settled(tab);
    }
    const [{ id }] = (await json("/ui/v1/chats")).chats;
    await until("both questions are stored", async () => {
      const { body: chat } = await json(`/ui/v1/chats/${id}`);
      const texts = chat.turns.map((one) => one.text);
      return chat.turns.length === 6 && texts.includes("And of Spain?") && texts.includes("And of Italy?");
    });
  },

  async history({ open }) {
    await store("history", [turn("a", null, "user", "Hello"), turn("b", "a", "assistant", "**Hi**", { model })]);
    const page = await open("/#/chat/history");
    await page.getByRole("button", { name: "Export", exact: true }).click();
    const [markdown] = await Promise.all([
      page.waitForEvent("download"), page.getByRole("button", { name: "Export as Markdown" }).click()]);
    check(markdown.suggestedFilename() === "history.md", markdown.suggestedFilename());
    const link = page.getByRole("link", { name: "history", exact: true });
    await link.hover();
    await page.getByRole("button", { name: "Pin “history”", exact: true }).click();
    await page.getByRole("button", { name: "Rename “history”" }).click();
    await page.getByLabel("Title").fill("A new name");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("link", { name: "A new name" }).hover();
    const [chat] = (await json("/ui/v1/chats")).chats;
    check(chat.pinned && chat.title === "A new name", JSON.stringify(chat));
    await page.getByRole("button", { name: "Delete “A new name”" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByText("Conversations appear here.").waitFor();
    check((await json("/ui/v1/chats")).chats.length === 0, "it is still stored");
  },

  async long({ open }) {
    const turns = Array.from({ length: 100 }, (_, place) =>
      turn(`t${place}`, place ? `t${place - 1}` : null, place % 2 ? "assistant" : "user", `Message ${place}.\n\n${"More. ".repeat(200)}`));
    await store("long", turns);
    const page = await open("/#/chat/long");
    await page.getByText("Message 99.").waitFor();
    check((await page.locator("article").count()) === 40, "not only the last messages are drawn");
    await page.getByRole("button", { name: "Show earlier messages (60)" }).click();
    await page.getByText("Message 20.").waitFor();
    // Reading upwards brings the others.
    await until("the first message is there", async () => {
      await page.getByRole("log").evaluate((log) => (log.scrollTop = 0));
      return (await page.locator("article").count()) === 100;
    });
    await page.getByText("Message 0.").waitFor();
  },

  async import({ open }) {
    const node = (id, parent, role, parts) =>
      [id, { id, parent, message: role && { author: { role }, create_time: 1, content: { content_type: "text", parts } } }];
    const gpt = { title: "From ChatGPT", conversation_id: "1-2", create_time: 1, update_time: 2, current_node: "d",
      mapping: Object.fromEntries([node("root", null, null), node("s", "root", "system", [""]), node("a", "s", "user", ["One?"]),
        node("t", "a", "tool", ["hidden"]), node("b", "t", "assistant", ["First"]), node("d", "t", "assistant", ["**Second**", {}])]) };
    const message = (id, parentId, role, content) => ({ id, parentId, childrenIds: [], role, content, timestamp: 3, model: "llama" });
    const webui = { id: "w-1", title: "From Open WebUI", pinned: true, updated_at: 3, chat: { params: { system: "Be brief" },
      history: { currentId: "y", messages: { x: message("x", null, "user", "Two?"), y: message("y", "x", "assistant", "Yes") } } } };
    const own = { title: "From here", model, system: "", leaf: "o2",
      turns: [turn("o1", null, "user", "Three?", { files: [{ name: "<b>a.txt", text: "<b>a file" }, 7],
        images: [{ name: "far", url: "https://elsewhere.test/a.png" }, { name: "dot", url: DOT }] }), turn("o2", "o1", "assistant", "No", { state: "running", request: { key: "k" } })] };
    const page = await open();
    await page.getByRole("button", { name: "Import conversations" }).click();
    const file = (value) => ({ name: "file.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(value)) });
    const choose = (value) => page.getByLabel("File", { exact: true }).setInputFiles(file(value));
    await choose({ nothing: true });
    await page.getByRole("alert").filter({ hasText: "no conversation of a known form" }).waitFor();
    for (const [value, count] of [[[gpt], "1 of 1 imported, 0"], [[webui], "1 of 1 imported, 0"], [own, "1 of 1 imported, 0"],
      [[gpt, webui], "0 of 2 imported, 2"]]) {
      await choose(value);
      await page.getByText(count).waitFor();
    }
    await inspect(page, "the import");
    await page.getByRole("button", { name: "Done" }).click();
    const titles = (await json("/ui/v1/chats")).chats.map((chat) => [chat.title, chat.pinned]);
    const expected = [["From Open WebUI", true], ["From here", false], ["From ChatGPT", false]];
    check(JSON.stringify(titles) === JSON.stringify(expected), JSON.stringify(titles));
    await page.getByRole("link", { name: "From ChatGPT" }).click();
    await page.locator("article.assistant strong").filter({ hasText: "Second" }).waitFor();
    await page.getByText("2/2").waitFor();
    check((await page.getByText("hidden").count()) === 0, "a tool's text became a turn");
    await page.getByRole("link", { name: "From here" }).click();
    await page.getByText("Stopped.").waitFor();
    await page.locator("article.user summary").filter({ hasText: "<b>a.txt" }).waitFor();
    check((await page.locator("article.user img").count()) === 1, "an image of another host is shown");
    await page.getByRole("link", { name: "From Open WebUI" }).click();
    await page.getByText("Yes").waitFor();
    await page.getByRole("button", { name: "Parameters" }).click();
    check((await page.getByLabel("System prompt").inputValue()) === "Be brief", "the system prompt is lost");
    await page.keyboard.press("Escape");
    // Both columns of a comparison come back, as they were exported.
    const [first, second] = ["left", "right"].map((name) => turn(name, "q", "assistant", `From the ${name}.`, { model: name }));
    await store("compared", [turn("q", null, "user", "Both?"), first, second], {}, { leaf: "left", beside: { model: "right", leaf: "right" } });
    await page.goto(`${base}/#/chat/compared`);
    await page.getByRole("button", { name: "Export", exact: true }).click();
    const [exported] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export as JSON" }).click()]);
    await fetch(`${base}/ui/v1/chats/compared`, { method: "DELETE" });
    await page.getByRole("button", { name: "Import conversations" }).click();
    await page.getByLabel("File", { exact: true }).setInputFiles(await exported.path());
    await page.getByText("1 of 1 imported, 0").waitFor();
    await page.getByRole("button", { name: "Done" }).click();
    await page.goto(`${base}/#/chat/mlxd-q`);
    await page.locator(".pair > div").nth(1).getByText("From the right.").waitFor();
    await page.locator(".pair > div").first().getByText("From the left.").waitFor();
    await page.getByRole("button", { name: "Second model: right" }).waitFor();
  },

  async hostile({ open }) {
    const text = [
      "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>",
      "![picture](https://elsewhere.test/a.png) [link](javascript:document.title='broken')",
      "<style>body { display: none }</style><iframe src=\"https://elsewhere.test/\"></iframe>",
      "```html\n<script>document.title='broken'</script>\n```",
      "$\\href{javascript:document.title='broken'}{x} + \\frac{a}{b}$",
      "| a | b |\n|---|---|\n| 1 | 2 |",
    ].join("\n\n");
    await store("hostile", [turn("a", null, "user", text), turn("b", "a", "assistant", text, { reasoning: text })]);
    const page = await open("/#/chat/hostile");
    await page.locator("article.assistant .text math").first().waitFor();
    await page.locator("article.assistant .text .code-head").first().waitFor();
    await page.locator("article.assistant .text table").first().waitFor();
    check((await page.title()) === "mlxd", await page.title());
    const tags = await page.locator("article").locator("img, script, style, iframe, [onerror], a[href^=javascript]").count();
    check(tags === 0, `${tags} elements that do something`);
  },

  async models({ open }) {
    const page = await open("/#/models");
    const card = page.locator("article").filter({ hasText: model }).first();
    await card.getByText("not loaded").waitFor();
    await card.getByRole("button", { name: "Load" }).click();
    await card.getByText("ready").waitFor();
    await page.getByRole("img", { name: /granted/ }).waitFor();
    await page.getByRole("cell", { name: model }).waitFor();
    await card.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Requests at once").fill("3");
    await page.getByLabel("Aliases").fill("small, tiny");
    await page.getByLabel("Format of calls").fill("nonsense");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("alert").filter({ hasText: "tool_format" }).waitFor();
    check((await page.getByLabel("Requests at once").inputValue()) === "3", "the form forgot what was typed");
    await page.getByLabel("Format of calls").fill("");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("From the next start of the model: max_batch.").waitFor();
    await page.getByRole("button", { name: "Close" }).click();
    await card.getByText("small, tiny").waitFor();
    await card.getByRole("button", { name: "Pin" }).click();
    await card.getByText("pinned").waitFor();
    await card.getByRole("button", { name: "Unload" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Unload" }).click();
    await card.getByText("not loaded").waitFor();
    const settings = await json(`/admin/v1/models/${model}/settings`);
    check(settings.max_batch === 3 && settings.aliases.includes("tiny"), JSON.stringify(settings));
  },

  async keys({ open, context }) {
    const page = await open("/#/keys");
    await page.getByText("There are no keys").waitFor();
    await page.getByRole("button", { name: "New key" }).click();
    await page.getByLabel("Name", { exact: true }).fill("mine");
    await page.getByRole("button", { name: "Make the key" }).click();
    const admin = await page.locator("code.secret").innerText();
    await page.getByRole("button", { name: "Done" }).click();
    check(!(await page.content()).includes(admin), "the secret is still in the page");
    // The page goes on with the key. It is in no storage that outlives the tab.
    await page.getByRole("button", { name: "New key" }).click();
    await page.getByLabel("Name", { exact: true }).fill("phone");
    await page.getByRole("button", { name: "Make the key" }).click();
    const secret = await page.locator("code.secret").innerText();
    check(!(await page.evaluate(() => JSON.stringify(localStorage))).includes(admin), "a key in the local storage");
    const status = async () =>
      (await fetch(`${base}/v1/models`, { headers: { authorization: `Bearer ${secret}` } })).status;
    await until("the key works", async () => (await status()) === 200);
    check((await fetch(`${base}/v1/models`)).status === 401, "the server is open");
    await page.getByRole("row").filter({ hasText: "mine" }).getByText("this tab").waitFor();
    check((await page.getByText("this tab").count()) === 1, "both keys are this tab's");
    // Another tab has to enter a key, and one without the scope sees no administration.
    const other = await context.newPage();
    await other.goto(`${base}/#/models`);
    await other.getByLabel("API key").fill("wrong");
    await other.getByRole("button", { name: "Continue" }).click();
    await other.getByRole("alert").waitFor();
    await other.getByLabel("API key").fill(secret);
    await other.getByRole("button", { name: "Continue" }).click();
    await other.getByText("needs a key with the scope admin").waitFor();
    await page.getByRole("button", { name: "Revoke phone" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Revoke", exact: true }).click();
    await page.getByRole("cell", { name: "revoked" }).waitFor();
    check((await status()) === 401, "the revoked key still opens the server");
  },

  async activity({ open }) {
    for (const text of ["one", "two"]) {
      await json("/v1/chat/completions",
        { method: "POST", ...body({ model, max_tokens: 2, messages: [{ role: "user", content: text }] }) });
    }
    const page = await open("/#/activity");
    const rows = page.getByRole("cell", { name: /chat\/completions/ });
    await rows.nth(1).waitFor();
    // The next one comes by itself, unless the page is paused.
    const asked = (text) => json("/v1/chat/completions",
      { method: "POST", ...body({ model, max_tokens: 2, messages: [{ role: "user", content: text }] }) });
    await asked("three");
    await rows.nth(2).waitFor();
    await page.getByLabel("Live").uncheck();
    await asked("four");
    await page.waitForTimeout(1200);
    check((await rows.count()) === 3, "a request came although the page is paused");
    await page.getByLabel("Live").check();
    await rows.nth(3).waitFor();
    await page.getByLabel("Status").selectOption("failed");
    await page.getByText("No request matches.").waitFor();
    await page.getByLabel("Status").selectOption("");
    await page.getByRole("row").nth(1).getByRole("link").click();
    await page.getByRole("dialog").getByText("tokens, 0 of reasoning").waitFor();
    await page.keyboard.press("Escape");
    await page.goto(`${base}/#/routes`);
    const choose = page.getByRole("button", { name: "Choose a route" });
    await choose.waitFor();
    await page.getByLabel("Model", { exact: true }).fill("fast");
    await choose.click();
    await page.getByText("The route fast applies.").waitFor();
    await page.getByRole("code").filter({ hasText: model }).waitFor();
    await page.goto(`${base}/#/connect`);
    await page.getByText(`ANTHROPIC_BASE_URL=${base}`).waitFor();
    await expectDocumented(page);
  },

  /** Writes the pictures of the documentation into a folder. */
  async pictures({ open, context }) {
    const folder = process.argv[6];
    const page = await open();
    await page.setViewportSize({ width: 1200, height: 780 });
    await page.getByRole("button", { name: model }).waitFor();
    await page.getByRole("button", { name: "Parameters" }).click();
    await page.getByLabel("Temperature").fill("0");
    // The small model's explanation is wrong.
    await page.getByLabel("Stop texts").fill("This function");
    await page.getByRole("button", { name: "Done" }).click();
    for (const question of ["Write a Python function that checks whether a number is prime, and explain it in one sentence.",
      "List three facts about the Moon as a Markdown list."]) {
      await ask(page, question);
      await settled(page);
    }
    await page.locator(".hljs-keyword").first().waitFor();
    await page.screenshot({ path: `${folder}/chat.png` });
    const dark = await context.newPage();
    await dark.setViewportSize({ width: 1200, height: 560 });
    await dark.emulateMedia({ colorScheme: "dark" });
    await dark.goto(`${base}/#/models`);
    await dark.getByRole("cell", { name: model }).waitFor();
    await dark.screenshot({ path: `${folder}/models.png` });
    const bench = await context.newPage();
    await bench.setViewportSize({ width: 1200, height: 860 });
    await bench.goto(`${base}/#/bench`);
    await bench.getByLabel("Lengths of prompts, in tokens").fill("128, 512");
    await bench.getByRole("button", { name: "Measure", exact: true }).click();
    await bench.getByRole("region", { name: "Figures" }).getByRole("row").nth(6).waitFor({ timeout: 300_000 });
    // A button fades in.
    await pause(500);
    await bench.screenshot({ path: `${folder}/bench.png` });
  },

  async restart({ open }) {
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    await brief(page);
    await page.getByLabel("Ask something").fill("Half a ques");
    const activity = await open("/#/activity");
    await activity.getByText("No request matches.").waitFor();
    process.kill(Number(process.argv[6]), "SIGKILL");
    await pause(300);
    check((await page.getByLabel("Ask something").inputValue()) === "Half a ques", "the text is lost");
    await ask(page, "What is the capital of France?");
    await settled(page);
    check((await page.getByRole("alert").count()) === 0, "the page complains");
    await activity.getByRole("cell", { name: /chat\/completions/ }).waitFor();
    check((await activity.getByRole("alert").count()) === 0, "the page of activity complains");
  },

  async everywhere({ context }) {
    const table = "| a | b |\n|---|---|\n| 1 | 2 |\n\n```js\nconst a = 1;\n```\n\n$$x^2$$";
    const more = { model, reasoning: "Because.", reasoned: 1200, calls: [{ id: "1", name: "weather", arguments: "{}" }],
      statistics: { prompt: 10, cached: 5, output: 20, reasoning: 2, rate: 50, first: 80 } };
    await store("shown", [turn("a", null, "user", "Hello"), turn("b", "a", "assistant", table, more)], { pinned: true });
    await json(`/admin/v1/models/${model}/load`, { method: "POST" });
    for (const [width, height, colorScheme] of [[360, 640, "light"], [1024, 768, "dark"], [2560, 1440, "light"]]) {
      const page = await context.newPage();
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      for (const place of ["chat/shown", "chat", "models", "activity", "usage", "bench", "providers", "routes", "keys", "logs", "connect", "settings"]) {
        await page.goto(`${base}/#/${place}`);
        await page.locator(place === "chat/shown" ? ".text math" : "h1, h2").first().waitFor();
        await page.waitForFunction(() => !document.querySelector(".notice .spin"));
        await inspect(page, `${place} at ${width}, ${colorScheme}`);
      }
      await page.close();
    }
    const page = await context.newPage();
    await page.goto(`${base}/#/keys`);
    await page.getByRole("button", { name: "New key" }).click();
    await inspect(page, "the form of a key");
    await page.goto(`${base}/#/chat`);
    await page.getByRole("button", { name: "Parameters" }).click();
    await inspect(page, "the parameters");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: model }).click();
    await inspect(page, "the list of models");
    await page.getByLabel("Language").selectOption("de");
    await page.getByRole("link", { name: "Schlüssel" }).waitFor();
    check((await page.evaluate(() => document.documentElement.lang)) === "de", "the language is not named");
  },
};

await run(cases, name, base, program);
