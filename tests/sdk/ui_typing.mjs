// Measures how long a key takes to the next paint, in a conversation of 400 messages while 100 tokens a second arrive.
// node tests/sdk/ui_typing.mjs ADDRESS BROWSER, with MLXD_TEST_NODE as in the tests. The tokens are this script's own.
import { createServer, request } from "node:http";
import { body, check, launch } from "./ui_page.mjs";

const [server, program] = process.argv.slice(2);
const [MESSAGES, TOKENS_PER_SECOND, KEYS, KEY_MS] = [400, 100, 120, 90];
const WORDS = "The **quick** brown fox `jumps` over the lazy dog, and then it rests for a while. ".split(/(?<= )/);

/** A server of the page whose answers are tokens without an end. */
const front = createServer((incoming, outgoing) => {
  const target = new URL(incoming.url, server);
  if (target.pathname === "/v1/chat/completions") return stream(outgoing);
  const headers = { ...incoming.headers, host: target.host, ...(incoming.headers.origin ? { origin: target.origin } : {}) };
  const passed = request(target, { method: incoming.method, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.pipe(outgoing);
  });
  passed.on("error", () => outgoing.destroy());
  outgoing.on("close", () => passed.destroy());
  return incoming.pipe(passed);
});

function stream(outgoing) {
  outgoing.writeHead(200, { "content-type": "text/event-stream" });
  let sent = 0;
  const timer = setInterval(() => {
    const content = sent % 60 === 59 ? "\n\n" : WORDS[sent % WORDS.length];
    sent += 1;
    outgoing.write(`data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`);
  }, 1000 / TOKENS_PER_SECOND);
  outgoing.on("close", () => clearInterval(timer));
}

const turn = (place) => ({ id: `t${place}`, parent: place ? `t${place - 1}` : null, role: place % 2 ? "assistant" : "user", at: 0, state: "done",
  text: place % 2 ? `${WORDS.join("")}\n\n- one\n- two\n\n\`\`\`js\nconst a = ${place};\n\`\`\`\n\n${WORDS.join("").repeat(3)}` : `Question ${place}?` });

await new Promise((resolve) => front.listen(0, "127.0.0.1", resolve));
const base = `http://127.0.0.1:${front.address().port}`;
const turns = Array.from({ length: MESSAGES }, (_, place) => turn(place));
const parameters = { temperature: null, top_p: null, top_k: null, min_p: null, max_tokens: null, seed: null, repetition_penalty: null, stop: "",
  reasoning_effort: "" };
const id = `typing-${Date.now()}`;
const stored = await fetch(`${base}/ui/v1/chats/${id}`, { method: "PUT",
  ...body({ title: id, revision: 0, body: { model: "any", system: "", parameters, turns, leaf: turns.at(-1).id } }) });
check(stored.ok, await stored.text());

const browser = await launch(base, program, { viewport: { width: 1280, height: 800 } });
const page = await browser.open(`/#/chat/${id}`);
await page.locator("article.assistant pre").last().waitFor();
await page.getByLabel("Ask something").fill("Go on");
await page.keyboard.press("Enter");
await page.waitForFunction(() => document.querySelector("article[aria-busy=true] .text")?.innerText.length > 200);
await page.evaluate(() => {
  globalThis.delays = new Map();
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      // The events of one key have one id; the longest counts.
      if (entry.interactionId) globalThis.delays.set(entry.interactionId, Math.max(entry.duration, globalThis.delays.get(entry.interactionId) ?? 0));
    }
  }).observe({ type: "event", durationThreshold: 16 });
});
const session = await page.context().newCDPSession(page);
await session.send("Performance.enable");
const busy = async () => Object.fromEntries((await session.send("Performance.getMetrics")).metrics.map(({ name, value }) => [name, value]));
const before = await busy();
for (let key = 0; key < KEYS; key += 1) {
  await page.keyboard.type("abcdefgh "[key % 9], { delay: 10 });
  await page.waitForTimeout(KEY_MS);
}
const after = await busy();
// What took less than 16 ms is not reported.
const seen = (await page.evaluate(() => [...globalThis.delays.values()])).sort((a, b) => a - b);
const all = [...Array(Math.max(0, KEYS - seen.length)).fill(0), ...seen];
const at = (share) => all[Math.min(all.length - 1, Math.floor(all.length * share))] || "below 16";
const share = (name) => `${Math.round(((after[name] - before[name]) / (after.Timestamp - before.Timestamp)) * 100)} %`;
console.log(`key to next paint: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, of ${KEYS} keys in ${MESSAGES} messages at ${TOKENS_PER_SECOND} tokens/s`);
console.log(`the page's thread: ${share("TaskDuration")} busy, ${share("ScriptDuration")} scripts, ${share("LayoutDuration")} layout, ${share("RecalcStyleDuration")} styles`);
await fetch(`${base}/ui/v1/chats/${id}`, { method: "DELETE" });
await browser.end();
front.close();
front.closeAllConnections();
