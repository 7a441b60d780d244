// One process in detail, by its serial, or by its name, which is followed to the next incarnation.

import { el, put, say } from "./dom.js";
import { factsOf } from "./facts.js";

export class ProcessView {
  tab = "processes";
  title = "Process";

  constructor(page, place, process) {
    this.page = page;
    this.isByName = !/^\d+$/.test(process);
    this.wish = { show: "process", process: this.isByName ? process : Number(process), contents: false };
    this.name = el("h1", {}, `Process ${process}`);
    this.state = el("p", { class: "state" });
    this.facts = el("div", { class: "facts" });
    this.follow = this.makeSwitch("f", "Follow the name", () => this.switchFollow());
    this.contents = this.makeSwitch("v", "Contents of messages", () => this.switchContents());
    this.keys = { f: this.follow, v: this.contents };
    this.shown = "";
    this.watch = page.watch(this.wish, (state) => this.draw(state));
    const switches = el("div", { class: "tools", role: "group", "aria-label": "What is shown" }, this.follow, this.contents);
    place.append(this.name, this.watch.status, this.state, page.actions.makeBar(), switches, this.facts);
    put(this.follow, "aria-pressed", String(this.isByName));
  }

  makeSwitch(key, title, onclick) {
    return el("button", { type: "button", "aria-pressed": "false", "aria-keyshortcuts": key, onclick }, title);
  }

  switchFollow() {
    if (!this.last?.name) this.page.say("this process has no name to follow");
    else this.page.go("process", this.isByName ? this.last.process : this.last.name);
  }

  switchContents() {
    this.wish = { ...this.wish, contents: !this.wish.contents };
    put(this.contents, "aria-pressed", String(this.wish.contents));
    this.watch.change(this.wish);
  }

  key(event) {
    const found = this.keys[event.key];
    found?.click();
    return Boolean(found);
  }

  draw(state) {
    if (this.life && this.life !== state.life && !this.isByName) {
      this.watch.close(); // the node has given the serial to another process
      state = { title: "the node has been started again since this process was chosen", facts: [], state: "" };
    }
    this.life = state.life;
    this.last = state;
    say(this.name, state.title);
    say(this.state, state.state);
    this.page.actions.select(state.target ?? null);
    put(this.follow, "aria-disabled", state.name ? null : "true");
    const text = JSON.stringify(state.facts);
    if (text === this.shown || this.facts.contains(document.activeElement)) return;
    this.shown = text;
    this.facts.replaceChildren(...factsOf(this.page, state.facts));
  }

  close() {
    this.watch.close();
  }
}
