// The overview: plots, warnings, the longest mailboxes, the last crashes.

import { el, keyed, put, say } from "./dom.js";
import { Plot } from "./plot.js";

export class OverviewView {
  tab = "overview";
  title = "Overview";

  constructor(page, place) {
    this.page = page;
    this.plots = el("div", { class: "plots" });
    this.warnings = el("ul", { class: "warnings" });
    this.mailboxes = el("ol", { class: "plain" });
    this.crashes = el("ol", { class: "plain" });
    this.crashed = el("span", { class: "dim" });
    this.watch = page.watch({ show: "overview" }, (state) => this.draw(state));
    place.append(
      el("h1", {}, "Overview"),
      this.watch.status,
      this.plots,
      el("h2", {}, "Warnings"),
      this.warnings,
      el("div", { class: "columns" },
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
    const texts = state.warnings.map((warning) => warning.text).join("; ");
    if (texts && texts !== this.texts) this.page.say(`Warnings: ${texts}`);
    this.texts = texts;
    this.list(this.warnings, state.warnings, "no warnings", (warning) => [warning.process == null ? warning.text : this.process(warning)]);
    this.list(this.mailboxes, state.mailboxes, "no message waits", (row) => [`${row.queued} `, this.process(row)]);
    this.list(this.crashes, state.crashes, "nothing has crashed", (crash) => [
      `${crash.ago} `,
      this.page.to("event", crash.event, crash.who),
      ` ${crash.why}`,
    ]);
    say(this.crashed, `${state.crashed} since the node began`);
  }

  process({ process, text }) {
    return this.page.to("process", process, text);
  }

  list(place, items, nothing, parts) {
    const shown = items.length ? items : [null];
    keyed(place, shown, (_, number) => number, () => el("li"), (line, item) => {
      const text = JSON.stringify(item);
      if (line.shown === text) return;
      line.shown = text;
      put(line, "class", item ? null : "dim");
      line.replaceChildren(...(item ? parts(item) : [nothing]));
    });
  }

  close() {
    this.watch.close();
  }
}
