// One event in full, such as a crash report.

import { el, say } from "./dom.js";
import { factsOf } from "./facts.js";

export class EventView {
  tab = "timeline";
  title = "Event";

  constructor(page, place, event) {
    const name = el("h1", {}, `Event ${event}`);
    const facts = el("div", { class: "facts" });
    this.watch = page.watch({ show: "event", event: Number.parseInt(event, 10) || 0 }, (state) => {
      say(name, state.title);
      facts.replaceChildren(...factsOf(page, state.facts));
    });
    place.append(name, this.watch.status, facts);
  }

  close() {
    this.watch.close();
  }
}
