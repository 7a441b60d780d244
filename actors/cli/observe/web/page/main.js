// The page: which node and view are shown, as the fragment of the address says: #NODE/VIEW/ARGUMENT.

import { Actions } from "./actions.js";
import { AllView } from "./all.js";
import { el, keyed, put, say } from "./dom.js";
import { EventView } from "./event.js";
import { Link } from "./link.js";
import { LogView } from "./log.js";
import { NodesView } from "./nodes.js";
import { OverviewView } from "./overview.js";
import { ProcessView } from "./process.js";
import { TableView } from "./table.js";
import { TimelineView } from "./timeline.js";
import { TraceView } from "./trace.js";
import { TreeView } from "./tree.js";

const TABS = [
  ["1", "overview", "Overview"],
  ["2", "processes", "Processes"],
  ["3", "tree", "Tree"],
  ["5", "guests", "Guests"],
  ["6", "nodes", "Nodes"],
  ["7", "timeline", "Timeline"],
  ["8", "log", "Log"],
  ["9", "trace", "Trace"],
  ["0", "names", "Tables"],
];

const VIEWS = {
  all: AllView,
  overview: OverviewView,
  processes: TableView,
  tree: TreeView,
  process: ProcessView,
  guests: TableView,
  nodes: NodesView,
  timeline: TimelineView,
  event: EventView,
  log: LogView,
  trace: TraceView,
  names: TableView,
  groups: TableView,
  pools: TableView,
  dead_letters: TableView,
  timers: TableView,
  links: TableView,
};

const SAID = 8000;

const THEMES = { auto: "light", light: "dark", dark: "auto" };

const at = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.heads = [];
    this.problem = "";
    this.announcedAt = -1000;
    this.link = new Link((problem) => {
      this.problem = problem;
      this.drawHead();
    });
    this.actions = new Actions(this);
    this.link.watch(0, { show: "head" }, ({ state }) => {
      this.heads = state.nodes;
      this.drawHead();
    });
    at("tabs").append(...TABS.map(([key, name, title]) => this.tab(key, name, title)));
    at("theme").addEventListener("click", () => this.setTheme(THEMES[document.documentElement.dataset.theme]));
    this.setTheme(localStorage.getItem("theme"));
    at("skip").addEventListener("click", (event) => {
      event.preventDefault(); // an address names a view
      at("main").focus();
    });
    window.addEventListener("hashchange", () => this.turn());
    document.addEventListener("keydown", (event) => this.key(event));
    this.turn();
  }

  /** What the node allows, and why not more. */
  get head() {
    return this.heads[this.node] ?? { rights: [], why_no_action: "the node is not connected", facts: [] };
  }

  tab(key, name, title) {
    return el("li", {}, el("a", { href: `#0/${name}`, "data-name": name, "aria-keyshortcuts": key }, title));
  }

  address(view, argument, node = this.node) {
    return `#${node}/${view}${argument == null ? "" : `/${encodeURIComponent(argument)}`}`;
  }

  /** A link to a view of a node, this one if no other is given. */
  to(view, argument, text, attributes = {}, node = this.node) {
    return el("a", { href: this.address(view, argument, node), ...attributes }, text);
  }

  go(view, argument) {
    location.hash = this.address(view, argument);
  }

  turn() {
    const [node, name, argument] = location.hash.slice(1).split("/");
    this.view?.close();
    this.node = Number.parseInt(node, 10) || 0;
    this.name = Object.hasOwn(VIEWS, name) ? name : "overview";
    const main = at("main");
    main.replaceChildren();
    this.view = new VIEWS[this.name](this, main, argument == null ? this.name : decoded(argument));
    for (const link of document.querySelectorAll("#tabs a")) {
      put(link, "href", `#${this.node}/${link.dataset.name}`);
      put(link, "aria-current", link.dataset.name === this.view.tab ? "page" : null);
    }
    document.title = `${this.view.title} - Enfilade`;
    main.focus({ preventScroll: true });
    this.drawHead();
  }

  /** Show a view of this node in an element: `draw` gets the state, and `empty` is said while there is none. */
  watch(view, draw, interval) {
    const status = el("p", { class: "status" }, "asking the node");
    const watch = this.link.watch(this.node, view, ({ state, refused }) => {
      say(status, refused ?? (state ? "" : "asking the node"));
      status.hidden = !status.textContent;
      if (state) draw(state);
    }, interval);
    return { status, ...watch };
  }

  drawHead() {
    const { head } = this;
    say(at("node"), [head.name, ...head.facts, head.cost].filter(Boolean).join(" · "));
    const trouble = this.problem || (head.trouble ? [head.trouble, head.seen].filter(Boolean).join(", ") : "");
    say(at("trouble"), trouble);
    this.announceTrouble(this.problem || head.trouble || "");
    at("main").classList.toggle("stale", Boolean(this.problem || head.is_up === false));
    at("nodes").hidden = this.heads.length < 2;
    const isAll = this.name === "all";
    keyed(at("nodes"), [null, ...this.heads], (_, number) => number, () => el("a"), (link, each, place) => {
      const number = place - 1;
      say(link, each ? `${each.is_up ? "●" : "○"} ${each.name}${each.warnings ? `, ${each.warnings} warnings` : ""}` : "All nodes");
      put(link, "href", each ? `#${number}/${isAll ? "overview" : this.name}` : "#0/all");
      put(link, "aria-current", each ? !isAll && number === this.node && "true" : isAll && "true");
    });
    this.actions.draw();
  }

  /** Announce what the line at the top says, without the age of the data, which changes with each update. */
  announceTrouble(trouble) {
    if (trouble !== this.trouble) this.announce(trouble || "connected again");
    this.trouble = trouble;
  }

  /** Say something below the view for a while, and to who listens. */
  say(text) {
    say(at("said"), text);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => say(at("said"), ""), SAID);
  }

  /** Say something that can be seen anyway to who listens: politely, and not more often than once a second. */
  announce(text) {
    clearTimeout(this.announcing);
    const wait = Math.max(0, this.announcedAt + 1000 - performance.now());
    this.announcing = setTimeout(() => {
      this.announcedAt = performance.now();
      say(at("heard"), text);
    }, wait);
  }

  setTheme(name) {
    const theme = Object.hasOwn(THEMES, name) ? name : "auto";
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("theme", theme);
    say(at("theme"), `Colours: ${theme}`);
  }

  key(event) {
    const isTyping = event.target.closest("input, select, textarea, dialog");
    if (isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
    const tab = TABS.find(([key]) => key === event.key);
    if (tab) this.go(tab[1]);
    else if (!this.view.key?.(event)) this.actions.key(event);
  }
}

/** A part of an address; one that somebody has written with a stray percent sign stands for itself. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

window.page = new Page();
