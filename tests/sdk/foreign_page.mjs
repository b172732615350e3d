// A page of another origin tries everything that a page can send to a server on this machine; then a listed page does the same.
// Arguments: the server's address, an idle model, the browser's program, "refused" or "served", the page's port.
import http from "node:http";
import { load } from "./packages.mjs";

const [base, model, browserPath, expected, port] = process.argv.slice(2);
const { chromium } = await load("playwright-core");

const state = async () => {
  const answer = await fetch(`${base}/admin/v1/models/${encodeURIComponent(model)}`);
  return (await answer.json()).state;
};

const page_text = `<!doctype html><form id=form method=post enctype=text/plain target=frame
  action="${base}/admin/v1/models/${model}/load"></form><iframe name=frame></iframe>`;
const site = http.createServer((_, answer) => answer.setHeader("content-type", "text/html").end(page_text));
await new Promise((resolve) => site.listen(Number(port), "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: browserPath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage();
  const statuses = [];
  page.on("response", (response) => {
    if (response.url().startsWith(base)) statuses.push([response.request().method(), response.status()]);
  });
  // Another site than 127.0.0.1: a site is a name without its port.
  await page.goto(`http://localhost:${port}/`);
  // Requests that a page may send without a preflight, and one that needs it.
  const outcomes = await page.evaluate(async ([base, model]) => {
    const send = (path, options) =>
      fetch(base + path, options).then((answer) => answer.type === "opaque" ? "opaque" : answer.status, () => "failed");
    const order = `/admin/v1/models/${model}/load`;
    return [
      await send(order, { method: "POST", mode: "no-cors", body: "{}" }),
      await send(order, { method: "POST", mode: "no-cors", body: new URLSearchParams({ a: "b" }) }),
      await send("/v1/completions", { method: "POST", mode: "no-cors", body: `{"model": "${model}", "prompt": "a", "max_tokens": 1}` }),
      await send("/v1/models", { method: "GET", mode: "no-cors" }),
      await send(order, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }),
    ];
  }, [base, model]);
  await page.evaluate(() => document.getElementById("form").submit());
  await page.waitForTimeout(500);
  const refused = statuses.filter(([, status]) => status === 403).length;
  console.log(expected, JSON.stringify(outcomes), JSON.stringify(statuses), await state());
  if (expected === "refused") {
    if (statuses.some(([, status]) => status < 400)) throw new Error("a request of a foreign page was served");
    if (refused < 5) throw new Error(`only ${refused} refusals were seen`);
    if ((await state()) !== "stopped") throw new Error("a foreign page loaded a model");
  } else {
    // A GET without CORS does not name its page.
    const named = statuses.filter(([method, status]) => method !== "GET" && status === 403).length;
    if (named > 0) throw new Error("a listed page was refused");
    if (outcomes[4] !== 200 || (await state()) !== "ready") throw new Error("a listed page could not load the model");
  }
  // A person may follow a link from anywhere.
  const link = await page.goto(`${base}/docs`);
  if (link.status() !== 200) throw new Error(`a link to /docs was answered with ${link.status()}`);
} finally {
  await browser.close();
  site.close();
}
console.log("all checks passed");
