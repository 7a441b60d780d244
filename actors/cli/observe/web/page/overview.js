// The overview: plots, warnings, the busiest processes, the longest mailboxes, the last crashes.

import { el, keyed, say } from "./dom.js";
import { fillCrashes, fillList, fillWarnings } from "./lists.js";
import { Plot } from "./plot.js";

export class OverviewView {
  tab = "overview";
  title = "Overview";

  constructor(page, place) {
    this.page = page;
    this.length = el("p", { class: "dim" });
    this.plots = el("div", { class: "plots" });
    this.warnings = el("ul", { class: "warnings" });
    this.busiest = el("ol", { class: "plain" });
    this.mailboxes = el("ol", { class: "plain" });
    this.crashes = el("ol", { class: "plain" });
    this.crashed = el("span", { class: "dim" });
    this.watch = page.watch({ show: "overview" }, (state) => this.draw(state));
    place.append(
      el("h1", {}, "Overview"),
      this.watch.status,
      this.length,
      this.plots,
      el("h2", {}, "Warnings"),
      this.warnings,
      el("div", { class: "columns" },
        el("section", {}, el("h2", {}, "Busiest processes"), this.busiest),
        el("section", {}, el("h2", {}, "Longest mailboxes"), this.mailboxes),
        el("section", {}, el("h2", {}, "Last crashes"), this.crashed, this.crashes),
      ),
    );
  }

  draw(state) {
    keyed(this.plots, state.plots, (plot) => plot.name, () => {
      const plot = new Plot();
      plot.element.plot = plot;
      return plot.element;
    }, (element, plot) => element.plot.draw(plot, state.length));
    say(this.length, `plots of the last ${state.length}`);
    const texts = state.warnings.map((warning) => warning.text).join("; ");
    if (texts && texts !== this.texts) this.page.announce(`Warnings: ${texts}`);
    this.texts = texts;
    fillWarnings(this.page, this.warnings, state.warnings);
    fillList(this.busiest, state.busiest, state.nobody_busy, ({ busy, rate, process, text }) => [`${busy} `, this.page.to("process", process, text), rate && ` ${rate}`]);
    fillList(this.mailboxes, state.mailboxes, "no message waits", ({ queued, process, text }) => [`${queued} `, this.page.to("process", process, text)]);
    fillCrashes(this.page, this.crashes, state.crashes);
    say(this.crashed, `${state.crashed} since the node began`);
  }

  close() {
    this.watch.close();
  }
}
