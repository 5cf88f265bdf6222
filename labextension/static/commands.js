// The commands of the palette, the menus and the shortcuts.

import { request } from "./link.js";

const MAGIC = "%%bg";
export const NAMES = ["run", "detach", "stop", "kill", "show"];

// Loads ipykill in the kernel of a link if needed; returns whether it is loaded.
export async function load(link, Notification) {
  if (link.panel) return true;
  const content = {
    code: "%load_ext ipykill",
    silent: true,
    store_history: false,
    allow_stdin: false,
    stop_on_error: false,
  };
  const future = link.kernel.requestExecute(content);
  let said = "";
  future.onIOPub = ({ header, content: { text } }) => {
    if (header.msg_type === "stream") said += text;
  };
  const reply = await future.done.catch(() => null); // the kernel was restarted
  if (!reply) return false;
  const { status, ename, evalue } = reply.content;
  if (status !== "ok") {
    Notification.error(ename === "ModuleNotFoundError" && evalue.includes("ipykill")
      ? "ipykill is not installed in this kernel; run %pip install ipykill in a cell"
      : `ipykill could not be loaded: ${ename}: ${evalue}`);
    return false;
  }
  if (said.trim()) Notification.info(said.trim());
  await link.attach();
  return true;
}

// Runs a cell as a job, without changing its text. The metadata tell the kernel that the first line
// of the code is not the user's, so that line numbers are right.
async function runInBackground(cell, kernel) {
  const { model } = cell;
  const text = model.sharedModel.getSource();
  if (!text.trim()) return;
  const has = text.trimStart().startsWith(MAGIC);
  const metadata = { ...model.metadata, cellId: model.sharedModel.getId() };
  if (!has) metadata.ipykill = MAGIC;
  const clear = () => {
    model.clearExecution();
    cell.outputHidden = false;
  };
  model.sharedModel.transact(clear, false, "silent-change");
  if ("executionState" in model) model.executionState = "running";
  else cell.setPrompt("*"); // JupyterLab 4.0 to 4.2
  model.trusted = true;
  const code = has ? text : `${MAGIC}\n${text}`;
  const future = kernel.requestExecute({ code, stop_on_error: true }, false, metadata);
  cell.outputArea.future = future;
  try {
    const reply = await future.done;
    model.executionCount = reply.content.execution_count;
  } catch {
    // The kernel was restarted, or the cell was run again.
    if (!cell.isDisposed && cell.outputArea.future === future && "executionState" in model) {
      model.executionState = "idle";
    }
  }
}

// A key that was pressed by mistake must not end the work of hours. Enter presses the last button.
async function isKillWanted(title, { Dialog, showDialog }) {
  const buttons = [Dialog.cancelButton(), Dialog.warnButton({ label: "Kill" })];
  const body = "It ends wherever its code is; its finally: blocks run.";
  const { button } = await showDialog({ title: `Kill ${title}?`, body, buttons });
  return button.accept;
}

export function addCommands(commands, notifier, kernels, notebooks, show, apputils) {
  const { Notification } = notifier;
  const ofCurrent = () => kernels.linkOf(notebooks?.currentWidget);

  async function run() {
    const { content: notebook } = notebooks.currentWidget;
    const cells = notebook.widgets.filter(
      (cell) => cell.model.type === "code" && notebook.isSelectedOrActive(cell));
    const link = ofCurrent();
    if (!cells.length || !(await load(link, Notification))) return;
    for (const cell of cells) runInBackground(cell, link.kernel);
  }

  async function detach() {
    const { link } = kernels;
    if (!link.panel) {
      Notification.warning("ipykill has to be loaded before a cell runs that is to go on");
      return;
    }
    const reply = await request(link.kernel, { do: "detach" });
    if (!reply || reply.error) Notification.warning(reply?.error ?? "The kernel does not answer");
  }

  const end = (what) => async () => {
    const { link } = kernels;
    const job = link?.running.at(-1);
    if (!job) return;
    const title = `${job.name} (job ${job.id})`;
    if (what === "kill" && !(await isKillWanted(title, apputils))) return;
    if (!link.panel) return; // the kernel was restarted meanwhile
    await link.jobs.ask(what, job);
    const now = link.jobs?.rows.get(job.id);
    const problem = link.jobs?.problem.get(job.id);
    if (!now || (link.panel.isOver(now) && notifier.isNews(link, now))) return; // the notifier tells it
    Notification.info(`${title}: ${problem ?? now.state}`, { autoClose: 4000 });
  };

  const hasPython = () => ofCurrent()?.python === true;
  const runs = () => (kernels.link?.running.length ?? 0) > 0;
  const add = (name, label, execute, more) => {
    const args = { type: "object", properties: {} };
    commands.addCommand(`ipykill:${name}`, { label, execute, describedBy: { args }, ...more });
  };
  add("run", "Run Cell in Background", run, {
    caption: "Run the cell as a job: %%bg, without changing its text",
    isEnabled: hasPython,
  });
  add("detach", "Continue Running Cell in Background", detach, {
    caption: "Let the cell that runs in the foreground go on as a job",
    isEnabled: () => kernels.link?.python === true,
  });
  add("stop", "Stop Newest Job", end("stop"), { isEnabled: runs });
  add("kill", "Kill Newest Job", end("kill"), { isEnabled: runs });
  add("show", "Show Background Jobs", show);

  let before = "";
  kernels.listeners.add(() => {
    const now = `${hasPython()} ${runs()} ${kernels.link?.python}`;
    if (now !== before) for (const name of NAMES) commands.notifyCommandChanged(`ipykill:${name}`);
    before = now;
  });
}
