// Files, folders, presets and two models beside each other on the chat page, in a real browser. Arguments: the server's address, a model, the
// browser's program, the name of a case.
import { body, brief, check, inspect, run, settled, until } from "./ui_page.mjs";

const [base, model, program, name] = process.argv.slice(2);

const json = async (path) => (await fetch(base + path)).json();
const text = (name, content) => ({ name, mimeType: "text/plain", buffer: Buffer.from(content) });
const DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const picture = { name: "dot.png", mimeType: "image/png", buffer: Buffer.from(DOT, "base64") };

/** Files as a program outside the browser hands them over. */
const handed = (page, files) =>
  page.evaluateHandle((files) => {
    const data = new DataTransfer();
    for (const { name, type, content } of files) {
      const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
      data.items.add(new File([bytes], name, { type }));
    }
    return data;
  }, files.map(({ name, mimeType, buffer }) => ({ name, type: mimeType, content: buffer.toString("base64") })));

async function drop(page, files) {
  const dataTransfer = await handed(page, files);
  await page.getByRole("log").dispatchEvent("dragover", { dataTransfer });
  await page.getByRole("log").dispatchEvent("drop", { dataTransfer });
}

async function paste(page, files) {
  const data = await handed(page, files);
  await page.getByLabel("Ask something").evaluate((area, clipboardData) =>
    area.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true })), data);
}

/** The model says that it takes images, and its requests are answered here. Returns them. */
async function takeImages(context) {
  const asked = [];
  await context.route(/\/v1\/models$/, async (route) => {
    const response = await route.fetch();
    const list = await response.json();
    for (const one of list.data) if (one.id === model) one.details.capabilities.vision = true;
    await route.fulfill({ response, json: list });
  });
  await context.route(/\/v1\/chat\/completions$/, (route) => {
    asked.push(route.request().postDataJSON());
    const chunk = (delta, finish_reason = null) => `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
    return route.fulfill({ contentType: "text/event-stream", body: `${chunk({ content: "A dot." })}${chunk({}, "stop")}data: [DONE]\n\n` });
  });
  return asked;
}

const cases = {
  async files({ open, context }) {
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    await brief(page);
    const chips = page.locator("form").getByRole("list", { name: "Files" });
    await page.getByLabel("Add files").setInputFiles([text("notes.md", "The code word is swordfish.\n```\ncode\n```\n")]);
    await chips.getByText("notes.md").waitFor();
    await drop(page, [text("dropped.txt", "dropped")]);
    await chips.getByText("dropped.txt").waitFor();
    await paste(page, [text("pasted.csv", "a,b\n1,2")]);
    await chips.getByText("pasted.csv").waitFor();
    await inspect(page, "the chips");
    // What cannot be added is named, and the rest stays.
    await drop(page, [text("huge.txt", "x".repeat(512 * 1024 + 1)), { ...text("binary", ""), buffer: Buffer.from([0xff, 0xfe, 0]) },
      picture]);
    const alert = page.locator("form").getByRole("alert");
    await alert.getByText("huge.txt is larger than 512 KiB.").waitFor();
    await alert.getByText("binary is neither text in UTF-8 nor an image.").waitFor();
    await alert.getByText(`dot.png was not added: ${model} does not say that it takes images.`).waitFor();
    check((await chips.getByRole("listitem").count()) === 3, "a refused file has a chip");
    await inspect(page, "the refusals");
    const others = Array.from({ length: 7 }, (_, place) => text(`more${place}.txt`, "x".repeat(512 * 1024)));
    await page.getByLabel("Add files").setInputFiles([...others, text("last.txt", "x"), text("next.txt", "x"), text("over.txt", "x")]);
    await alert.getByText("more5.txt was not added: the files of a question have at most 3.0 MiB together.").waitFor();
    await alert.getByText("over.txt was not added: a question has at most 10 files.").waitFor();
    for (const file of ["more0.txt", "more1.txt", "more2.txt", "more3.txt", "more4.txt", "last.txt", "next.txt"]) {
      await chips.getByRole("button", { name: `Remove ${file}` }).click();
    }
    await chips.getByRole("button", { name: "Remove dropped.txt" }).focus();
    await page.keyboard.press("Enter");
    await page.getByLabel("Ask something").fill("What is the code word?");
    await page.keyboard.press("Enter");
    await page.locator("article.user").getByText("pasted.csv").waitFor();
    await settled(page);
    check((await page.locator("form").getByRole("listitem").count()) === 0, "the chips are still there");
    const [{ id }] = (await json("/ui/v1/chats")).chats;
    const [question] = (await json(`/ui/v1/chats/${id}`)).body.turns;
    check(question.text === "What is the code word?" && question.files.length === 2, JSON.stringify(question));
    // The message has the files folded. An edit keeps them or not, and the answer comes from what is left.
    await page.reload();
    await page.locator("article.user summary").filter({ hasText: "notes.md" }).click();
    await page.locator("article.user pre").getByText("The code word is swordfish.").waitFor();
    await page.getByRole("button", { name: "Edit", exact: true }).click();
    await page.getByRole("button", { name: "Remove pasted.csv" }).click();
    const [request] = await Promise.all([page.waitForRequest(/\/v1\/chat\/completions$/),
      page.locator("article.user").getByRole("button", { name: "Send" }).click()]);
    const expected = "notes.md\n````\nThe code word is swordfish.\n```\ncode\n```\n````\n\nWhat is the code word?";
    check(request.postDataJSON().messages.at(-1).content === expected, request.postData());
    await settled(page);
    // The search looks into files too.
    await page.getByLabel("Search conversations").fill("swordfish");
    await page.getByRole("link", { name: "What is the code word?" }).waitFor();
  },

  async images({ open, context }) {
    const asked = await takeImages(context);
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    await drop(page, [picture]);
    await page.locator("form li").filter({ hasText: "dot.png" }).locator("img").waitFor();
    await inspect(page, "an image in the question");
    await paste(page, [{ name: "broken.png", mimeType: "image/png", buffer: Buffer.from("no image") }]);
    await page.getByText("broken.png is no image that this browser can read.").waitFor();
    await page.getByLabel("Ask something").fill("What is it?");
    await page.keyboard.press("Enter");
    await page.getByText("A dot.").waitFor();
    const url = `data:image/png;base64,${DOT}`;
    const content = [{ type: "text", text: "What is it?" }, { type: "image_url", image_url: { url } }];
    check(JSON.stringify(asked[0].messages) === JSON.stringify([{ role: "user", content }]), JSON.stringify(asked[0]));
    await page.locator("article.user img[alt='dot.png']").waitFor();
    await inspect(page, "an image in a message");
    // A large one is made smaller.
    const large = await page.evaluate(async () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [4000, 1000];
      return canvas.toDataURL().split(",")[1];
    });
    await drop(page, [{ name: "large.png", mimeType: "image/png", buffer: Buffer.from(large, "base64") }]);
    const image = page.locator("form li").filter({ hasText: "large.png" }).locator("img");
    await until("it is shown", () => image.evaluate((one) => one.naturalWidth === 1280 && one.naturalHeight === 320));
    // Another model may be chosen after it was added.
    const other = (await json("/v1/models")).data.find((one) => one.id !== model && one.details.modality === "text").id;
    await page.getByRole("button", { name: `Model: ${model}` }).click();
    await page.getByRole("button", { name: other }).click();
    await page.getByText(`${other} does not say that it takes images.`).waitFor();
    check(await page.getByRole("button", { name: "Send" }).isDisabled(), "it can be sent");
    await page.getByRole("button", { name: "Remove large.png" }).click();
    await page.getByText(`${other} does not say`).waitFor({ state: "detached" });
  },

  /** Folders by keyboard alone: a new one, a conversation into it, another name, and its end. */
  async folders({ open, context }) {
    const turn = (id, parent, role, text) => ({ id, parent, role, text, at: 0, state: "done" });
    for (const id of ["one", "two", "three"]) {
      const chat = { model, system: "", parameters: {}, turns: [turn("a", null, "user", id)], leaf: "a" };
      await fetch(`${base}/ui/v1/chats/${id}`, { method: "PUT", ...body({ title: id, revision: 0, body: chat }) });
    }
    const page = await open("/#/chat/one");
    const link = (title) => page.getByRole("link", { name: title, exact: true });
    const folder = (name) => page.getByRole("list", { name: "Folders" }).getByRole("button", { name: new RegExp(`^${name}`) });
    await link("one").waitFor();
    await page.getByRole("button", { name: "New folder" }).press("Enter");
    await until("its name has the focus", () => page.getByLabel("Name", { exact: true }).evaluate((input) => input === document.activeElement));
    await page.keyboard.type("Work");
    await page.keyboard.press("Enter");
    await folder("Work").waitFor();
    // A name is taken once.
    await page.getByRole("button", { name: "New folder" }).press("Enter");
    await page.getByLabel("Name", { exact: true }).fill("Work");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: "there is a folder \"Work\" already" }).waitFor();
    await page.keyboard.press("Escape");
    await link("one").focus();
    await page.getByRole("button", { name: "Move “one”" }).press("Enter");
    await inspect(page, "the folders to move to");
    await page.getByRole("dialog").getByRole("button", { name: "Work" }).press("Enter");
    await link("one").waitFor({ state: "detached" });
    await folder("Work 1").press("Enter");
    await link("one").waitFor();
    // A new folder on the way, and none again.
    await link("two").focus();
    await page.getByRole("button", { name: "Move “two”" }).press("Enter");
    await page.getByRole("dialog").getByLabel("New folder").fill("Art & <b>craft</b>");
    await page.keyboard.press("Enter");
    await link("two").waitFor({ state: "detached" });
    await folder("Art & <b>craft</b> 1").press("Enter");
    await link("two").focus();
    await page.getByRole("button", { name: "Move “two”" }).press("Enter");
    await page.getByRole("dialog").getByRole("button", { name: "No folder" }).press("Enter");
    await page.getByText("Nothing is in this folder.").waitFor();
    await link("two").waitFor();
    for (const [width, height, colorScheme] of [[1024, 768, "dark"], [2560, 1440, "light"], [360, 640, "light"]]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      if (width === 360) await page.getByRole("button", { name: "Conversations", exact: true }).click();
      await inspect(page, `folders at ${width}`);
    }
    // What is found has no folders, and a page that opens one of a folder shows it there.
    await page.getByLabel("Search conversations").fill("one");
    await folder("Work").waitFor({ state: "detached" });
    await link("one").waitFor();
    const other = await context.newPage();
    await other.goto(`${base}/#/chat/one`);
    await other.locator("[aria-current=page]").filter({ hasText: "one" }).waitFor();
    const there = other.getByRole("button", { name: /^Work 1/ });
    check((await there.getAttribute("aria-expanded")) === "true", "the folder of the open conversation is closed");
    await there.focus();
    await other.getByRole("button", { name: "Rename the folder “Work”" }).press("Enter");
    await other.getByLabel("Name", { exact: true }).fill("Play");
    await other.keyboard.press("Enter");
    await other.getByRole("button", { name: /^Play 1/ }).focus();
    await other.getByRole("button", { name: "Delete the folder “Play”" }).press("Enter");
    await other.getByText("Conversations in it: 1. They stay, in no folder.").waitFor();
    await inspect(other, "the question before a folder is deleted");
    await other.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).press("Enter");
    await other.getByRole("button", { name: /^Play/ }).waitFor({ state: "detached" });
    await other.getByRole("link", { name: "one", exact: true }).waitFor();
    const { chats } = await json("/ui/v1/chats");
    check(chats.length === 3 && chats.every((chat) => chat.folder === ""), JSON.stringify(chats));
  },

  async presets({ open, context }) {
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    const parameters = () => page.getByRole("button", { name: "Parameters" }).click();
    const [prompt, heat, preset] = [page.getByLabel("System prompt"), page.getByLabel("Temperature"), page.getByRole("combobox", { name: "Preset", exact: true })];
    await parameters();
    await prompt.fill("Rhyme.");
    await heat.fill("1.2");
    await page.getByRole("button", { name: "Save as a preset" }).press("Enter");
    await page.keyboard.type("Poet");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Delete “Poet”" }).waitFor();
    await inspect(page, "a preset");
    // Another name for other values, and no name twice.
    await heat.fill("0");
    await page.getByText("The values are no longer those of the preset.").waitFor();
    await page.getByRole("button", { name: "Save as a preset" }).click();
    await page.getByLabel("Name of the preset").fill("Poet");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByRole("alert").filter({ hasText: "There is a preset “Poet” already." }).waitFor();
    await page.getByLabel("Name of the preset").fill("Calm poet");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await preset.selectOption("Poet");
    check((await heat.inputValue()) === "1.2", "the preset does not set the temperature");
    await page.getByRole("button", { name: "Done" }).click();
    // The next conversation begins without one, gets one, and gives its own values back.
    await page.reload();
    await parameters();
    check((await preset.inputValue()) === "" && (await prompt.inputValue()) === "", "a preset without being chosen");
    await prompt.fill("Mine.");
    await preset.selectOption("Calm poet");
    check((await prompt.inputValue()) === "Rhyme." && (await heat.inputValue()) === "0", "the preset is lost");
    await preset.selectOption("");
    check((await prompt.inputValue()) === "Mine." && (await heat.inputValue()) === "", "the own values are lost");
    await preset.selectOption("Calm poet");
    await heat.fill("0.1");
    await page.getByRole("button", { name: "Update “Calm poet”" }).click();
    await page.getByRole("button", { name: "Rename “Calm poet”" }).click();
    await page.getByLabel("Name of the preset").fill("Cold poet");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Done" }).click();
    // It counts in requests, and another tab has it too.
    await page.getByLabel("Ask something").fill("Hello");
    const [request] = await Promise.all([page.waitForRequest(/\/v1\/chat\/completions$/), page.keyboard.press("Enter")]);
    const { temperature, messages } = request.postDataJSON();
    check(temperature === 0.1 && messages[0].content === "Rhyme.", request.postData());
    await page.getByRole("button", { name: "Stop" }).click().catch(() => undefined);
    const other = await context.newPage();
    await other.goto(page.url());
    await other.getByText("Hello").first().waitFor();
    await other.getByRole("button", { name: "Parameters" }).click();
    const there = other.getByRole("combobox", { name: "Preset", exact: true });
    await until("the conversation's preset is shown", async () => (await there.inputValue()) === "Cold poet");
    await other.getByRole("button", { name: "Delete “Cold poet”" }).click();
    await other.getByText("Its system prompt and parameters are lost.").waitFor();
    await inspect(other, "the question before a preset is deleted");
    await other.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
    await until("it is deleted", async () => !(await there.innerText()).includes("Cold poet"));
    await parameters();
    await until("the first tab has it no longer", async () => {
      const names = await preset.innerText();
      return names.includes("Poet") && !names.includes("Cold");
    });
    // Presets of this browser, from before the server kept them, move there.
    const { presets: [poet] } = await json("/ui/v1/presets");
    check(poet.name === "Poet" && poet.body.system === "Rhyme.", JSON.stringify(poet));
    const old = { name: "Old", system: "Older.", parameters: { temperature: 0.5 } };
    await page.evaluate((list) => localStorage.setItem("mlxd.presets", JSON.stringify(list)), [old, { ...old, name: "Poet" }, 7]);
    await page.getByRole("button", { name: "Done" }).click();
    await parameters();
    await preset.selectOption("Old");
    check((await prompt.inputValue()) === "Older." && (await heat.inputValue()) === "0.5", "the old preset is lost");
    check((await page.evaluate(() => localStorage.getItem("mlxd.presets"))) === null, "it is in the browser still");
    const stored = (await json("/ui/v1/presets")).presets.map((one) => [one.name, one.body.system]);
    check(JSON.stringify(stored) === JSON.stringify([["Old", "Older."], ["Poet", "Rhyme."]]), JSON.stringify(stored));
  },

  async beside({ open, context }) {
    const other = "toy-qwen2";
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    await brief(page);
    const send = async (text) => {
      await page.getByLabel("Ask something").fill(text);
      await page.keyboard.press("Enter");
    };
    const pairs = page.locator(".pair");
    const stored = async () => (await json(`/ui/v1/chats/${page.url().split("/").at(-1)}`)).body;
    await send("What is the capital of France?");
    await page.locator("article.assistant .text").waitFor();
    await settled(page);
    // From here on two models are asked. What was said before belongs to both.
    await page.getByRole("button", { name: "Compare with a second model" }).press("Enter");
    await page.getByRole("button", { name: /^Second model/ }).press("Enter");
    await page.getByLabel("Search models").fill(other);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: `Second model: ${other}` }).waitFor();
    await send("Name three colours.");
    await page.waitForFunction(() => document.querySelectorAll(".pair .figures").length === 2);
    await settled(page);
    check((await page.locator("article.user").filter({ hasText: "Name three colours." }).count()) === 1, "the question is shown twice");
    for (const [place, name] of [[0, model], [1, other]]) {
      const column = pairs.locator("> div").nth(place);
      check((await column.locator(".model").innerText()) === name, `column ${place} is not ${name}'s`);
      check(/\d+ tokens · [\d.]+ tokens\/s/.test(await column.locator(".figures").innerText()), `no figures of ${name}`);
    }
    // Each model goes on with its own answer.
    const asked = [];
    page.on("request", (request) => {
      if (/chat\/completions$/.test(request.url())) asked.push(request.postDataJSON());
    });
    await send("And three more.");
    await until("both are asked", () => asked.length === 2);
    await page.waitForFunction(() => document.querySelectorAll(".pair .figures").length === 4);
    check(asked.map((one) => one.model).sort().join() === [model, other].sort().join(), "not each model is asked once");
    check(asked[0].messages[3].content !== asked[1].messages[3].content, "both go on with one answer");
    check((await page.locator("article.user").filter({ hasText: "And three more." }).count()) === 1, "the question is shown twice");
    // Another answer of one model leaves the other's alone.
    await pairs.last().locator("> div").nth(1).getByRole("button", { name: "Another answer" }).click();
    await until("one is asked", () => asked.length === 3 && asked[2].model === other);
    await settled(page);
    await pairs.last().locator("> div").nth(1).getByText("2/2").waitFor();
    check((await pairs.last().locator("> div").first().locator(".branches").count()) === 0, "the first column has branches");
    // An edited question is asked of both.
    await page.locator("article.user").last().getByRole("button", { name: "Edit", exact: true }).click();
    await page.getByLabel("Edit the message").fill("And two more.");
    await page.locator("article.user").getByRole("button", { name: "Send" }).click();
    await until("both are asked again", () => asked.length === 5);
    await settled(page);
    check((await pairs.count()) === 2 && (await page.getByText("And three more.").count()) === 0, "the edit is not in both columns");
    // All of it is there again; at 360 pixels one answer stands below the other.
    await until("it is stored", async () => (await stored()).turns.every((turn) => turn.state === "done"));
    await page.reload();
    await page.waitForFunction(() => document.querySelectorAll(".pair .figures").length === 4);
    await page.getByRole("button", { name: `Second model: ${other}` }).waitFor();
    const tops = () => pairs.last().locator("> div").evaluateAll((cells) => cells.map((cell) => cell.getBoundingClientRect().top));
    for (const [width, height, colorScheme] of [[1024, 768, "dark"], [2560, 1440, "light"], [360, 640, "light"]]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await inspect(page, `two models at ${width}`);
      const [left, right] = await tops();
      check(width === 360 ? right > left : right === left, `the columns at ${width}: ${left}, ${right}`);
    }
    await page.getByRole("button", { name: /^Second model/ }).click();
    const box = await page.locator(".picker .list").boundingBox();
    check(box.x >= 0 && box.x + box.width <= 360, `the list of models is outside: ${JSON.stringify(box)}`);
    await page.keyboard.press("Escape");
    // Without the first model the second one goes on alone.
    await page.getByRole("button", { name: `Go on without ${model}` }).click();
    await page.getByRole("button", { name: `Model: ${other}` }).waitFor();
    check((await pairs.count()) === 0, "there are two columns");
    await until("it is stored", async () => {
      const { model: only, beside } = await stored();
      return only === other && beside === undefined;
    });
  },

  /** Both answers are stopped at once, and both are read again after their page was closed. */
  async besideLong({ open, context }) {
    const page = await open();
    await page.getByRole("button", { name: model }).waitFor();
    await page.getByRole("button", { name: "Compare with a second model" }).click();
    await page.getByRole("button", { name: /^Second model/ }).click();
    await page.locator("li button").filter({ hasText: model }).click();
    await page.getByLabel("Ask something").fill("Write a very long story about the sea, with many chapters.");
    await page.keyboard.press("Enter");
    const texts = (tab) => tab.locator(".pair .text").evaluateAll((all) => all.map((one) => one.innerText.length));
    await until("both answer", async () => (await texts(page)).length === 2);
    await until("it is stored", async () => (await json("/ui/v1/chats")).chats.length === 1);
    const [{ id }] = (await json("/ui/v1/chats")).chats;
    await until("both answers are stored", async () =>
      (await json(`/ui/v1/chats/${id}`)).body.turns.filter((turn) => turn.request).length === 2);
    const address = page.url();
    const before = await texts(page);
    await page.close();
    const again = await context.newPage();
    await again.goto(address);
    await until("both go on", async () => {
      const now = await texts(again);
      return now.length === 2 && now.every((length, place) => length > before[place] + 20);
    });
    await again.keyboard.press("Escape");
    await settled(again);
    check((await again.getByText("Stopped.").count()) === 2, "not both were stopped");
    await until("the worker stops too", async () => (await json(`/admin/v1/models/${model}`)).workers[0].running === 0);
  },
};

await run(cases, name, base, program);
