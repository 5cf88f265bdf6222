// The connection to one kernel: finds out whether ipykill is loaded there, and then has its jobs.
//
// The kernel's side is ipykill/panel/frontend.py. The script of the widgets, ipykill/panel/js, keeps
// and draws the jobs. The kernel sends it, so that it always understands this kernel, and the page
// needs no support for widgets.

const TARGET = "ipykill";
const PATIENCE = 8_000; // ms to wait for an answer; to make a new connection may take 3 s

const scripts = new Map(); // digest -> promise of the views' module

// Returns the kernel's answer, null if none comes. On the control channel the kernel answers while it
// runs a cell.
export function request(kernel, content) {
  const message = {
    header: {
      msg_id: crypto.randomUUID?.() ?? String(Math.random()),
      msg_type: "ipykill_request",
      session: kernel.clientId,
      username: kernel.username ?? "",
      date: new Date().toISOString(),
      version: "5.3",
    },
    parent_header: {},
    metadata: {},
    content,
    channel: "control",
    buffers: [],
  };
  return new Promise((resolve) => {
    if (kernel.isDisposed) return resolve(null); // it would throw
    const future = kernel.sendControlMessage(message, true, true);
    const finish = (answer) => {
      resolve(answer);
      setTimeout(() => future.isDisposed || future.dispose());
    };
    future.done.catch(() => undefined);
    future.onReply = (answer) => finish(answer.content);
    setTimeout(finish, PATIENCE, null);
  });
}

function load({ digest, script, style }) {
  if (!scripts.has(digest)) {
    const sheet = document.createElement("style");
    sheet.textContent = style;
    document.head.append(sheet);
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    scripts.set(digest, import(url).finally(() => URL.revokeObjectURL(url)));
  }
  return scripts.get(digest);
}

// A kernel without ipykill writes an error into the server's log if it is asked on the control
// channel. The harmless question, on the shell channel, is not answered while the kernel is busy. So
// this remembers, for a page that is loaded again, which kernels had ipykill.
const memory = {
  key: (kernel) => `ipykill:${kernel.id}`,
  has: (kernel) => sessionStorage.getItem(memory.key(kernel)) !== null,
  add: (kernel) => sessionStorage.setItem(memory.key(kernel), "loaded"),
  delete: (kernel) => sessionStorage.removeItem(memory.key(kernel)),
};

export class Link {
  // `changed(ids)` is called after each change; `ids` are those of jobs, null for all.
  constructor(kernel, changed) {
    this.kernel = kernel;
    this.changed = changed;
    this.panel = null; // the result of `attach` in main.js, while ipykill is loaded
    this.restarting = false;
    this.ended = null; // ids of jobs whose end the page knows; null before it has any rows
    this.onMessage = (_, message) => this.receive(message);
    this.onStatus = (_, status) => this.follow(status);
    kernel.iopubMessage.connect(this.onMessage);
    kernel.statusChanged.connect(this.onStatus);
    kernel.disposed.connect(() => this.drop());
    if (memory.has(kernel)) this.attach();
    else this.find();
  }

  get jobs() {
    return this.panel?.jobs ?? null;
  }

  // Jobs that are not over, oldest first.
  get running() {
    return this.panel ? [...this.jobs.rows.values()].filter((it) => !this.panel.isOver(it)) : [];
  }

  get failed() {
    return this.panel ? [...this.jobs.rows.values()].filter((it) => it.state === "failed") : [];
  }

  // Asks whether ipykill is loaded, with a message that every kernel understands.
  async find() {
    const { language } = (await this.kernel.spec.catch(() => null)) ?? {};
    this.python = language?.toLowerCase() === "python";
    this.changed(null);
    if (!this.python) return;
    const answer = await this.kernel.requestCommInfo({ target_name: TARGET }).catch(() => null);
    if (Object.keys(answer?.content.comms ?? {}).length) await this.attach();
  }

  attach() {
    this.attaching ??= this.greet().finally(() => (this.attaching = null));
    return this.attaching;
  }

  async greet() {
    this.python = true;
    const answer = await request(this.kernel, { do: "hello", known: [...scripts.keys()] });
    if (!answer?.model) {
      memory.delete(this.kernel);
      this.changed(null);
      // If no answer came, the kernel may have been too busy, or an older ipykernel has lost it.
      if (!answer) this.find();
      return;
    }
    const views = await load(answer);
    if (this.kernel.isDisposed || this.restarting || this.jobs?.id === answer.model) return;
    this.drop();
    this.model = new Model(answer.model, this.kernel);
    this.panel = views.attach(this.model);
    memory.add(this.kernel);
    this.jobs.open(this); // as a view, which needs `changed` and `tick`
    this.changed(null);
  }

  tick() {
    if (this.jobs?.link === "restarted") this.follow("restarting"); // another page did that
  }

  receive({ header, content }) {
    if (header.msg_type === "comm_msg" && content.data?.[TARGET] === "loaded") {
      this.ended ??= new Set(); // a job that ends before the page has looked is news, too
      this.attach();
    } else if (header.msg_type === "comm_close" && content.data?.[TARGET]) this.drop();
    else if (this.model && content.comm_id === this.model.id) this.model.receive(content.data);
  }

  follow(status) {
    if (["restarting", "autorestarting", "terminating", "dead"].includes(status)) {
      this.restarting = true;
      this.ended = null;
      memory.delete(this.kernel);
      this.drop();
    } else if (this.restarting && ["idle", "busy"].includes(status)) {
      this.restarting = false;
      this.find(); // the configuration may have loaded ipykill
    }
  }

  drop() {
    const { panel } = this;
    if (!panel) return;
    this.panel = null;
    this.model.end();
    panel.jobs.close(this);
    this.changed(null);
  }
}

// To main.js this looks like anywidget's model of the jobs.
class Model {
  constructor(id, kernel) {
    this.id = id;
    this.state = { model: id };
    this.listeners = {};
    this.whole = { comm_live: true, on: (event, listener) => (this.onEnd = listener) };
    this.widget_manager = { kernel, get_model: async () => this.whole };
  }

  get(name) {
    return this.state[name];
  }

  on(event, listener) {
    (this.listeners[event] ??= []).push(listener);
  }

  send() {
    throw new Error("this kernel has no control channel");
  }

  receive({ method, state, content }) {
    if (method === "custom") this.emit("msg:custom", content);
    for (const [name, value] of Object.entries((method === "update" && state) || {})) {
      this.state[name] = value;
      this.emit(`change:${name}`);
    }
  }

  emit(event, value) {
    for (const listener of this.listeners[event] ?? []) listener(value);
  }

  end() {
    this.whole.comm_live = false;
    this.onEnd?.();
  }
}
