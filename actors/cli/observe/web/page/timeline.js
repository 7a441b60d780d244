// Restarts and give-ups of each supervisor on an axis of time, and the last events as a table.

import { el, keyed, put, say, svg } from "./dom.js";
import { Events } from "./lists.js";

const SPANS = [60, 600, 3600, 21600];
const WIDTH = 600;

export class TimelineView {
  tab = "timeline";
  title = "Timeline";

  constructor(page, place) {
    this.page = page;
    this.rows = el("tbody");
    this.events = new Events(page);
    this.span = el("span", { class: "dim" });
    this.missed = el("p", { class: "dim" });
    this.watch = page.watch({ show: "timeline", span: 600 }, (state) => this.draw(state));
    const choose = (event) => this.watch.change({ show: "timeline", span: Number(event.target.value) });
    const choice = el("select", { onchange: choose }, ...SPANS.map((span) => el("option", { value: span, selected: span === 600 }, span < 3600 ? `${span / 60} min` : `${span / 3600} h`)));
    place.append(
      el("h1", {}, "Timeline"),
      el("label", {}, "Show ", choice),
      this.watch.status,
      el("h2", {}, "Restarts ", this.span),
      el("div", { class: "scroller low" }, el("table", { class: "axis", "aria-label": "Restarts by supervisor" }, el("thead", {}, el("tr", {}, ...["Supervisor", "When", "Restarts"].map((text) => el("th", { scope: "col" }, text)))), this.rows)),
      el("h2", {}, "Events"),
      this.missed,
      this.events.element,
    );
  }

  draw({ rows, events, span, missed }) {
    say(this.span, `last ${span}`);
    say(this.missed, missed ? `${missed} missed` : "");
    keyed(this.rows, rows, ({ supervisor }) => supervisor, ({ supervisor }) => {
      const row = el("tr", {}, el("th", { scope: "row" }, supervisor));
      row.named = svg("title", { id: `axis-${encodeURIComponent(supervisor)}` });
      row.marks = svg("g");
      row.picture = svg("svg", { viewBox: `0 0 ${WIDTH} 20`, preserveAspectRatio: "none", role: "img", tabindex: "0", "aria-labelledby": row.named.id }, row.named, svg("line", { x1: 0, y1: 10, x2: WIDTH, y2: 10 }), row.marks);
      row.count = el("td", { class: "number" });
      row.append(el("td", {}, row.picture), row.count);
      return row;
    }, (row, { restarts, marks }) => {
      say(row.count, String(restarts));
      say(row.named, `${restarts} restarts; the table of events has each`);
      keyed(row.marks, marks, ({ event }) => event, ({ event, text, is_give_up }) => {
        const shape = is_give_up ? svg("path", { class: "worst", d: "M-5,5L5,15M5,5L-5,15" }) : svg("circle", { class: "odd", cy: 10, r: 4 });
        return svg("a", { href: this.page.address("event", event), tabindex: "-1" }, svg("title", {}, text), shape);
      }, (mark, { place }) => put(mark, "transform", `translate(${(place * WIDTH).toFixed(1)},0)`));
    });
    this.events.draw(events);
  }

  close() {
    this.watch.close();
  }
}
