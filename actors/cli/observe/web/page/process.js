// One process in detail, by its serial, or by its name, which is followed to the next incarnation.

import { el, say } from "./dom.js";
import { factsOf } from "./facts.js";

export class ProcessView {
  tab = "processes";
  title = "Process";

  constructor(page, place, process) {
    this.page = page;
    this.isByName = !/^\d+$/.test(process);
    this.name = el("h1", {}, `Process ${process}`);
    this.state = el("p", { class: "state" });
    this.follow = el("p");
    this.facts = el("div", { class: "facts" });
    this.shown = "";
    this.watch = page.watch({ show: "process", process: this.isByName ? process : Number(process) }, (state) => this.draw(state));
    place.append(this.name, this.watch.status, this.state, page.actions.makeBar(), this.follow, this.facts);
  }

  draw(state) {
    say(this.name, state.title);
    say(this.state, state.state);
    this.page.actions.select(state.target ?? null);
    if (state.name && !this.follow.firstChild) {
      this.follow.append(this.isByName ? this.page.to("process", state.process, "Stay with this process") : this.page.to("process", state.name, "Follow the name"));
    }
    const text = JSON.stringify(state.facts);
    if (text === this.shown) return;
    this.shown = text;
    if (!this.facts.contains(document.activeElement)) this.facts.replaceChildren(...factsOf(this.page, state.facts));
  }

  close() {
    this.watch.close();
  }
}
