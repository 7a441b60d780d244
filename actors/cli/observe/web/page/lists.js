// Lists that several views have: warnings, crashes, events.

import { el, keyed, put, say } from "./dom.js";

/** Have a list hold a line for each item, made of `parts`; or what is said where there is none. */
export function fillList(place, items, nothing, parts) {
  const shown = items.length ? items : [null];
  keyed(place, shown, (_, number) => number, () => el("li"), (line, item) => {
    const text = JSON.stringify(item);
    if (line.shown === text) return;
    line.shown = text;
    put(line, "class", item ? null : "dim");
    line.replaceChildren(...(item ? parts(item) : [nothing]));
  });
}

/** The warnings of a node. */
export function fillWarnings(page, place, warnings, node) {
  fillList(place, warnings, "no warnings", ({ text, process }) => [process == null ? text : page.to("process", process, text, {}, node)]);
}

/** The crashes of a node. */
export function fillCrashes(page, place, crashes, node) {
  fillList(place, crashes, "nothing has crashed", ({ ago, event, who, why }) => [`${ago} `, page.to("event", event, who, {}, node), ` ${why}`]);
}

/** A table of events, the newest first; `names` are those of the nodes where there are several. */
export class Events {
  constructor(page, names = null) {
    this.page = page;
    this.names = names;
    this.rows = el("tbody");
    const heads = ["When", ...(names ? ["Node"] : []), "Kind", "What"];
    this.element = el("div", { class: "scroller" }, el("table", { "aria-label": "Events" }, el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)))), this.rows));
  }

  draw(events) {
    keyed(this.rows, events, ({ node, event }) => `${node} ${event}`, (item) => this.row(item), (row, { ago }) => say(row.when, ago));
  }

  row({ node, event, kind, text, mood }) {
    const row = el("tr", { class: mood || null });
    row.append((row.when = el("td", { class: "number" })));
    if (this.names) row.append(el("td", {}, this.names(node)));
    row.append(el("td", {}, kind), el("td", {}, this.page.to("event", event, text, {}, node)));
    return row;
  }
}
