// The warnings, crashes and events of all nodes together.

import { el, keyed, say } from "./dom.js";
import { Events, fillCrashes, fillWarnings } from "./lists.js";

export class AllView {
  tab = "all";
  title = "All nodes";

  constructor(page, place) {
    this.page = page;
    this.nodes = el("div", { class: "zones" });
    this.events = new Events(page, (node) => page.heads[node]?.name ?? "");
    this.watch = page.watch({ show: "all" }, (state) => this.draw(state));
    place.append(el("h1", {}, "All nodes"), this.watch.status, this.nodes, el("h2", {}, "Events"), this.events.element);
  }

  draw({ nodes, events }) {
    keyed(this.nodes, nodes, (_, number) => number, () => {
      const box = el("section", { class: "zone" });
      box.append((box.head = el("h2")), (box.warnings = el("ul", { class: "warnings" })), el("h3", {}, "Last crashes"), (box.crashes = el("ol", { class: "plain" })));
      return box;
    }, (box, { name, warnings, crashes }, number) => {
      say(box.head, name);
      fillWarnings(this.page, box.warnings, warnings, number);
      fillCrashes(this.page, box.crashes, crashes, number);
    });
    this.events.draw(events);
  }

  close() {
    this.watch.close();
  }
}
