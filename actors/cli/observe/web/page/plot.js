// Plots of numbers over time: a path for the line, one for what is below it.

import { el, put, say, svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 60;
const LISTED = 10;

let count = 0;

export class Plot {
  constructor() {
    const id = `plot-${++count}`;
    this.title = svg("title", { id });
    this.desc = svg("desc", { id: `${id}-desc` });
    this.area = svg("path", { class: "area" });
    this.line = svg("path", { class: "line" });
    this.name = el("span");
    this.last = el("strong");
    this.most = el("span", { class: "dim" });
    this.values = el("tbody");
    this.element = el(
      "figure",
      { class: "plot" },
      el("figcaption", {}, this.name, " ", this.last, " ", this.most),
      svg(
        "svg",
        { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: "0", "aria-labelledby": id, "aria-describedby": `${id}-desc` },
        this.title,
        this.desc,
        this.area,
        this.line,
      ),
      el(
        "details",
        { ontoggle: () => this.list() },
        el("summary", {}, "Values"),
        el("table", { "aria-label": "Values" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Part"), el("th", { scope: "col" }, "Most"))), this.values),
      ),
    );
  }

  draw(plot, length) {
    this.plot = plot;
    say(this.name, plot.title);
    say(this.last, plot.last);
    say(this.most, `most ${plot.most}`);
    say(this.title, `${plot.title} over the last ${length}`);
    say(this.desc, `now ${plot.last}, at most ${plot.most}`);
    const { line, area } = paths(plot.values, plot.top);
    put(this.line, "d", line);
    put(this.area, "d", area);
    this.list();
  }

  /** The values as a table, in ten parts, while it is open. */
  list() {
    if (!this.plot || !this.element.querySelector("details").open) return;
    const { values } = this.plot;
    const size = Math.ceil(values.length / LISTED);
    const parts = Array.from({ length: LISTED }, (_, part) => values.slice(part * size, (part + 1) * size).filter((value) => value != null));
    this.values.replaceChildren(
      ...parts.map((part, number) =>
        el("tr", {}, el("td", {}, `${number + 1} of ${LISTED}`), el("td", {}, part.length ? Number(Math.max(...part).toPrecision(3)) : "-")),
      ),
    );
  }
}

/** The paths of a series; a gap in the values is a gap in the line. */
export function paths(values, top) {
  const step = WIDTH / Math.max(1, values.length - 1);
  const place = (value) => (HEIGHT - 1 - (Math.min(value, top) / top) * (HEIGHT - 4)).toFixed(1);
  let line = "";
  let area = "";
  let since = null;
  for (let number = 0; number <= values.length; number += 1) {
    const value = values[number];
    const x = (number * step).toFixed(1);
    if (value == null) {
      if (since !== null) area += `L${((number - 1) * step).toFixed(1)},${HEIGHT}L${since},${HEIGHT}Z`;
      since = null;
    } else {
      line += `${since === null ? "M" : "L"}${x},${place(value)}`;
      area += `${since === null ? "M" : "L"}${x},${place(value)}`;
      since ??= x;
    }
  }
  return { line, area };
}
