// A table of any length, of which the node sends the rows that are near to those that are seen.

import { el, keyed, moveWithKeys, put, say } from "./dom.js";

const HEIGHT = 28;
const MARGIN = 2; // characters of a column beside its text
const AROUND = 2;
const PAUSE = 150;
const OTHERS = ["names", "groups", "pools", "dead_letters", "timers", "links"];

const worded = (name) => name.replace("_", " ");

export class TableView {
  constructor(page, place, of) {
    this.page = page;
    this.of = of;
    this.tab = OTHERS.includes(of) ? "names" : of;
    this.title = worded(of[0].toUpperCase() + of.slice(1));
    this.wish = { show: "table", of, columns: [], first: 0, count: 60, match: "", descending: true };
    if (of === "processes") this.wish.sort = "queued";
    this.widths = new Map();
    this.state = null;
    this.selected = null;
    this.head = el("tr");
    this.above = el("tr", { class: "spacer", "aria-hidden": "true" });
    this.rows = el("tbody");
    this.below = el("tr", { class: "spacer", "aria-hidden": "true" });
    this.table = el("table", { class: "window", "aria-label": this.title }, el("thead", {}, this.head), el("tbody", {}, this.above), this.rows, el("tbody", {}, this.below));
    this.scroller = el("div", { class: "scroller", onscroll: () => this.scrolled(), onkeydown: (event) => this.move(event) }, this.table);
    this.count = el("p", { class: "dim", id: "count" });
    this.choices = el("fieldset", {}, el("legend", {}, "Columns"));
    this.watch = page.watch(this.wish, (state) => this.draw(state));
    place.append(
      el("h1", {}, this.title),
      ...(this.tab === "names" ? [this.others()] : []),
      el("div", { class: "tools" }, this.search(), el("details", { class: "choices" }, el("summary", {}, "Columns"), this.choices)),
      this.watch.status,
      this.count,
      ...(of === "processes" ? [page.actions.makeBar()] : []),
      this.scroller,
    );
  }

  others() {
    const link = (name) => this.page.to(name, null, worded(name), { "aria-current": name === this.of ? "page" : null });
    return el("ul", { class: "tabs" }, ...OTHERS.map((name) => el("li", {}, link(name))));
  }

  search() {
    const help = "texts with * and ?, queued > 10, state = suspended; joined by and";
    return el("label", {}, "Filter ", el("input", { type: "search", placeholder: help, title: help, oninput: (event) => this.filter(event.target.value) }));
  }

  filter(text) {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.ask({ match: text.trim(), first: 0 }), PAUSE);
  }

  ask(change) {
    this.wish = { ...this.wish, ...change };
    this.watch.change(this.wish);
  }

  draw(state) {
    if (this.state?.columns.map(({ name }) => name).join() !== state.columns.map(({ name }) => name).join()) this.drawChoices(state);
    if (this.state && this.state.life !== state.life) this.selected = null; // the node has given the serials to others
    this.state = state;
    const more = state.matched === state.total ? "" : `, of ${state.total.toLocaleString("en")}`;
    say(this.count, state.matched ? `${state.matched.toLocaleString("en")} rows${more}` : state.nothing);
    keyed(this.head, state.columns, (column) => column.name, (column) => this.heading(column), (cell, column) => {
      const order = state.descending ? "descending" : "ascending";
      put(cell, "aria-sort", column.name === state.sort ? order : null);
      cell.style.width = column.grows ? "" : `${column.width + MARGIN}ch`;
    });
    this.table.style.minWidth = `${state.columns.reduce((sum, { width }) => sum + width + MARGIN, 0)}ch`;
    put(this.table, "aria-rowcount", state.matched + 1);
    this.above.style.height = `${state.first * HEIGHT}px`;
    this.below.style.height = `${Math.max(0, state.matched - state.first - state.rows.length) * HEIGHT}px`;
    keyed(this.rows, state.rows, (row) => row.key, () => this.row(), (element, row, number) => this.fill(element, row, number));
    if (!state.rows.some((row) => row.key === this.selected)) this.select(null);
  }

  heading(column) {
    const sort = () => this.ask({ sort: column.name, descending: this.state.sort === column.name ? !this.state.descending : column.falls });
    return el("th", { scope: "col", class: column.is_number ? "number" : null }, el("button", { type: "button", title: column.about, onclick: sort }, column.title));
  }

  row() {
    return el("tr", { tabindex: "-1", onfocus: (event) => this.select(event.currentTarget.row), ondblclick: (event) => this.open(event.currentTarget.row) });
  }

  fill(element, row, number) {
    const { columns, first } = this.state;
    element.row = row;
    put(element, "aria-rowindex", first + number + 2);
    put(element, "class", row.state || null);
    put(element, "tabindex", row.key === this.selected || (this.selected === null && number === 0) ? "0" : "-1");
    put(element, "aria-selected", row.key === this.selected ? "true" : null);
    keyed(element, row.cells, (_, at) => columns[at].name, () => el("td"), (cell, text, at) => {
      put(cell, "class", columns[at].is_number ? "number" : null);
      if (at === 0 && row.process != null) {
        const link = cell.firstElementChild ?? cell.appendChild(el("a", { tabindex: "-1" }));
        put(link, "href", this.page.address("process", row.process));
        say(link, text);
      } else say(cell, text);
    });
  }

  select(row) {
    this.selected = row?.key ?? null;
    for (const element of this.rows.children) {
      const isSelected = element.row.key === this.selected;
      put(element, "aria-selected", isSelected ? "true" : null);
      put(element, "tabindex", isSelected ? "0" : "-1");
    }
    if (!row && this.rows.firstElementChild) put(this.rows.firstElementChild, "tabindex", "0");
    if (this.of === "processes") this.page.actions.select(row?.target ?? null);
  }

  open(row) {
    if (row.process != null) this.page.go("process", row.process);
  }

  move(event) {
    if (event.key === "Enter" && event.target.row) this.open(event.target.row);
    else if (event.key === "End" && event.target.row) this.toEnd(event);
    else moveWithKeys(event, () => [...this.rows.children], Math.floor(this.scroller.clientHeight / HEIGHT));
  }

  /** The last row is far away: it is asked for, and has the focus when it comes. */
  toEnd(event) {
    event.preventDefault();
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.rows.lastElementChild?.focus({ preventScroll: true });
  }

  scrolled() {
    clearTimeout(this.scrolling);
    this.scrolling = setTimeout(() => {
      if (!this.state) return;
      const seen = Math.ceil(this.scroller.clientHeight / HEIGHT);
      const top = Math.floor(this.scroller.scrollTop / HEIGHT);
      const last = this.state.first + this.state.rows.length;
      const isNear = top - seen >= this.state.first || this.state.first === 0;
      if (isNear && (top + 2 * seen <= last || last >= this.state.matched)) return;
      this.ask({ first: Math.max(0, top - AROUND * seen), count: Math.min(500, Math.max(60, (2 * AROUND + 1) * seen)) });
    }, PAUSE);
  }

  drawChoices(state) {
    const chosen = new Set(state.columns.map(({ name }) => name));
    const change = () => {
      const names = [...this.choices.querySelectorAll("input:checked")].map((input) => input.value);
      if (names.length) this.ask({ columns: names });
    };
    this.choices.replaceChildren(
      this.choices.firstElementChild,
      ...state.choices.map(({ name, title, about }) => el("label", { title: about }, el("input", { type: "checkbox", value: name, checked: chosen.has(name), onchange: change }), ` ${title}`)),
    );
  }

  close() {
    clearTimeout(this.typing);
    clearTimeout(this.scrolling);
    this.watch.close();
  }
}
