// Pages of other origins try to use the session of a browser that has signed in: one on another port of the same host, whose requests
// carry the cookie, and one of another site. Then a name that resolves to this machine. Arguments: the server's address, a model, the
// browser's program, the password, a port for the pages.
import http from "node:http";
import { load } from "./packages.mjs";

const [base, model, program, password, port] = process.argv.slice(2);
const { chromium } = await load("playwright-core");
const server = new URL(base);
const order = `/admin/v1/models/${encodeURIComponent(model)}/load`;

const check = (holds, text) => {
  if (!holds) throw new Error(text);
};
const page_text = `<!doctype html><form id=form method=post enctype=text/plain target=frame action="${base}${order}"></form>
  <iframe name=frame></iframe><img src="${base}/admin/v1/keys">`;
const site = http.createServer((_, answer) => answer.setHeader("content-type", "text/html").end(page_text));
await new Promise((resolve) => site.listen(Number(port), "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: program,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP evil.test 127.0.0.1"],
});
try {
  const context = await browser.newContext();
  const own = await context.newPage();
  await own.goto(`${base}/`);
  const call = (page, path, method = "GET", body = undefined, more = {}) =>
    page.evaluate(async ([url, init]) => {
      const answer = await fetch(url, init).catch(() => null);
      return answer && { status: answer.status, type: answer.type, text: await answer.text().catch(() => "") };
    }, [path, { method, body, ...more }]);
  const signed = await call(own, "/admin/v1/session", "POST", JSON.stringify({ password }));
  check(signed.status === 200, `signing in: ${signed.status} ${signed.text}`);
  const mark = { headers: { "x-mlxd-page": "1" } };
  check((await call(own, "/v1/models", "GET", undefined, mark)).status === 200, "the session does not count");

  const statuses = [];
  context.on("response", (response) => {
    if (!response.url().startsWith(base)) return;
    statuses.push([response.request().method(), new URL(response.url()).pathname, response.status()]);
  });
  const calls = [
    ["POST", order, "{}"], ["POST", "/v1/completions", `{"model": "${model}", "prompt": "a", "max_tokens": 1}`],
    ["POST", "/admin/v1/password", `{"old": "${password}", "new": "taken over by another"}`],
    ["POST", "/admin/v1/session", JSON.stringify({ password })], ["POST", "/admin/v1/keys", `{"name": "theirs", "scopes": ["admin"]}`],
    ["GET", "/admin/v1/keys"], ["GET", "/admin/v1/events"], ["GET", "/v1/models"],
    ["PUT", "/admin/v1/routes", `{"routes": []}`], ["PATCH", "/admin/v1/settings", "{}"], ["DELETE", "/admin/v1/session"],
  ];
  // The same host on another port is the same site: SameSite does not keep the cookie back.
  for (const origin of [`http://${server.hostname}:${port}`, `http://localhost:${port}`]) {
    const page = await context.newPage();
    await page.goto(`${origin}/`);
    for (const [method, path, body] of calls) {
      const simple = method === "GET" || method === "POST";
      for (const init of [{ mode: "no-cors", credentials: "include" }, { credentials: "include", ...mark }, { credentials: "include" }]) {
        if (!simple && init.mode) continue;
        await call(page, `${base}${path}`, method, body, init);
      }
    }
    await page.evaluate(() => document.getElementById("form").submit());
    await page.waitForTimeout(300);
    await page.close();
  }
  await own.waitForTimeout(300);
  console.log(JSON.stringify(statuses));
  const served = statuses.filter(([, path, status]) => status < 400 && path !== "/" && !path.startsWith("/ui/assets/"));
  check(served.length === 0, `served to a foreign page: ${JSON.stringify(served)}`);
  // Without the cookie of a session it would be a 401.
  const carried = statuses.filter(([, path, status]) => path === "/v1/models" && status === 403);
  check(statuses.length > 15 && carried.length > 0, "the requests did not reach the server with the cookie");
  const keys = await call(own, "/admin/v1/keys", "GET", undefined, mark);
  check(keys.status === 200 && JSON.parse(keys.text).keys.length === 0, `the session or the keys: ${keys.text}`);
  const state = await call(own, `/admin/v1/models/${encodeURIComponent(model)}`, "GET", undefined, mark);
  check(JSON.parse(state.text).state === "stopped", "a foreign page loaded a model");

  // A name of somebody else that resolves to this machine: all is of one origin, and nobody signs in.
  const rebound = await context.newPage();
  await rebound.goto(`http://evil.test:${server.port}/`);
  const refused = await call(rebound, "/admin/v1/session", "POST", JSON.stringify({ password }), mark);
  check(refused.status === 403 && refused.text.includes("evil.test"), `${refused.status} ${refused.text}`);
  check((await call(rebound, "/v1/models", "GET", undefined, mark)).status === 401, "it has a session");
} finally {
  await browser.close();
  site.close();
}
console.log("all checks passed");
