// The pages of providers and routes in a real browser. Arguments: the server's address, a model, the browser's program, the name of a
// case, and for `providers` the address and the key of a second server.
import { ask, body, check, inspect, run, until } from "./ui_page.mjs";

const [base, model, program, name, far, key] = process.argv.slice(2);

const json = async (path, options) => (await fetch(base + path, options)).json();
const question = (name) =>
  body({ model: name, max_tokens: 2, messages: [{ role: "user", content: "Hello" }] });
const status = async (name) =>
  (await fetch(`${base}/v1/chat/completions`, { method: "POST", ...question(name) })).status;
const names = async () => (await json("/admin/v1/routes")).routes.map((route) => route.name);

/** The box of a row's handle, for the mouse. */
const middle = async (locator) => {
  const { x, y, width, height } = await locator.boundingBox();
  return [x + width / 2, y + height / 2];
};

const cases = {
  async providers({ open, context }) {
    // The stream of events never finishes, and is left out.
    const seen = [];
    const read = async (request) => (await request.response()).text();
    context.on("requestfinished", (request) => seen.push(read(request).catch(() => "")));
    const page = await open("/#/providers");
    const fixed = page.getByRole("article", { name: "fixed" });
    await fixed.getByText("Stands in config.toml, and is changed there.").first().waitFor();
    check((await fixed.getByRole("button", { name: "Edit" }).count()) === 0, "one of config.toml can be edited");

    await page.getByRole("button", { name: "New provider" }).click();
    const form = page.getByRole("dialog");
    await form.getByLabel("Name", { exact: true }).fill("no spaces");
    await form.getByRole("textbox", { name: /^Address/ }).fill(far);
    await form.getByRole("textbox", { name: /^API key/ }).fill("sk-wrong-0123456789");
    await form.getByRole("button", { name: "Test and list models" }).click();
    await form.getByRole("alert").waitFor();
    await form.getByRole("textbox", { name: /^API key/ }).fill(key);
    await form.getByRole("button", { name: "Test and list models" }).click();
    await form.getByText(/It answers after .* and lists \d+ models/).waitFor();
    await form.getByRole("button", { name: model }).click();
    check((await form.getByLabel("Its id at the provider").inputValue()) === model, "the model was not taken over");
    await form.getByRole("button", { name: "Add a price" }).click();
    await form.getByLabel("$/M input").fill("0.5");
    await form.getByLabel("$/M output").fill("1.5");
    await inspect(page, "the form of a provider");
    // What was typed stays where the server refuses it.
    await form.getByRole("button", { name: "Make the provider" }).click();
    await form.getByRole("alert").filter({ hasText: "a provider's name has" }).waitFor();
    check((await form.getByLabel("$/M output").inputValue()) === "1.5", "the form forgot what was typed");
    await form.getByLabel("Name", { exact: true }).fill("far");
    await form.getByRole("button", { name: "Make the provider" }).click();

    const card = page.getByRole("article", { name: "far" });
    await card.getByText(`Key …${key.slice(-4)}`).waitFor();
    await card.getByText("$0.5 in, $1.5 out").waitFor();
    check((await status(`far/${model}`)) === 200, "the new provider does not answer");
    await card.getByRole("button", { name: "Test" }).click();
    await card.getByText(/It answers after/).waitFor();

    // The key stays although the form does not know it.
    await card.getByRole("button", { name: "Edit far" }).click();
    await form.getByLabel("Alias").fill("remote");
    check((await form.getByRole("textbox", { name: /^API key/ }).inputValue()) === "", "the key is in the form");
    await form.getByRole("button", { name: "Test and list models" }).click();
    await form.getByText(/It answers after/).waitFor();
    await form.getByRole("textbox", { name: /^Address/ }).fill(`${far}/elsewhere`);
    await form.getByText("The stored key goes to the stored address only.").waitFor();
    await form.getByRole("textbox", { name: /^Address/ }).fill(far);
    await form.getByRole("button", { name: "Save" }).click();
    await card.getByText("Also called remote").waitFor();
    check((await status("remote")) === 200, "the key is lost");
    await card.getByRole("button", { name: "Disable" }).click();
    await card.getByText("disabled", { exact: true }).waitFor();
    check((await status("remote")) === 404, "a disabled provider answers");
    await card.getByRole("button", { name: "Enable" }).click();
    await card.getByRole("button", { name: "Disable" }).waitFor();
    check((await status("remote")) === 200, "an enabled provider does not answer");
    // Its health is that of its last requests.
    await page.reload();
    await card.getByText(/Last \d+ requests, 0 failed/).waitFor();

    // A model of the provider in the chat. It is asked only if somebody chooses it.
    const other = await context.newPage();
    await other.goto(base);
    await other.getByRole("button", { name: `Model: ${model}` }).click();
    await other.locator("li button").filter({ hasText: `far/${model}` }).click();
    await other.getByRole("button", { name: `Model: far/${model}` }).waitFor();
    await ask(other, "What is the capital of France?");
    await other.close();

    const kept = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage]));
    const answers = (await Promise.all(seen)).join("\n");
    for (const [where, text] of [["page", await page.content()], ["storage", kept], ["network", answers]]) {
      check(!text.includes(key), `the key can be read in the ${where}`);
    }
    await card.getByRole("button", { name: "Remove far" }).click();
    await page.getByText(`No longer answered: far/${model}, remote.`).waitFor();
    await page.getByText("Its stored API key is deleted.").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
    await card.waitFor({ state: "detached" });
    check((await status("remote")) === 404, "a removed provider answers");
  },

  async routes({ open, context }) {
    const page = await open("/#/routes");
    const list = page.getByRole("region", { name: "Routes" });
    await list.getByText("config.toml").waitFor();
    check((await list.getByRole("button").count()) === 0, "a route of config.toml can be changed");

    const form = page.getByRole("dialog");
    const make = async (pattern, label, targets) => {
      await page.getByRole("button", { name: "New route" }).click();
      await form.getByLabel(/^Name; \*/).fill(pattern);
      await form.getByLabel("Name", { exact: true }).fill(label);
      for (const [place, target] of targets.entries()) {
        if (place > 0) await form.getByRole("button", { name: "Add a target" }).click();
        await form.getByRole("combobox", { name: `Target ${place + 1}` }).fill(target);
      }
      await form.getByRole("button", { name: "Make the route" }).click();
    };
    await make("assistant-*", "helpers", ["not-here", model]);
    await list.getByText("not there now").waitFor();
    await inspect(page, "the routes");
    check((await status("assistant-1")) === 200, "the new route does not count");
    // A route that is never reached is refused, and the form keeps what was typed.
    await make("assistant-x", "never", [model]);
    await form.getByRole("alert").filter({ hasText: "never reached" }).waitFor();
    await form.getByText("Conditions", { exact: true }).click();
    await form.getByLabel("Prompt tokens, at least").fill("1000");
    await inspect(page, "the form of a route");
    await form.getByLabel(/^Name; \*/).fill("other-*");
    await form.getByRole("button", { name: "Make the route" }).click();
    await list.getByText("at least 1,000 prompt tokens").waitFor();
    check((await names()).join() === "helpers,never", "the routes are not stored");

    // The order, by keyboard and by mouse.
    const handle = page.getByRole("button", { name: "Move the route never", exact: true });
    await handle.focus();
    await page.keyboard.press("ArrowUp");
    await page.getByText("Now at place 1 of 2.").waitFor();
    await until("the order is stored", async () => (await names()).join() === "never,helpers");
    check(await handle.evaluate((element) => element === document.activeElement), "the focus is lost");
    await page.mouse.move(...(await middle(handle)));
    await page.mouse.down();
    const [x, y] = await middle(page.getByRole("button", { name: "Move the route helpers", exact: true }));
    await page.mouse.move(x, y + 30, { steps: 8 });
    await page.mouse.up();
    await until("the order is stored again", async () => (await names()).join() === "helpers,never");

    // Another program changes the list meanwhile: nothing of it is lost.
    await list.getByRole("button", { name: "Edit the route helpers" }).click();
    const { routes } = await json("/admin/v1/routes");
    const more = { name: "elsewhere", model: "elsewhere", targets: [model] };
    await fetch(`${base}/admin/v1/routes`, { method: "PUT", ...body({ routes: [...routes, more] }) });
    await form.getByLabel("Name", { exact: true }).fill("assistants");
    await form.getByRole("button", { name: "Save" }).click();
    await form.getByText("The routes were changed elsewhere").waitFor();
    await form.getByRole("button", { name: "Save" }).click();
    await form.waitFor({ state: "detached" });
    check((await names()).join() === "assistants,never,elsewhere", (await names()).join());

    // A condition that a model judges, and what it said.
    await page.getByRole("button", { name: "New route" }).click();
    await form.getByLabel(/^Name; \*/).fill("judged");
    await form.getByText("Conditions", { exact: true }).click();
    await form.getByLabel("A sentence that must be true of the message").fill("the user says hello");
    await form.getByRole("combobox", { name: "Target 1" }).fill("role:fast");
    await form.getByRole("button", { name: "Make the route" }).click();
    await form.getByRole("alert").filter({ hasText: "set a model that judges" }).waitFor();
    await form.getByLabel("The model that judges it").fill(model);
    await inspect(page, "the form of a judged route");
    await form.getByRole("button", { name: "Make the route" }).click();
    await list.getByText("judged: the user says hello").waitFor();
    await page.getByLabel("Model", { exact: true }).fill("judged");
    await page.getByRole("textbox", { name: /^Last message of the user/ }).fill("Hello!");
    await page.getByRole("button", { name: "Choose a route" }).click();
    await page.getByRole("region", { name: "Its route" }).getByText(/: (yes|no), .*tokens/).waitFor();
    await list.getByRole("button", { name: "Remove the route judged" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
    await until("the judged route is removed", async () => !(await names()).includes(undefined));

    // A request takes the route, and its trace says so.
    await status("assistant-2");
    const trace = await context.newPage();
    await trace.goto(`${base}/#/activity`);
    await trace.getByRole("row").nth(1).getByRole("link").click();
    await trace.getByRole("dialog").getByText("assistants").first().waitFor();
    await list.getByRole("button", { name: "Remove the route never" }).click();
    await page.getByText("Its conditions and targets are lost.").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
    await until("it is removed", async () => (await names()).join() === "assistants,elsewhere");
  },
};

await run(cases, name, base, program);
