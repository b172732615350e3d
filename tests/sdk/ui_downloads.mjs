// The search and the downloads of the page of models. Arguments: the server's address, a model, the browser's program, the name of a
// case. `stub` answers in the server's place, so that every state is seen; `hub` is over a real server and a hub of the tests.
import { check, inspect, run, until } from "./ui_page.mjs";

const [base, model, program, name] = process.argv.slice(2);
const DOWNLOADS = /\/admin\/v1\/downloads(\/|\?|$)/;

const download = (id, state, more = {}) => ({ id, model: `org/${id}`, revision: "main", state, bytes_done: 2 ** 30,
  bytes_total: 4 * 2 ** 30, bytes_per_second: 0, seconds_left: null, priority: "normal", error: null, created_at: 1, ...more });
const found = (id, verdict, more = {}) => ({ id, family: "llama", weight_bytes: 2 ** 30, memory_bytes: 2 ** 31, verdict, reason: null,
  gated: false, license: "mit", task: "text-generation", downloads: 1234, likes: 5, last_modified: "2026-10-01T00:00:00Z", tags: [], ...more });

/** A server that downloads, as far as the page sees it. Returns what it was asked for. */
async function stub(context, list) {
  const asked = [];
  await context.route(/\/admin\/v1\/hub\/search/, (route) => {
    asked.push(["search", new URL(route.request().url()).search]);
    const small = found("org/small", "fits", { gated: true });
    const large = found("org/large", "too_large", { memory_bytes: 2 ** 40 });
    return route.fulfill({ json: [small, large, found("org/odd", "not_served", { reason: "it has no weights" }), found(model, "fits")] });
  });
  await context.route(DOWNLOADS, (route) => {
    const request = route.request();
    const [, id] = /downloads\/([^?]+)/.exec(request.url()) ?? [];
    const method = request.method();
    if (method === "GET") return route.fulfill({ json: { downloads: list } });
    const order = request.postDataJSON() ?? {};
    asked.push([method, id ?? order.model, id ? (method === "DELETE" ? new URL(request.url()).search : order) : order.force]);
    if (method === "POST") {
      if (order.model === "org/refused") {
        return route.fulfill({ status: 409, json: { status: 409, title: "Conflict", detail: "the disk is full" } });
      }
      const id = order.model.split("/")[1];
      list.push(download(id, "queued", { bytes_done: 0, bytes_total: null }));
      return route.fulfill({ status: 202, json: list.at(-1) });
    }
    const at = list.findIndex((one) => one.id === id);
    if (method === "DELETE") return route.fulfill({ json: list.splice(at, 1)[0] });
    const { paused, ...change } = order;
    if (paused !== undefined) change.state = paused ? "paused" : "queued";
    list[at] = { ...list[at], ...change };
    return route.fulfill({ json: list[at] });
  });
  return asked;
}

const cases = {
  async stub({ open, context }) {
    const list = [
      download("running", "running", { bytes_per_second: 10 * 2 ** 20, seconds_left: 90 }),
      download("broken", "failed", { error: "the hub does not answer" }),
      download("complete", "done", { bytes_done: 4 * 2 ** 30 }),
    ];
    const asked = await stub(context, list);
    const page = await open("/#/models/downloads");
    const row = (id) => page.getByRole("article", { name: `org/${id}`, exact: true });
    await row("running").getByText("25 % · 1.0 GiB of 4.0 GiB · 10.0 MiB/s · 1 min 30 s left").waitFor();
    await row("broken").getByText("the hub does not answer").waitFor();
    await inspect(page, "the downloads");
    await row("running").getByRole("button", { name: "Pause" }).click();
    await row("running").getByText("paused").waitFor();
    await row("running").getByRole("button", { name: "Go on" }).click();
    await row("running").getByText("queued").waitFor();
    await row("running").getByLabel("Priority").selectOption("high");
    await row("broken").getByRole("button", { name: "Try again" }).click();
    await row("broken").getByText("queued").waitFor();
    // What has come is deleted only where that is said.
    await row("running").getByRole("button", { name: "Cancel" }).click();
    await page.getByText("1.0 GiB have come.").waitFor();
    await inspect(page, "the end of a download");
    await page.getByRole("button", { name: "Cancel and delete the part" }).click();
    await row("running").waitFor({ state: "detached" });
    await row("broken").getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: "Cancel and keep the part" }).click();
    await row("broken").waitFor({ state: "detached" });
    await row("complete").getByRole("button", { name: "Take off the list" }).click();
    await page.getByText("Nothing is being downloaded.").waitFor();
    const orders = JSON.stringify(asked);
    const expected = [["PATCH", "running", { paused: true }], ["PATCH", "running", { paused: false }],
      ["PATCH", "running", { priority: "high" }], ["PATCH", "broken", { paused: false }], ["DELETE", "running", ""],
      ["DELETE", "broken", "?keep=true"], ["DELETE", "complete", "?keep=true"]];
    check(orders === JSON.stringify(expected), orders);

    asked.length = 0;
    await page.getByRole("link", { name: "Discover" }).first().click();
    await row("small").getByText("gated").waitFor();
    check((await row("large").count()) === 0, "what does not fit is shown");
    await page.getByRole("article", { name: model }).getByText("on this machine").waitFor();
    await page.getByLabel("Only what fits this machine").uncheck();
    await row("large").waitFor();
    await inspect(page, "the search");
    await page.getByLabel("Words of the name").fill("qwen3 4bit");
    await page.getByLabel("Organisation or user").fill("org");
    await page.getByLabel("Order").selectOption("likes");
    await until("it has searched", async () => asked.length > 1);
    check(asked[1][1] === "?query=qwen3+4bit&author=org&sort=likes&limit=20", asked[1][1]);
    await row("small").getByRole("button", { name: "Download" }).click();
    await row("small").getByRole("link", { name: "queued" }).waitFor();
    await row("odd").getByRole("button", { name: "Download" }).click();
    await page.getByText("mlxd cannot serve it: it has no weights").waitFor();
    await page.getByRole("button", { name: "Download all the same" }).click();
    await row("odd").getByRole("link", { name: "queued" }).waitFor();
    await row("large").getByRole("button", { name: "Download" }).click();
    await page.getByText(/It needs 1.0 TiB of memory/).waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    // A name of the hub needs no search, and stays in its field where the server refuses it.
    await page.getByLabel("Words of the name").fill("org/refused");
    await page.getByText("org/refused is a name of the hub.").waitFor();
    await page.getByRole("button", { name: "Download", exact: true }).first().click();
    await page.getByRole("alert").filter({ hasText: "the disk is full" }).waitFor();
    check((await page.getByLabel("Words of the name").inputValue()) === "org/refused", "the name is lost");
    const posts = JSON.stringify(asked.filter(([method]) => method === "POST"));
    check(posts === JSON.stringify([["POST", "org/small", null], ["POST", "org/odd", true], ["POST", "org/refused", null]]), posts);
  },

  /** Thousands of results and downloads stay usable. */
  async many({ open, context }) {
    const list = Array.from({ length: 500 }, (_, place) => download(`d${place}`, "done"));
    await stub(context, list);
    const page = await open("/#/models/downloads");
    await page.getByRole("article", { name: "org/d499", exact: true }).getByText("complete").waitFor();
    const start = Date.now();
    await page.getByRole("link", { name: "On this machine" }).click();
    await page.getByRole("article", { name: model }).waitFor();
    check(Date.now() - start < 3000, "the page hangs");
  },

  async absent({ open, context }) {
    await context.route(DOWNLOADS, (route) => route.fulfill({ status: 404, json: { status: 404, title: "Not Found", detail: "no" } }));
    const page = await open("/#/models/discover");
    await page.getByText("This server does not download models itself.").waitFor();
    await page.getByRole("link", { name: "On this machine" }).click();
    await page.getByRole("article", { name: model }).waitFor();
  },

  async hub({ open }) {
    const id = "mlx-community/toy-qwen2";
    const page = await open("/#/models/discover");
    const result = page.getByRole("article", { name: id });
    await page.getByLabel("Words of the name").fill("toy");
    await page.keyboard.press("Enter");
    await result.getByText("fits").waitFor();
    await result.getByRole("button", { name: "Download" }).click();
    await page.getByRole("link", { name: "Downloads" }).click();
    const row = page.getByRole("article", { name: id });
    await row.getByText(/KiB of|MiB of/).waitFor();
    await row.getByRole("button", { name: "Pause" }).click();
    await row.getByText("paused").waitFor();
    // It stays paused when the page comes anew, and goes on from there.
    await page.reload();
    await row.getByText("paused").waitFor();
    await row.getByRole("button", { name: "Go on" }).click();
    await row.getByText("complete").waitFor({ timeout: 60_000 });
    await row.getByRole("button", { name: "Take off the list" }).click();
    await page.getByText("Nothing is being downloaded.").waitFor();
    await page.getByRole("link", { name: "On this machine" }).click();
    const local = page.getByRole("article").filter({ hasText: id });
    await local.getByRole("button", { name: "Load" }).click();
    await local.getByText("ready").waitFor();
    // It is deleted while it is loaded, after the page has said what that frees.
    await local.getByRole("button", { name: `Delete ${id}` }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/\d MiB become free/).waitFor();
    await dialog.getByText("models--mlx-community--toy-qwen2").waitFor();
    await inspect(page, "the question before a model is deleted");
    await dialog.getByRole("button", { name: "Delete from disk" }).click();
    await dialog.waitFor({ state: "detached" });
    await local.waitFor({ state: "detached" });
    check(!(await (await fetch(`${base}/v1/models`)).text()).includes(id), "it is still there");
    // One in a folder that a person manages is not mlxd's to delete.
    await page.getByRole("button", { name: `Delete ${model}`, exact: true }).click();
    await dialog.getByRole("alert").filter({ hasText: "which mlxd does not manage" }).waitFor();
    check((await dialog.getByRole("button", { name: "Delete from disk" }).count()) === 0, "it can be deleted");
  },
};

await run(cases, name, base, program);
