// What people do; each name is a test in test_lab.py. SPECS is the gateway's kernelspec directory; START is
// the file that the kernel of the spec "slow" waits for.
import { execFileSync } from "node:child_process";
import { join } from "node:path";

const seen = (condition, what) => {
  if (!condition) throw new Error(`not seen: ${what}`);
};

async function launcherShowsTilesWithLogos(lab) {
  await lab.open();
  for (const name of ["Python 3", "Stub"]) {
    const logo = lab.tile(name).locator("img");
    await logo.waitFor();
    seen(await logo.evaluate((image) => image.decode().then(() => image.naturalWidth === 64)), `the logo of ${name}`);
  }
  await lab.shot("launcher");
}

async function notebookRunsTextPlotAndDisplays(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  await lab.expect("print('hello from', 6 * 7)", "hello from 42");
  await lab.expect("1 / 0", "ZeroDivisionError");
  const plot = await lab.run("import matplotlib.pyplot as plt\nplt.figure(figsize=(4, 2)); plt.plot([1, 4, 9]); plt.show()");
  await plot.locator(".jp-OutputArea-output img").waitFor();
  const display = await lab.run(
    "from IPython.display import display, HTML\nhandle = display(HTML('<b id=before>before</b>'), display_id=True)\n" +
      "handle.update(HTML('<b>after the update</b>'))");
  await lab.output(display, "after the update");
  seen((await display.locator("#before").count()) === 0, "a display that was updated in place");
  await lab.waitForState("Python 3", "Idle");
  await lab.shot("notebook");
}

async function widgetsAndTheirKernelFollowEachOther(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  const cell = await lab.run(
    "from ipywidgets import IntProgress, IntSlider\nslider, bar = IntSlider(description='Level'), IntProgress(description='Twice')\n" +
      "def follow(change): bar.value = 2 * change.new\nslider.observe(follow, 'value')\ndisplay(slider, bar)");
  const readout = cell.locator(".widget-readout");
  const barIs = (percent) => cell.locator(`.progress-bar[style*="width: ${percent}%"]`).waitFor();
  await readout.getByText("0", { exact: true }).waitFor();
  await lab.expect("slider.value = 20; print('set to', slider.value)", "set to 20");
  await readout.getByText("20", { exact: true }).waitFor();
  await barIs(40);
  await cell.locator(".noUi-handle").press("ArrowRight"); // no cell runs now: only the comm tells the kernel
  await readout.getByText("21", { exact: true }).waitFor();
  await barIs(42);
  await lab.expect("print('the kernel has', slider.value)", "the kernel has 21");
  await lab.shot("widgets");
}

async function widgetWithBytesIsExplained(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  const cell = await lab.run("from ipywidgets import Image\nImage(value=bytes(range(256)))");
  await lab.output(cell, "binary");
  await lab.expect("print('still', 'alive')", "still alive");
  await lab.shot("explained");
}

async function inputIsAskedAndAnswered(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  const cell = await lab.run("print('Hello', input('Name? '))");
  const box = cell.locator("input.jp-Stdin-input");
  await box.waitFor();
  await box.fill("Ada");
  await box.press("Enter");
  await lab.output(cell, "Hello Ada");
  await lab.shot("input");
}

async function interruptEndsALoop(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  const cell = await lab.run("import time\nprint('turning')\nwhile True: time.sleep(0.01)");
  await lab.output(cell, "turning");
  await lab.menu("Kernel", "Interrupt Kernel");
  await lab.output(cell, "KeyboardInterrupt");
  await lab.expect("print('still', 'here')", "still here");
  await lab.shot("interrupted");
}

async function restartForgetsVariables(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  await lab.expect("x = 1; print('x is', x)", "x is 1");
  await lab.menu("Kernel", "Restart Kernel…");
  await lab.accept();
  await lab.expect("print('x' in globals())", "False");
  await lab.shot("restarted");
}

async function killedKernelSaysWhy(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  const cell = await lab.run("import os, time; print('pid', os.getpid()); time.sleep(600)");
  await lab.output(cell, "pid");
  const pid = /pid (\d+)/.exec(await cell.locator(".jp-OutputArea-output").first().innerText())[1];
  execFileSync("kill", ["-9", pid]);
  await lab.output(cell, "SIGKILL");
  await lab.shot("killed");
  await lab.page.locator(".jp-Dialog", { hasText: "appears to have died" }).locator("button").last().click();
  await lab.waitForState("Python 3", "Idle");
  await lab.expect("print('back', 'again')", "back again");
  await lab.shot("back");
}

async function newKernelspecAppears(lab) {
  await lab.open();
  await lab.tile("Python 3").waitFor();
  seen((await lab.tile("Brand new").count()) === 0, "that the new kernelspec is not there yet");
  lab.write(join(process.env.SPECS, "brand-new", "kernel.json"), process.env.NEW_SPEC);
  await lab.page.waitForTimeout(1500); // the gateway reloads a tenth of a second after the last change
  await lab.page.reload(); // Lab itself asks again only each minute
  await lab.tile("Brand new").waitFor();
  await lab.shot("appeared");
}

async function kernelCanBeChanged(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  await lab.expect("print('python')", "python");
  await lab.menu("Kernel", "Change Kernel…");
  await lab.page.locator(".jp-Dialog select").selectOption({ label: "Stub" });
  await lab.accept();
  await lab.page.locator(".jp-KernelName", { hasText: "Stub" }).waitFor();
  await lab.expect("print from the stub", "from the stub");
  await lab.shot("changed");
}

async function missingInterpreterIsExplainedInTheFirstCell(lab) {
  await lab.open();
  await lab.newNotebook("No interpreter");
  const cell = await lab.run("1 + 1");
  await lab.output(cell, "no-such-python");
  await lab.shot("explained");
}

async function slowStartShowsItsStageInTheCell(lab) {
  await lab.open();
  await lab.newNotebook("Slow", "(Connecting|Starting|Unknown|Busy|Idle)");
  const cell = await lab.run("print at last");
  await lab.output(cell, "Starting Slow");
  await lab.shot("stage");
  lab.write(process.env.START, "");
  await lab.output(cell, "at last");
  seen(!(await cell.locator(".jp-OutputArea").first().innerText()).includes("Starting"), "that the stage made way");
  await lab.shot("done");
}

export const scenarios = {
  launcherShowsTilesWithLogos,
  notebookRunsTextPlotAndDisplays,
  widgetsAndTheirKernelFollowEachOther,
  widgetWithBytesIsExplained,
  inputIsAskedAndAnswered,
  interruptEndsALoop,
  restartForgetsVariables,
  killedKernelSaysWhy,
  newKernelspecAppears,
  kernelCanBeChanged,
  missingInterpreterIsExplainedInTheFirstCell,
  slowStartShowsItsStageInTheCell,
};
