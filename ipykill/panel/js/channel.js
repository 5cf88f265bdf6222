// Sends requests to the kernel: on the control channel, or by the model's comm if there is no answer.

const PATIENCE = 3_000; // ms to wait for an answer on the control channel,
const LONG_PATIENCE = 30_000; // and on the comm, where a request may wait for the cell to end

export class Channel {
  constructor(model) {
    this.model = model;
    this.id = model.get("model");
    this.page = crypto.randomUUID?.() ?? String(Math.random());
    this.link = "live"; // or "saved", "restarted", "lost"
    this.waiting = new Map();
  }

  // Returns the kernel's answer, null if none comes.
  async request(content) {
    if (this.link === "restarted" || this.link === "saved") return null;
    const message = crypto.randomUUID?.() ?? String(Math.random());
    const whole = { ...content, model: this.id, page: this.page, message };
    const kernel = this.model.widget_manager?.kernel;
    let reply = null;
    if (typeof kernel?.sendControlMessage === "function") {
      reply = await this.throughControl(kernel, whole).catch(() => null);
    }
    reply ??= await this.throughComm(whole);
    if (reply?.stranger) {
      this.setLink("restarted");
      return null;
    }
    if (!reply && content.do === "watch") this.setLink("lost");
    return reply;
  }

  // The kernel answers here while it runs a cell. `kernel` is a connection of @jupyterlab/services.
  throughControl(kernel, content) {
    const message = {
      header: {
        msg_id: content.message,
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
    return new Promise((resolve, reject) => {
      const future = kernel.sendControlMessage(message, true, true);
      future.done.catch(() => undefined);
      future.onReply = (answer) => {
        resolve(answer.content);
        setTimeout(() => future.dispose()); // no "idle" follows, see _leave_status_alone
      };
      setTimeout(() => {
        reject(new Error("no answer on the control channel"));
        if (!future.isDisposed) future.dispose();
      }, PATIENCE);
    });
  }

  throughComm(content) {
    const { message } = content;
    return new Promise((resolve) => {
      const finish = (reply) => {
        this.waiting.delete(message);
        resolve(reply);
      };
      this.waiting.set(message, finish);
      setTimeout(finish, LONG_PATIENCE, null);
      try {
        this.model.send(content);
      } catch {
        finish(null);
      }
    });
  }
}
