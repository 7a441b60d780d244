// The last lines of the log, the newest first.

import { el, keyed, say } from "./dom.js";

const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"];

export class LogView {
  tab = "log";
  title = "Log";

  constructor(page, place) {
    this.wish = { show: "log", level: "INFO", prefix: "" };
    this.lines = el("tbody");
    this.count = el("p", { class: "dim" });
    this.watch = page.watch(this.wish, ({ lines }) => {
      say(this.count, lines.length ? `${lines.length} lines` : `no line at ${this.wish.level} or above since somebody looks`);
      keyed(this.lines, lines, ({ number }) => number, ({ time, level, logger, message }) => el("tr", { class: level.toLowerCase() }, ...[time, level, logger, message].map((text) => el("td", {}, text))), () => {});
    });
    const ask = (change) => this.watch.change((this.wish = { ...this.wish, ...change }));
    place.append(
      el("h1", {}, "Log"),
      el("div", { class: "tools" },
        el("label", {}, "Level ", el("select", { onchange: (event) => ask({ level: event.target.value }) }, ...LEVELS.map((level) => el("option", { selected: level === "INFO" }, level)))),
        el("label", {}, "Logger begins with ", el("input", { type: "search", onchange: (event) => ask({ prefix: event.target.value.trim() }) })),
      ),
      this.watch.status,
      this.count,
      el("div", { class: "scroller" }, el("table", { "aria-label": "Log" }, el("thead", {}, el("tr", {}, ...["Time", "Level", "Logger", "Message"].map((text) => el("th", { scope: "col" }, text)))), this.lines)),
    );
  }

  close() {
    this.watch.close();
  }
}
