// A server of the Model Context Protocol on standard input and output, with one tool. It writes what it was asked into
// `asked.txt` of its first argument, a folder.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const tool = {
  name: "describe_plant",
  description: "Describes a plant.",
  inputSchema: { type: "object", properties: { plant: { type: "string" } }, required: ["plant"] },
};

const answers = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: "plants", version: "1.0.0" },
  }),
  ping: () => ({}),
  "tools/list": () => ({ tools: [tool] }),
  "tools/call": ({ arguments: { plant } }) => {
    writeFileSync(join(process.argv[2], "asked.txt"), plant);
    return { content: [{ type: "text", text: `The ${plant} smells of vanilla.` }] };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  // A message without an id is a notification.
  if (id === undefined) continue;
  const answer = answers[method];
  const body = answer ? { result: answer(params) } : { error: { code: -32601, message: `no ${method}` } };
  console.log(JSON.stringify({ jsonrpc: "2.0", id, ...body }));
}
