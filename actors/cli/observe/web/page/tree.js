// The supervision tree, as a list and as a picture. Closed supervisors show the sums of what is below them.

import { el, keyed, moveWithKeys, put, say, svg } from "./dom.js";
import { placed } from "./layout.js";

const COLUMN = 190;
const ROW = 24;
const LETTERS = 24;

export class TreeView {
  tab = "tree";
  title = "Tree";

  constructor(page, place) {
    this.page = page;
    this.open = new Set();
    this.restarts = new Map();
    this.selected = null;
    this.wasOpened = false;
    this.list = el("ul", { class: "tree", role: "tree", "aria-label": "Supervision tree", onkeydown: (event) => this.move(event) });
    this.links = svg("g", { class: "branches" });
    this.marks = svg("g", {});
    this.count = svg("desc", { id: "tree-desc" });
    this.picture = svg("svg", { role: "img", tabindex: "0", "aria-labelledby": "tree-title", "aria-describedby": "tree-desc" }, svg("title", { id: "tree-title" }, "Supervision tree"), this.count, this.links, this.marks);
    this.cut = el("p", { class: "dim" });
    this.watch = page.watch(this.wish, (state) => this.draw(state));
    place.append(
      el("h1", {}, "Tree"),
      this.watch.status,
      this.cut,
      page.actions.makeBar(),
      el("div", { class: "tree-columns" }, el("section", { "aria-label": "List" }, this.list), el("section", { class: "scroller", "aria-label": "Picture" }, this.picture)),
    );
  }

  get wish() {
    return { show: "tree", open: [...this.open] };
  }

  draw({ branches, is_cut, life }) {
    const [root] = branches;
    if (this.life && this.life !== life) {
      this.open.clear(); // the node has been started again, and has given the serials to others
      this.wasOpened = false;
      this.selected = null;
    }
    this.life = life;
    if (!this.wasOpened && root?.process != null) {
      this.wasOpened = true; // the root is open at first
      this.toggle(root);
    }
    this.branches = branches.map((branch, number) => ({ ...branch, key: keyOf(branches, number) }));
    say(this.cut, is_cut ? "there is more below: close some branches" : branches.length ? "" : "the node has no supervision tree");
    if (!this.branches.some(({ key }) => key === this.selected)) this.selected = this.branches[0]?.key ?? null;
    keyed(this.list, this.branches, ({ key }) => key, () => this.line(), (line, branch) => this.fill(line, branch));
    this.drawPicture();
    this.restarts = new Map(this.branches.map(({ key, restarts }) => [key, restarts]));
    this.select(this.branches.find(({ key }) => key === this.selected));
  }

  line() {
    const line = el("li", { role: "treeitem", tabindex: "-1", onfocus: () => this.select(line.branch), onclick: () => this.enter(line.branch) });
    line.append((line.id_ = el("strong")), " ", (line.about = el("span", { class: "dim" })), " ", (line.state = el("span")), " ", (line.sums = el("span", { class: "sums" })));
    return line;
  }

  fill(line, branch) {
    line.branch = branch;
    put(line, "aria-level", branch.depth + 1);
    put(line, "aria-expanded", branch.is_supervisor ? String(branch.is_open) : null);
    put(line, "class", this.isNew(branch) ? "changed" : null);
    line.style.paddingInlineStart = `${branch.depth * 1.2 + 0.3}em`;
    say(line.id_, `${branch.is_supervisor ? (branch.is_open ? "▾ " : "▸ ") : ""}${branch.id}`);
    say(line.about, branch.about);
    say(line.state, branch.state);
    say(line.sums, sums(branch));
  }

  isNew({ key, restarts }) {
    return this.restarts.has(key) && this.restarts.get(key) !== restarts;
  }

  drawPicture() {
    const { nodes, rows, columns } = placed(this.branches);
    put(this.picture, "viewBox", `0 0 ${columns * COLUMN} ${rows * ROW}`);
    put(this.picture, "width", columns * COLUMN);
    put(this.picture, "height", rows * ROW);
    say(this.count, `${nodes.length} branches; the list beside it has the same`);
    const middle = (node) => node.y * ROW + ROW / 2;
    keyed(this.links, nodes.filter((node) => node.parent), ({ branch }) => branch.key, () => svg("path"), (path, node) => {
      const [x, y, px, py] = [node.x * COLUMN, middle(node), node.parent.x * COLUMN + COLUMN - 30, middle(node.parent)];
      put(path, "d", `M${px},${py}C${px + 20},${py} ${x - 20},${y} ${x},${y}`);
    });
    keyed(this.marks, nodes, ({ branch }) => branch.key, () => this.mark(), (mark, node) => {
      const { branch } = node;
      mark.branch = branch;
      put(mark, "transform", `translate(${node.x * COLUMN},${middle(node) - ROW / 2 + 2})`);
      put(mark, "class", ["mark", branch.is_supervisor && "supervisor", branch.state && "odd", this.isNew(branch) && "changed"].filter(Boolean).join(" "));
      say(mark.text, shorten(`${branch.id}${branch.processes == null ? "" : ` (${branch.processes})`}${branch.restarts ? ` ↻${branch.restarts}` : ""}`));
      say(mark.full, `${branch.id} ${branch.about} ${branch.state} ${sums(branch)}`);
    });
  }

  mark() {
    const mark = svg("g", { onclick: () => this.enter(mark.branch) });
    mark.append((mark.full = svg("title")), svg("rect", { width: COLUMN - 30, height: ROW - 4, rx: 4 }), (mark.text = svg("text", { x: 6, y: 14 })));
    return mark;
  }

  select(branch) {
    this.selected = branch?.key ?? null;
    for (const line of this.list.children) {
      put(line, "aria-selected", String(line.branch.key === this.selected));
      put(line, "tabindex", line.branch.key === this.selected ? "0" : "-1");
    }
    this.page.actions.select(branch?.target ?? null);
  }

  enter(branch) {
    if (branch.is_supervisor) this.toggle(branch);
    else if (branch.process != null) this.page.go("process", branch.process);
  }

  toggle({ process, is_open }) {
    if (process == null) return;
    if (is_open) this.open.delete(process);
    else this.open.add(process);
    this.watch?.change(this.wish);
  }

  move(event) {
    const { branch } = event.target;
    if (!branch || moveWithKeys(event, () => [...this.list.children])) return;
    const lines = [...this.list.children];
    if (event.key === "Enter") this.enter(branch);
    else if (event.key === "d" && branch.process != null) this.page.go("process", branch.process);
    else if (event.key === "ArrowRight" && branch.is_supervisor && !branch.is_open) this.toggle(branch);
    else if (event.key === "ArrowLeft" && branch.is_open) this.toggle(branch);
    else if (event.key === "ArrowLeft") lines.slice(0, lines.indexOf(event.target)).findLast((line) => line.branch.depth < branch.depth)?.focus();
    else return;
    event.preventDefault();
  }

  close() {
    this.watch.close();
  }
}

/** The key of a branch: the ids from the root down, so that a restarted child keeps its place. */
function keyOf(branches, number) {
  const ids = [];
  for (let at = number, depth = Infinity; at >= 0; at -= 1) {
    if (branches[at].depth < depth) {
      depth = branches[at].depth;
      const { id, process } = branches[at];
      ids.unshift(id === "-" ? `#${process}` : id);
    }
  }
  return ids.join("\n");
}

function sums({ processes, restarts, queued }) {
  return [
    processes == null ? "" : `${processes.toLocaleString("en")} processes`,
    restarts ? `${restarts.toLocaleString("en")} restarts` : "",
    queued ? `${queued.toLocaleString("en")} queued` : "",
  ].filter(Boolean).join(", ");
}

const shorten = (text) => (text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text);
