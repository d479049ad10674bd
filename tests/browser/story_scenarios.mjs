// A lab's users at its hub, chapter after chapter: tests/cluster/test_story.py asks for each, and does what no browser can.
const [, , , hub] = process.argv;
const SPEC = "Python on Kubernetes";

const seen = (condition, what) => {
  if (!condition) throw new Error(`not seen: ${what}`);
};

const told = (what, since) => console.log(`${what}: ${((Date.now() - since) / 1000).toFixed(1)} s`);

async function logIn(lab, user) {
  await lab.page.goto(`${hub}/hub/login`);
  await lab.page.locator("#username_input").fill(user);
  await lab.page.locator("#password_input").fill(process.env.PASSWORD);
  await lab.page.locator("#login_submit").click();
}

/** The hub's form, then its page of progress, then JupyterLab. */
async function startServer(lab, user) {
  await lab.page.locator("select[name=profile-option-notebooks--size]").selectOption("small");
  await lab.shot("form");
  const began = Date.now();
  await lab.page.locator("input[type=submit], button[type=submit]").last().click();
  await lab.page.waitForURL(`${hub}/user/${user}/lab**`);
  told("from Start to the notebook server", began);
  await lab.open(`${hub}/user/${user}`);
  told("from Start to JupyterLab", began);
  return began;
}

async function files(lab) {
  await lab.page.locator("jp-button[data-command='filebrowser:refresh'], [data-command='filebrowser:refresh'] button").first().click();
  return lab.page.locator(".jp-DirListing-item");
}

/** A cell that prints numbers until its file is there; what is done to the lab meanwhile must not be seen in them. */
async function countWhile(lab, act, number) {
  const cell = await lab.run(`import os, time
i = 0
while not os.path.exists("${act}"):
    print("line", i, flush=True)
    i += 1
    time.sleep(0.1)
print("lines:", i)`);
  await lab.output(cell, "line 5");
  await lab.ask(act);
  await lab.ended(cell, number);
  await lab.output(cell, "lines: ");
  const lines = (await lab.shown(cell)).join("\n").split("\n");
  const total = lines.pop();
  seen(lines.length > 5 && lines.every((line, i) => line === `line ${i}`) && total === `lines: ${lines.length}`,
    `each line once, in order, not ${lines.slice(0, 3)} ... ${lines.slice(-3)}, ${total}`);
  await lab.shot(act);
}

async function aliceWorksWhileThingsBreak(lab) {
  await logIn(lab, "alice");
  const began = await startServer(lab, "alice");
  const clicked = Date.now();
  await lab.newNotebook(SPEC, "(Starting|Idle|Busy)");
  await lab.expect("import os; kept = 42; print(open('data.csv', 'w').write('a,b'), os.getuid())", "3 1000");
  told("from the tile to the first answer", clicked);
  told("from Start to the first answer", began);
  await lab.waitForState(SPEC, "Idle");
  await (await files(lab)).filter({ hasText: "data.csv" }).waitFor();
  await lab.shot("data");
  await lab.ask("look_at_the_pod");
  await countWhile(lab, "kill_replicas", 2);
  await countWhile(lab, "upgrade", 3);
  await countWhile(lab, "roll_back", 4);
  await lab.ask("stop_nfs");
  const cell = await lab.run("print(open('late.csv', 'w').write('late'), kept)");
  await lab.ask("see_that_nothing_dies");
  seen((await lab.shown(cell)).length === 0, "that the cell waits");
  await lab.ask("start_nfs");
  await lab.ended(cell, 5);
  const [late] = await lab.shown(cell);
  seen(late === "4 42", `that it was written after all, not ${late}`);
  await lab.shot("waited");
  await lab.save();
}

async function bobSeesNothingOfHers(lab) {
  await logIn(lab, "bob");
  await startServer(lab, "bob");
  await lab.newNotebook(SPEC, "(Starting|Idle|Busy)");
  await lab.expect("import os; print(sorted(one for one in os.listdir() if one.endswith('csv')), os.getcwd())", "[] /home/jovyan");
  await lab.page.locator(".jp-SideBar [data-id=jp-running-sessions]").click();
  const panel = lab.page.locator("#jp-running-sessions");
  await panel.getByText(SPEC).first().waitFor();
  const kernels = (await panel.innerText()).match(/Untitled\.ipynb\s*\([0-9a-f]/g);
  seen(kernels?.length === 1, `one kernel in the list, his own, not ${kernels}`);
  await lab.shot("running");
  await lab.page.goto(`${hub}/user/alice/lab`);
  await lab.page.getByText("403").first().waitFor();
  await lab.shot("refused");
}

/** Her notebook is opened again: its new kernel says what became of the one before. */
async function aliceComesBack(lab) {
  await logIn(lab, "alice");
  await lab.page.waitForURL(`${hub}/user/alice/lab**`);
  await lab.open(`${hub}/user/alice`);
  await (await files(lab)).filter({ hasText: "Untitled.ipynb" }).dblclick();
  await lab.waitForState(SPEC, "Idle");
  const cell = await lab.expect("print('kept' in globals(), open('late.csv').read())", "False late");
  const [notice] = (await lab.shown(cell))[0].split("\n");
  seen(notice.startsWith("[elara] The kernel that was here before was ended on 20") && notice.includes("nobody was connected"), `the notice, not ${notice}`);
  await lab.shot("notice");
}

export const scenarios = { aliceWorksWhileThingsBreak, bobSeesNothingOfHers, aliceComesBack };
