// One scenario of a person at JupyterLab, in a real browser: node lab.mjs SCENARIO LAB_URL SCREENSHOT_DIRECTORY
// Exits 0 when everything was seen; a failure says what was not, and leaves a screenshot too. What no browser can do (killing a gateway)
// it asks of test_lab.py: a line "@ACT" on stdout, answered by a line of JSON on stdin.
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium, options } from "./chromium.mjs";

const [, , name, url, shots] = process.argv;
// Other scenarios may come from another file, and a pod takes longer than a process.
const { scenarios } = await import(process.env.SCENARIOS ?? "./scenarios.mjs");
const SEEN_WITHIN_MS = Number(process.env.SEEN_WITHIN_MS ?? 30_000);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** What a person does with a notebook. */
class Lab {
  constructor(page) {
    this.page = page;
    this.shots = 0;
    this.dialogs = []; // the text of each that was ever shown
  }

  /** Has test_lab.py do something; returns its answer. */
  async ask(act) {
    console.log(`@${act}`);
    return JSON.parse((await answers.next()).value);
  }

  /** Notes dialogs the moment they appear, so that none is missed that goes by itself. */
  async watchDialogs() {
    await this.page.exposeFunction("elaraDialogShown", (text) => this.dialogs.push(text));
    await this.page.addInitScript(() => {
      const told = new WeakSet();
      const look = () => document.querySelectorAll(".jp-Dialog").forEach((dialog) => {
        if (!told.has(dialog) && dialog.innerText) {
          told.add(dialog);
          window.elaraDialogShown(dialog.innerText);
        }
      });
      new MutationObserver(look).observe(document, { childList: true, subtree: true });
    });
  }

  /** Somebody else, who opens the notebook too. */
  async another() {
    const other = new Lab(await this.page.context().newPage());
    await other.watchDialogs();
    other.shots = 10;
    await other.page.goto(`${url}/lab/tree/${await this.page.locator(".jp-mod-current .lm-TabBar-tabLabel").first().innerText()}`);
    return other;
  }

  async shot(what) {
    this.shots += 1;
    await this.page.screenshot({ path: join(shots, `${name}-${this.shots}-${what}.png`) });
  }

  /** Chromium breaks requests off when network interfaces come and go, as those of pods do; Lab then has no stylesheet, and says so. */
  async open(at = url) {
    let outcome;
    do {
      await this.page.goto(`${at}/lab?reset`);
      await this.page.locator(".jp-Launcher").waitFor({ state: "attached" });
      outcome = await this.page.waitForFunction(() => {
        if (document.querySelector(".jp-Dialog")?.innerText.includes("Stylesheet failed"))
          return "again";
        return document.querySelector("#jp-main-statusbar")?.offsetHeight > 0 ? "ready" : false;
      });
    } while ((await outcome.jsonValue()) === "again");
    await this.page.locator(".jp-Launcher").waitFor();
  }

  tile(label) {
    return this.page.locator(`.jp-LauncherCard[data-category="Notebook"]`, { hasText: label });
  }

  /** Lab forgets a cell that is run before it knows its kernel: a person waits for the kernel's state too. */
  async newNotebook(label, state = "Idle") {
    await this.tile(label).click();
    await this.page.locator(".jp-Notebook .jp-Cell .cm-content").first().waitFor();
    await this.waitForState(label, state);
  }

  async waitForState(label, state) {
    await this.page.locator("#jp-main-statusbar", { hasText: new RegExp(`${label} \\| ${state}`) }).waitFor();
  }

  /** Types into the last cell and runs it; returns the cell. */
  async run(code) {
    const cells = this.page.locator(".jp-Notebook .jp-CodeCell");
    const cell = cells.last();
    await cell.locator(".cm-content").click();
    await this.page.keyboard.insertText(code);
    const count = await cells.count();
    await this.page.keyboard.press("Shift+Enter");
    return cells.nth(count - 1);
  }

  async output(cell, text) {
    await cell.locator(".jp-OutputArea-output", { hasText: text }).first().waitFor();
  }

  /** Runs code and waits for its output. */
  async expect(code, text) {
    const cell = await this.run(code);
    await this.output(cell, text);
    return cell;
  }

  /** What stands below a cell, output for output, as a person sees it; trailing blanks are not seen. */
  async shown(cell) {
    const outputs = await cell.locator(".jp-OutputArea-output").allInnerTexts();
    return outputs.map((text) => text.replace(/[ \u00a0]+$/gm, "").trim());
  }

  /** Until the cell has ended, with its number. */
  async ended(cell, number) {
    await cell.locator(".jp-InputPrompt", { hasText: `[${number}]:` }).waitFor({ timeout: 90_000 });
  }

  /** Lab asks for the kernels every 10 s, and shows a dialog of its own should the notebook server not be able to tell. */
  async afterPoll() {
    await this.page.waitForResponse((response) => /\/api\/kernels\?/.test(response.url()));
  }

  async save() {
    const saved = this.page.waitForResponse((response) => response.request().method() === "PUT" && /\/api\/contents\//.test(response.url()));
    await this.page.keyboard.press("Control+s");
    await saved;
  }

  async menu(...labels) {
    await this.page.locator(".lm-MenuBar-item", { hasText: labels[0] }).click();
    await this.page.locator(".lm-Menu-item", { hasText: labels[1] }).first().click();
  }

  async accept() {
    await this.page.locator(".jp-Dialog .jp-mod-accept").click();
  }

  write(path, value) {
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, value);
  }
}

const profile = mkdtempSync(join(tmpdir(), "elara-browser-"));
const browser = await chromium.launchPersistentContext(profile, {
  ...options,
  viewport: { width: 1280, height: 900 },
});
browser.setDefaultTimeout(SEEN_WITHIN_MS);
const lab = new Lab(await browser.newPage());
let failed = null;
try {
  await lab.watchDialogs();
  await scenarios[name](lab);
} catch (error) {
  failed = error;
  await lab.shot("failed").catch(() => {});
}
await browser.close();
rmSync(profile, { recursive: true, force: true });
if (failed) console.error(failed, lab.dialogs);
process.exit(failed ? 1 : 0); // stdin is open still
