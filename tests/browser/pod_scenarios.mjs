// What people do whose kernels are pods; each name is a test in tests/cluster/test_clients.py.

const seen = (condition, what) => {
  if (!condition) throw new Error(`not seen: ${what}`);
};

const PLOT = `from IPython.display import SVG
points = " ".join(f"{40 * x},{180 - 2 * x * x}" for x in range(10))
SVG(f'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="200"><polyline points="{points}" fill="none" stroke="blue"/></svg>')`;

async function aNotebookRunsInAPod(lab) {
  await lab.open();
  await lab.newNotebook("Python 3");
  await lab.expect("import os; print('user', os.getuid(), 'in', os.environ['HOSTNAME'])", "user 1000 in kernel-");
  const plot = await lab.run(PLOT);
  const image = plot.locator(".jp-OutputArea-output img");
  await image.waitFor();
  seen(await image.evaluate((element) => element.decode().then(() => element.naturalWidth === 400)), "the plot");
  await lab.expect("1 / 0", "ZeroDivisionError");
  await lab.waitForState("Python 3", "Idle");
  await lab.shot("notebook");
}

async function aPullIsShownInTheCell(lab) {
  await lab.open();
  await lab.newNotebook("Pulled", "Starting");
  const cell = await lab.run("print('pulled', 'at last')");
  await lab.output(cell, /Starting Pulled: pulling the image .*\/team\/py:1/);
  await lab.shot("pulling");
  await lab.ask("release");
  await lab.output(cell, "pulled at last");
  seen(!(await cell.locator(".jp-OutputArea").first().innerText()).includes("Starting"), "that the stage made way");
  await lab.waitForState("Pulled", "Idle");
  await lab.shot("done");
}

async function anImageThatCannotBePulledIsExplainedInTheCell(lab) {
  await lab.open();
  await lab.newNotebook("Private", "(Starting|Idle)");
  const cell = await lab.run("1 + 1");
  await lab.output(cell, await lab.ask("sentence"));
  await lab.shot("explained");
}

export const scenarios = { aNotebookRunsInAPod, aPullIsShownInTheCell, anImageThatCannotBePulledIsExplainedInTheCell };
