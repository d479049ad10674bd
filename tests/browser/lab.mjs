// One scenario of a person at JupyterLab, in a real browser: node lab.mjs SCENARIO LAB_URL SCREENSHOT_DIRECTORY
// Exits 0 when everything was seen; a failure says what was not, and leaves a screenshot too.
import { createRequire } from "node:module";
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scenarios } from "./scenarios.mjs";

const { chromium } = createRequire(join(process.env.NODE_MODULES, "x"))("playwright-core");
const [, , name, url, shots] = process.argv;
const SEEN_WITHIN_MS = 30_000;

/** What a person does with a notebook. */
class Lab {
  constructor(page) {
    this.page = page;
    this.shots = 0;
  }

  async shot(what) {
    this.shots += 1;
    await this.page.screenshot({ path: join(shots, `${name}-${this.shots}-${what}.png`) });
  }

  async open() {
    await this.page.goto(`${url}/lab?reset`);
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
  executablePath: "/usr/bin/chromium",
  headless: true,
  viewport: { width: 1280, height: 900 },
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage();
page.setDefaultTimeout(SEEN_WITHIN_MS);
const lab = new Lab(page);
let failed = null;
try {
  await scenarios[name](lab);
} catch (error) {
  failed = error;
  await lab.shot("failed").catch(() => {});
}
await browser.close();
rmSync(profile, { recursive: true, force: true });
if (failed) {
  console.error(failed);
  process.exit(1);
}
