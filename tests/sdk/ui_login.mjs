// Signing in to the web UI in a real browser. Arguments: the server's address, a model, the browser's program, the name of a case, and
// for `life` the one-time link.
import { check, inspect, launch, until } from "./ui_page.mjs";

const [base, , program, name, link] = process.argv.slice(2);
const PASSWORD = "correct horse battery";
const SIZES = [[360, 640, "light"], [1280, 800, "dark"]];

const title = (page, text) => page.getByRole("heading", { name: text, level: 1 });
const send = (page, text) => page.getByRole("button", { name: text, exact: true });

async function everywhere(page, what) {
  for (const [width, height, colorScheme] of SIZES) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await inspect(page, `${what} at ${width}, ${colorScheme}`);
  }
}

async function signIn(page, password = PASSWORD) {
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.keyboard.press("Enter");
}

/** What a password manager needs: a form with a name and a password, of the right kinds. */
async function fields(page, kind) {
  const kinds = await page.locator("form input").evaluateAll((all) => all.map((one) => one.autocomplete));
  check(kinds.join() === `username,${kind}`, kinds.join());
  check((await page.locator("form").getAttribute("method")) === "post", "the form is no form for passwords");
}

const cases = {
  /** From the one-time link on: sign out, wrong passwords, sessions that are ended elsewhere. */
  async life() {
    const { open, context, end } = await launch(base, program);
    const page = await open(link.slice(base.length));
    await title(page, "Set a password").waitFor();
    check(!page.url().includes("setup"), `the token is still in the address: ${page.url()}`);
    await fields(page, "new-password");
    await everywhere(page, "the set-up");
    const first = page.getByLabel("New password", { exact: true });
    check(await first.evaluate((one) => one === document.activeElement), "the field has no focus");
    await first.fill("short");
    await send(page, "Set it and sign in").click();
    await page.getByRole("alert").filter({ hasText: "at least 8 characters" }).waitFor();
    check((await first.getAttribute("aria-invalid")) === "true", "the field is not marked");
    await inspect(page, "a refused password");
    await page.getByRole("button", { name: /^Show/ }).click();
    check((await first.getAttribute("type")) === "text", "it cannot be seen");
    await first.fill(PASSWORD);
    await page.keyboard.press("Enter");
    await page.getByLabel("Ask something").waitFor();
    const cookies = await context.cookies();
    check(cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite === "Strict", JSON.stringify(cookies));
    check(!(await page.evaluate(() => document.cookie + JSON.stringify([localStorage, sessionStorage]))).includes(cookies[0].value.slice(-20)),
      "a script can read the session");
    check(!(await page.content()).includes(PASSWORD), "the password is still in the page");

    // Signed out, and back with a wrong password first.
    await send(page, "Sign out").first().click();
    await title(page, "Sign in").waitFor();
    await fields(page, "current-password");
    await everywhere(page, "the sign-in");
    for (let tries = 0; tries < 5; tries += 1) {
      await signIn(page, `wrong ${tries}`);
      await page.getByRole("alert").filter({ hasText: "not the password" }).waitFor();
      await page.getByLabel("Password", { exact: true }).fill("");
    }
    await signIn(page);
    await page.getByRole("alert").filter({ hasText: /possible in \d+ s/ }).waitFor();
    check(await send(page, "Sign in").isDisabled(), "another try is possible");
    await inspect(page, "the wait");
    await until("the wait is over", () => send(page, "Sign in").isEnabled());
    await signIn(page);
    await page.getByLabel("Ask something").waitFor();

    // Another browser ends this one's session. What is typed stays, and what was asked for meanwhile is done afterwards.
    const other = await launch(base, program);
    const desk = await other.open("/#/settings");
    await signIn(desk);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.goto(`${base}/#/keys`);
    await page.getByText("There are no keys").waitFor();
    await send(page, "New key").click();
    await page.getByLabel("Name", { exact: true }).fill("half a na");
    await desk.locator(".tag", { hasText: "This browser" }).waitFor();
    await everywhere(desk, "the settings of the sign-in");
    const sessions = desk.getByRole("list", { name: "Signed in" }).getByRole("listitem");
    check((await sessions.count()) === 2, `${await sessions.count()} sessions`);
    await sessions.filter({ hasNotText: "This browser" }).getByRole("button").click();
    await until("one is left", async () => (await sessions.count()) === 1);
    await title(page, "Sign in").waitFor();
    await everywhere(page, "the sign-in above a dialog");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    // A browser may insist on closing it. It comes back.
    await page.waitForTimeout(200);
    await title(page, "Sign in").waitFor();
    await signIn(page);
    await title(page, "Sign in").waitFor({ state: "detached" });
    check((await page.getByLabel("Name", { exact: true }).inputValue()) === "half a na", "what was typed is lost");
    await send(page, "Make the key").click();
    await page.locator("code.secret").waitFor();

    // Another password ends the other sessions. A question that is half written stays.
    await page.goto(`${base}/#/chat`);
    await page.getByLabel("Ask something").fill("Half a ques");
    await desk.getByRole("button", { name: "Change the password" }).click();
    await desk.getByLabel("Present password").fill("wrong");
    await desk.getByLabel("New password", { exact: true }).fill("another horse battery");
    await desk.getByRole("button", { name: "Change the password" }).click();
    await desk.getByRole("alert").filter({ hasText: "not the password" }).waitFor();
    check((await desk.getByLabel("Present password").getAttribute("aria-invalid")) === "true", "the field is not marked");
    await desk.getByLabel("Present password").fill(PASSWORD);
    await desk.getByRole("button", { name: "Change the password" }).click();
    await desk.getByText("The password is set.").waitFor();
    await title(page, "Sign in").waitFor();
    await signIn(page, "another horse battery");
    await title(page, "Sign in").waitFor({ state: "detached" });
    check((await page.getByLabel("Ask something").inputValue()) === "Half a ques", "the question is lost");
    await other.end();
    await end();
  },

  /** The first password of an open server closes it, and the page goes on. */
  async open() {
    const { open, context, end } = await launch(base, program);
    const page = await open("/#/settings");
    const tab = await open("/#/chat");
    await page.getByText("There is no password yet").waitFor();
    await inspect(page, "settings without a password");
    await page.getByLabel("New password", { exact: true }).fill(PASSWORD);
    await send(page, "Set a password").click();
    await page.getByText("The password is set.").waitFor();
    await page.getByText("signed in by the password").waitFor();
    check((await fetch(`${base}/v1/models`)).status === 401, "the server is open");
    // The cookie is this browser's, so the other tab goes on.
    await tab.reload();
    await tab.getByLabel("Ask something").waitFor();
    await context.clearCookies();
    await tab.reload();
    await title(tab, "Sign in").waitFor();
    await tab.getByLabel("Language").selectOption("de");
    await title(tab, "Anmelden").waitFor();
    await inspect(tab, "the sign-in in German");
    await tab.getByRole("button", { name: "API-Schlüssel benutzen", exact: true }).click();
    await title(tab, "API-Schlüssel benutzen").waitFor();
    await tab.getByRole("button", { name: "Passwort benutzen" }).click();
    await tab.getByLabel("Passwort", { exact: true }).fill(PASSWORD);
    await tab.keyboard.press("Enter");
    await tab.getByRole("heading", { name: "Was" }).or(tab.locator("textarea")).first().waitFor();
    await end();
  },
};

await cases[name]();
console.log("all checks passed");
