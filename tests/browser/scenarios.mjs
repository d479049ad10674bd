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
  await lab.afterPoll(); // a kernel that Lab hears is dead before it has connected is one that it does not connect to
  await lab.newNotebook("No interpreter");
  const cell = await lab.run("1 + 1");
  await lab.output(cell, "no-such-python");
  await lab.shot("explained");
}

async function slowStartShowsItsStageInTheCell(lab) {
  await lab.open();
  await lab.newNotebook("Slow", "Starting");
  const cell = await lab.run("print at last");
  await lab.output(cell, "Starting Slow");
  await lab.shot("stage");
  const other = await lab.another();
  await other.waitForState("Slow", "Starting");
  await other.shot("other");
  lab.write(process.env.START, "");
  await lab.output(cell, "at last");
  seen(!(await cell.locator(".jp-OutputArea").first().innerText()).includes("Starting"), "that the stage made way");
  await lab.waitForState("Slow", "Idle");
  await lab.shot("done");
  await other.waitForState("Slow", "Idle");
  await other.shot("other-done");
  same([...lab.dialogs, ...other.dialogs], [], "no dialog");
}

/** Prints a line every 0.2 s; below the last one stands a progress bar, drawn anew each time as tqdm does; above all, a display that is updated. */
const counting = (seconds) => `import time
from IPython.display import HTML, display
n = ${5 * seconds}
step = display(HTML("<i>begins</i>"), display_id=True)
for i in range(n):
    print("\\r" + f"line {i}".ljust(40))
    print("#" * (20 * i // n) + f" {i}/{n}", end="", flush=True)
    step.update(HTML(f"<i>step {i}</i>"))
    time.sleep(0.2)`;

const counted = (seconds) => {
  const n = 5 * seconds;
  const lines = Array.from({ length: n }, (_, i) => `line ${i}`);
  return [`step ${n - 1}`, [...lines, `${"#".repeat(Math.floor((20 * (n - 1)) / n))} ${n - 1}/${n}`].join("\n")];
};

const same = (got, wanted, what) => seen(JSON.stringify(got) === JSON.stringify(wanted),
  `${what}\ngot    ${JSON.stringify(got)}\nwanted ${JSON.stringify(wanted)}`);

/** A counting cell while something breaks: what the notebook shows in the end is what it shows when nothing does. */
async function counts(lab, seconds, breakIt, { at, dialogs = /^$/ } = {}) {
  await lab.open(at);
  await lab.newNotebook("Python 3");
  const cell = await lab.run(counting(seconds));
  await lab.output(cell, "line 10");
  await breakIt(cell);
  await lab.shot("broken");
  await lab.ended(cell, 1);
  await lab.waitForState("Python 3", "Idle");
  await lab.shot("ended");
  same(await lab.shown(cell), counted(seconds), "each line once, in order");
  same(lab.dialogs.filter((text) => !dialogs.test(text)), [], "no dialog");
  return cell;
}

async function gatewayKilledInTheMiddleOfALongCell(lab) {
  await counts(lab, 30, async () => {
    await lab.afterPoll();
    await lab.ask("kill_gateway");
    await lab.page.waitForTimeout(5000);
    await lab.ask("start_gateway");
  });
  await lab.expect("print('still', 6 * 7, n)", "still 42 150");
}

async function gatewayStoppedAndStartedInTheMiddleOfACell(lab) {
  await counts(lab, 15, async () => {
    await lab.afterPoll();
    await lab.ask("stop_gateway");
    await lab.page.waitForTimeout(3000);
    await lab.ask("start_gateway");
  });
}

async function gatewayHandsOverInTheMiddleOfACell(lab) {
  await counts(lab, 8, () => lab.ask("hand_over"));
}

/** Lab asks its notebook server meanwhile, and says that it gets no answer. */
const LABS_OWN = /connection to the Jupyter server could not be established/;

async function browserOfflineForTenSeconds(lab) {
  await counts(lab, 15, async () => {
    await lab.page.context().setOffline(true); // its sockets neither send nor receive, and new ones fail
    await lab.page.waitForTimeout(10_000);
    await lab.page.context().setOffline(false);
  }, { dialogs: LABS_OWN });
}

async function browserLosesItsSocketsWhileOffline(lab) {
  await counts(lab, 15, async () => {
    await lab.ask("swallow_for_browser"); // the notebook server goes on sending for a while
    await lab.page.context().setOffline(true);
    await lab.page.waitForTimeout(5000);
    await lab.ask("cut_browser");
    await lab.page.waitForTimeout(5000);
    await lab.page.context().setOffline(false);
  }, { dialogs: LABS_OWN });
}

async function networkCutBetweenNotebookServerAndGateway(lab) {
  await counts(lab, 15, async () => {
    await lab.afterPoll();
    await lab.ask("freeze_gateway");
    await lab.page.waitForTimeout(2000);
    await lab.ask("cut_gateway");
    await lab.page.waitForTimeout(3000);
    await lab.ask("mend_gateway");
  }, { at: await lab.ask("behind_proxy") });
}

async function reloadedPageShowsBusyThenIdle(lab) {
  const told = join(process.env.SPECS, "..", "go-on"); // however long the page takes, the cell runs still
  await lab.open();
  await lab.newNotebook("Python 3");
  const cell = await lab.run(`${counting(4)}\nimport os\nwhile not os.path.exists(${JSON.stringify(told)}): time.sleep(0.05)\nprint("\\nend")`);
  await lab.output(cell, "line 10");
  await lab.save();
  await lab.page.reload();
  lab.dialogs.length = 0; // a page that leaves complains of its own requests, which the reload has cancelled
  await lab.waitForState("Python 3", "Busy");
  await lab.shot("busy");
  lab.write(told, "");
  await lab.waitForState("Python 3", "Idle");
  await lab.shot("idle");
  same((await lab.ask("printed")).match(/line \d+|end/g), [...counted(4)[1].match(/line \d+/g), "end"], "the whole journal");
  await lab.expect("print('n is', n)", "n is 20");
  same(lab.dialogs, [], "no dialog");
}

async function inputIsAskedAgainAfterEachBreak(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  const cell = await lab.run("print('before')\nprint('Hello', input('Name? '))\nprint('after')");
  const box = cell.locator("input.jp-Stdin-input");
  await box.waitFor();
  for (const how of ["cut_browser", "restart_gateway"]) {
    await lab.shot("asked");
    await box.evaluate((input) => input.classList.add("old"));
    await lab.ask(how);
    await cell.locator("input.jp-Stdin-input:not(.old)").waitFor();
    seen((await box.count()) === 1, `that it is asked once after ${how}`);
    await lab.shot(how);
  }
  await box.fill("Ada");
  await box.press("Enter");
  await lab.ended(cell, 1);
  await cell.locator(".jp-Stdin").waitFor({ state: "detached" }); // Lab takes it away a moment later
  await lab.shot("answered");
  same((await lab.shown(cell)).join("\n").split("\n"), ["before", "Name?  Ada", "Hello Ada", "after"], "the cell");
  same(lab.dialogs, [], "no dialog");
}

async function killedLauncherIsReplacedAndTheCellSaysWhy(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  const cell = await lab.run("import time\nfor i in range(10_000):\n    print('line', i, flush=True)\n    time.sleep(0.05)");
  await lab.output(cell, "line 20");
  await lab.ask("kill_launcher");
  await lab.output(cell, "SIGKILL");
  await lab.page.locator(".jp-Dialog", { hasText: "appears to have died" }).locator("button").last().click();
  await lab.waitForState("Python 3", "Idle");
  await lab.shot("killed");
  const lines = (await lab.shown(cell))[0].split("\n");
  same(lines, lines.map((_, i) => `line ${i}`), "each line once, in order");
  seen(lines.length > 20, "the lines so far");
  await lab.expect("print('i' in globals())", "False");
  await lab.shot("fresh");
  seen(lab.dialogs.length === 1, `one dialog, not ${JSON.stringify(lab.dialogs)}`);
}

/** The notebook is opened again: its new kernel says in the first output what became of the one before. */
async function reopenAndReadTheNotice(lab, why) {
  await lab.page.reload();
  await lab.waitForState("Python 3", "Idle");
  await lab.shot("reopened");
  const cell = await lab.expect("print('x' in globals())", "False");
  const [notice] = (await lab.shown(cell))[0].split("\n");
  seen(notice.startsWith("[elara] The kernel that was here before was ended on 20") && notice.includes(why) &&
    notice.endsWith("Its variables are gone."), `the notice, not ${notice}`);
  const next = await lab.expect("print('said', 'once')", "said once");
  same(await lab.shown(next), ["said once"], "no second notice");
  await lab.shot("notice");
}

async function tabLeftOpenLosesItsKernelOnlyIfThePolicySaysSo(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  await lab.expect("x = 1; print('x is', x)", "x is 1");
  same(await lab.ask("cull_unconnected"), "It is kept: somebody is connected to it.", "an open tab");
  const last = await lab.expect("print('x', 'in' if 'x' in globals() else 'not')", "x in");
  await lab.save();
  await lab.ask("cull_connected");
  await lab.output(last, "The kernel was ended because it was idle for");
  await lab.shot("culled");
  await reopenAndReadTheNotice(lab, "though somebody was connected");
}

async function laptopThatSleepsLosesItsKernel(lab) {
  await lab.open(await lab.ask("soon_without_pongs"));
  await lab.newNotebook("Python 3");
  await lab.expect("x = 1; print('x is', x)", "x is 1");
  await lab.save();
  same(await lab.ask("cull_unconnected"), "It is kept: somebody is connected to it.", "an open tab");
  await lab.ask("sleep_until_culled");
  await lab.shot("awake");
  await reopenAndReadTheNotice(lab, "nobody was connected");
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
  gatewayKilledInTheMiddleOfALongCell,
  gatewayStoppedAndStartedInTheMiddleOfACell,
  gatewayHandsOverInTheMiddleOfACell,
  browserOfflineForTenSeconds,
  browserLosesItsSocketsWhileOffline,
  networkCutBetweenNotebookServerAndGateway,
  reloadedPageShowsBusyThenIdle,
  inputIsAskedAgainAfterEachBreak,
  killedLauncherIsReplacedAndTheCellSaysWhy,
  tabLeftOpenLosesItsKernelOnlyIfThePolicySaysSo,
  laptopThatSleepsLosesItsKernel,
};
