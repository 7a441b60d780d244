// Actions on a process: each is asked for first, and for a supervisor its name has to be typed.

import { el, put, say } from "./dom.js";

const ASKED = {
  X: ["Send an exit signal to", { label: "Reason", value: "shutdown" }],
  M: ["Send a message to", { label: "Message, as JSON", value: "" }],
};

const ACTIONS = [
  ["S", "Suspend"],
  ["R", "Resume"],
  ["K", "Kill"],
  ["X", "Send an exit signal"],
  ["M", "Send a message"],
  ["B", "Restart the child"],
  ["T", "Terminate the child"],
];

export class Actions {
  constructor(page) {
    this.page = page;
    this.target = null;
    this.bar = null;
  }

  /** A line of buttons for the process that `select` names. */
  makeBar() {
    this.target = null;
    this.about = el("span", { id: "target" });
    this.why = el("span", { class: "dim", id: "why" });
    this.buttons = ACTIONS.map(([key, title]) =>
      el("button", { type: "button", "aria-keyshortcuts": key, "aria-describedby": "why", onclick: () => this.begin(key) }, title),
    );
    this.bar = el("div", { class: "actions", role: "toolbar", "aria-label": "Actions" }, this.about, ...this.buttons, this.why);
    this.draw();
    return this.bar;
  }

  select(target) {
    this.target = target;
    this.draw();
  }

  get reason() {
    return this.page.head.why_no_action ?? (this.target ? null : "no process is selected");
  }

  draw() {
    if (!this.bar) return;
    say(this.about, this.target?.shown ?? "");
    say(this.why, this.reason ?? "");
    for (const button of this.buttons) put(button, "aria-disabled", this.reason ? "true" : null);
  }

  key(event) {
    if (!this.bar?.isConnected || !ACTIONS.some(([key]) => key === event.key)) return;
    event.preventDefault();
    this.begin(event.key);
  }

  async begin(key) {
    const { target, page } = this;
    if (this.reason) {
      page.say(this.reason);
      return;
    }
    const order = { key, node: page.node, ...target };
    if (key in ASKED) {
      const [title, input] = ASKED[key];
      const given = await ask(`${title} ${target.shown}`, [], input);
      if (given == null) return;
      order.given = given;
    }
    const { question, problem } = await page.link.act(order);
    if (problem) {
      page.say(problem);
      return;
    }
    const typed = question.typed == null ? undefined : { label: `Type ${question.typed} to confirm`, value: "", only: question.typed };
    if ((await ask(question.title, question.lines, typed)) == null) {
      page.say("nothing was done");
      return;
    }
    const answer = await page.link.act({ ...order, is_confirmed: true });
    page.say(answer.done ?? answer.problem);
  }
}

/** A question in a dialog; resolves to what was typed, or "", and to null where the answer is no. */
function ask(title, lines, input) {
  return new Promise((resolve) => {
    const field = input && el("input", { id: "answer", value: input.value, autocomplete: "off", spellcheck: "false" });
    const yes = el("button", { type: "submit", value: "yes" }, "Yes");
    const no = el("button", { type: "button", onclick: () => dialog.close() }, "No");
    const dialog = el(
      "dialog",
      { "aria-labelledby": "question" },
      el(
        "form",
        { method: "dialog" },
        el("h2", { id: "question" }, title),
        ...lines.map((line) => el("p", {}, line)),
        input && el("label", { for: "answer" }, input.label),
        field,
        el("p", { class: "answers" }, yes, no),
      ),
    );
    if (input?.only) {
      const check = () => (yes.disabled = field.value !== input.only);
      field.addEventListener("input", check);
      check();
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? (field?.value ?? "") : null);
    });
    document.body.append(dialog);
    dialog.showModal();
    (field ?? no).focus();
  });
}
