// One scenario of a person at the status page: node page.mjs SCENARIO GATEWAY_URL TOKEN KERNELS SCREENSHOT_DIRECTORY
// KERNELS is JSON: the ids of kernels that are idle, busy, dead, and of one with a hostile name. Exits 0 when everything was seen.
import assert from "node:assert/strict";
import { join } from "node:path";
import { chromium, options, require } from "./chromium.mjs";

const axe = require("axe-core").source;
const [, , name, url, token, kernelsJson, shots] = process.argv;
const kernels = JSON.parse(kernelsJson);
const address = `${url}/elara`;
const browser = await chromium.launch(options);

/** A page of a browser of its own, whose user types the token when asked. */
async function open(more = {}, at = address) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, httpCredentials: { username: "me", password: token }, ...more });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  page.problems = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) page.problems.push(message.text()); });
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("dialog", (dialog) => { page.problems.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.answer = await page.goto(at);
  return page;
}

const shot = (page, what) => page.screenshot({ path: join(shots, `status-page-${what}.png`), fullPage: true });
const row = (page, id) => page.getByRole("row").filter({ hasText: id });
const told = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();

async function checkAccessible(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document));
  assert.deepEqual(violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html) })), []);
}

/** Presses Tab until what has the focus is called so; the focus must be seen wherever it is. */
async function tabTo(page, wanted) {
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    const { text, outline } = await page.evaluate(() => {
      const active = document.activeElement;
      return { text: active.innerText, outline: getComputedStyle(active).outlineStyle };
    });
    if (text === undefined || text === "") continue; // the browser's own
    assert.equal(outline, "solid", `the focus on "${text}" is not seen`);
    if (wanted.test(text)) return;
  }
  assert.fail(`Tab does not lead to ${wanted}`);
}

async function checkWidth(page, width) {
  await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
  const wide = await page.evaluate((limit) => [...document.querySelectorAll("main *")]
    .filter((element) => !element.closest(".heard, thead") && element.getBoundingClientRect().right > limit).map((element) => element.outerHTML), width);
  assert.deepEqual(wide, []);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= width);
}

const scenarios = {
  async reads() {
    const page = await open();
    await page.getByRole("heading", { name: "Kernels" }).waitFor();
    const table = page.getByRole("table", { name: "All kernels" });
    assert.equal(await table.getByRole("row").count(), 1 + Object.keys(kernels).length);
    for (const heading of ["Kernel", "Owner", "State", "Age", "Idle", "Next cull", "Memory", "CPU time", "Actions"])
      await table.getByRole("columnheader", { name: heading, exact: true }).waitFor();
    const heights = await page.locator("th[scope=col], button").evaluateAll((all) => all.map((one) => one.offsetHeight));
    assert.ok(Math.max(...heights) < 48, `broken into several lines: ${heights}`);
    await row(page, kernels.idle).getByRole("cell", { name: "idle", exact: true }).waitFor();
    await row(page, kernels.idle).getByRole("cell", { name: "anna", exact: true }).waitFor();
    await row(page, kernels.busy).getByRole("cell", { name: "busy", exact: true }).waitFor();
    await row(page, kernels.dead).getByText("no-such-program").first().waitFor();
    await checkAccessible(page);
    assert.deepEqual(page.problems.filter((text) => !/401/.test(text)), []); // the browser notes that it was asked for the token
    await page.locator("main").screenshot({ path: join(shots, "status-page-light.png") });
  },

  async isDark() {
    const page = await open({ colorScheme: "dark" });
    const [paper, ink] = await page.evaluate(() => {
      const style = getComputedStyle(document.body);
      return [style.backgroundColor, style.color].map((color) => Math.max(...color.match(/\d+/g).slice(0, 3).map(Number)));
    });
    assert.ok(paper < 60 && ink > 180, `${ink} on ${paper}`);
    await checkAccessible(page);
    await shot(page, "dark");
  },

  async fitsIntoANarrowWindow() {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open({ viewport: { width: 320, height: 640 }, colorScheme });
      assert.equal(await page.getByRole("table", { name: "All kernels" }).getByRole("row").count(), 1 + Object.keys(kernels).length, "cards are rows still");
      await checkAccessible(page);
      await shot(page, `narrow-${colorScheme}`);
      await checkWidth(page, 320);
    }
    for (const width of [400, 768, 1024]) await checkWidth(await open({ viewport: { width, height: 640 } }), width);
  },

  async actsByKeyboard() {
    const page = await open();
    await tabTo(page, new RegExp(`^Interrupt\\s+kernel ${kernels.idle}`));
    await page.keyboard.press("Enter");
    await told(page, `Kernel ${kernels.idle} was interrupted.`);
    await tabTo(page, new RegExp(`^End …\\s+kernel ${kernels.idle}`));
    assert.equal(await row(page, kernels.idle).getByRole("button", { name: "Delete" }).count(), 0, "one step further than the rest");
    await page.keyboard.press("Enter");
    await tabTo(page, new RegExp(`^Restart\\s+kernel ${kernels.idle}`));
    await page.keyboard.press("Space");
    await told(page, `Kernel ${kernels.idle} was restarted.`);
    await tabTo(page, new RegExp(`^End …\\s+kernel ${kernels.idle}`));
    await page.keyboard.press("Space");
    await tabTo(page, new RegExp(`^Delete\\s+kernel ${kernels.idle}`));
    await page.keyboard.press("Enter");
    await told(page, `Kernel ${kernels.idle} was ended and deleted.`);
    assert.equal(await row(page, kernels.idle).count(), 0);
    await page.reload(); // does nothing a second time
    await tabTo(page, /^Refresh$/);
    await page.keyboard.press("Enter");
    await page.waitForURL(/from=0$/);
    assert.equal(await page.getByRole("status").count(), 0);
  },

  async worksWithoutScripts() {
    const page = await open({ javaScriptEnabled: false });
    await row(page, kernels.idle).getByRole("button", { name: "Interrupt" }).click();
    await told(page, "was interrupted");
    await row(page, kernels.idle).getByText("End …").click();
    await row(page, kernels.idle).getByRole("button", { name: "Delete" }).click();
    await told(page, "was ended and deleted");
    assert.equal(await row(page, kernels.idle).count(), 0);
  },

  /** The name is made of everything that has ever become a script somewhere. */
  async showsHostileNamesAsText() {
    const page = await open();
    await row(page, kernels.hostile).getByText("<script>document.title='taken'</script>").first().waitFor();
    assert.equal(await page.title(), "Elara: kernels");
    assert.equal(await page.locator("script, img, iframe, svg").count(), 0);
    assert.deepEqual(page.problems.filter((text) => !/401/.test(text)), [], "nothing was even stopped by the policy");
    await row(page, kernels.hostile).getByText("End …").click();
    await row(page, kernels.hostile).getByRole("button", { name: "Delete" }).click();
    await told(page, `Kernel ${kernels.hostile} was ended and deleted.`);
  },

  /** A page elsewhere, open in the same browser, which knows the token by now. */
  async isOutOfReachOfOtherSites() {
    const page = await open();
    const evil = await page.context().newPage();
    await evil.route("http://evil.example/**", (route) => route.fulfill({ contentType: "text/html", body:
      `<form method="post" action="${address}?do=delete&amp;kernel=${kernels.idle}"><button>Win</button></form><iframe src="${address}"></iframe>` }));
    await evil.goto("http://evil.example/");
    const framed = evil.frames()[1];
    assert.ok(!framed || await framed.getByText(kernels.idle).count() === 0, "shown in somebody else's page");
    const answered = evil.waitForResponse((response) => response.request().method() === "POST");
    await evil.getByRole("button", { name: "Win" }).click();
    assert.equal((await answered).status(), 403);
    await evil.getByRole("heading", { name: "403 Forbidden" }).waitFor();
    await checkAccessible(evil);
    await page.reload();
    assert.equal(await row(page, kernels.idle).count(), 1);
  },

  async asksForTheToken() {
    await assert.rejects(open({ httpCredentials: undefined }), /ERR_INVALID_AUTH_CREDENTIALS/); // somebody would be asked here
    const refused = await open({ httpCredentials: { username: "me", password: "wrong" } });
    assert.equal(refused.answer.status(), 401);
    await refused.getByText("the token is not known").waitFor();
    await checkAccessible(refused);
    assert.equal((await (await open()).context().cookies()).length, 0);
  },
};

let failed = null;
try {
  await scenarios[name]();
} catch (error) {
  failed = error;
  for (const context of browser.contexts())
    for (const page of context.pages()) await shot(page, `${name}-failed`).catch(() => {});
}
await browser.close();
if (failed) console.error(failed);
process.exit(failed ? 1 : 0);
