// Debian's Chromium, driven by Playwright.
import { createRequire } from "node:module";
import { join } from "node:path";

export const require = createRequire(join(process.env.NODE_MODULES, "x"));
export const { chromium } = require("playwright-core");
export const options = {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
};
