// The page of benchmarks in a real browser, over a real server. Arguments: the server's address, a model, the browser's program, the
// name of a case.
import { readFile } from "node:fs/promises";
import { check, inspect, run, until } from "./ui_page.mjs";

const [base, model, program, name] = process.argv.slice(2);

const running = async () => (await (await fetch(`${base}/admin/v1/models/${model}`)).json()).workers[0]?.running ?? 0;

const cases = {
  /** A measurement is run, drawn, kept, compared, exported and cancelled. */
  async measure({ open }) {
    const page = await open("/#/bench");
    const runs = page.getByRole("region", { name: "Measurements" });
    await page.getByText("Nothing is measured yet.").waitFor();
    check((await page.getByRole("combobox", { name: "Model", exact: true }).inputValue()) === model, "it is another model");
    await page.getByLabel("Lengths of prompts, in tokens").fill("32, 48, 1000000");
    await page.getByLabel("Requests at once").fill("1, 9x");
    await page.getByLabel("Tokens of each answer").fill("4");
    await page.getByRole("button", { name: "Measure", exact: true }).click();
    await page.getByRole("alert").filter({ hasText: "Requests at once: whole numbers from 1 to 16" }).waitFor();
    check((await page.getByLabel("Requests at once").inputValue()) === "1, 9x", "the form forgot what was typed");
    await page.getByLabel("Requests at once").fill("1, 8");
    await page.getByRole("button", { name: "Measure", exact: true }).press("Enter");
    await page.getByRole("progressbar").waitFor();
    const figures = runs.getByRole("region", { name: "Figures" }).getByRole("row");
    await figures.nth(4).waitFor();
    check((await figures.count()) === 5, "not two lengths with two numbers of streams");
    await page.getByText(/Left out, since the model takes .*: 1,000,000\./).waitFor();
    check((await runs.getByRole("listitem").count()) === 12, "not three charts of four bars");
    await runs.getByLabel(/48 tokens, 8 at once: [\d.,]+/).first().waitFor();
    // The numbers of a report are those of `mlxd bench`.
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
    const report = JSON.parse(await readFile(await file.path(), "utf8"));
    const last = report.rows[3];
    check(report.model === model && report.tokens === 4 && last.streams === 8 && last.context === 48, JSON.stringify(report));
    check(last.ttft_ms > 0 && last.slowest_ttft_ms >= last.ttft_ms && last.decode_per_second > 0
      && last.all_per_second > 0 && last.footprint_bytes > 0, JSON.stringify(last));
    // A second one is compared with it, and both are there after a reload.
    await page.getByLabel("Lengths of prompts, in tokens").fill("32");
    await page.getByLabel("Requests at once").fill("1");
    await page.getByRole("button", { name: "Measure", exact: true }).click();
    await until("it is compared", async () => (await figures.count()) === 2 && (await page.getByLabel("Compare with").inputValue()) === "1");
    await page.reload();
    check((await page.getByRole("combobox", { name: "Measurement", exact: true }).locator("option").count()) === 2, "a measurement is lost");
    for (const [width, height, colorScheme] of [[1024, 768, "dark"], [2560, 1440, "light"], [360, 640, "light"]]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await inspect(page, `benchmarks at ${width}`);
    }
    // One that is cancelled stops its worker and keeps nothing.
    await page.getByLabel("Tokens of each answer").fill("4096");
    await page.getByRole("button", { name: "Measure", exact: true }).click();
    await page.getByText("128 tokens, 1 at once").waitFor();
    await until("it runs", async () => (await running()) > 0);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Nothing is kept of this measurement.").waitFor();
    await until("the worker stops too", async () => (await running()) === 0);
    await page.getByRole("button", { name: "Delete this measurement" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
    await until("it is gone", async () => (await page.getByRole("combobox", { name: "Measurement", exact: true }).locator("option").count()) === 1);
  },
};

await run(cases, name, base, program);
