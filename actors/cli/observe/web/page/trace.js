// A trace: the messages of some processes as a sequence chart that grows, until the trace ends by itself.

import { el, put, say, svg } from "./dom.js";

const COLUMN = 160;
const STEP = 30;
const TOP = 40;
const LETTERS = 22;

export class TraceView {
  tab = "trace";
  title = "Trace";

  constructor(page, place, argument) {
    this.page = page;
    this.watch = null;
    this.processes = el("input", { required: true, value: argument === "trace" ? "" : argument, placeholder: "serials, names with *, \"a name\", actor:Class", size: 30 });
    this.sends = el("input", { type: "checkbox" });
    this.contents = el("input", { type: "checkbox" });
    this.follow = el("input", { type: "checkbox" });
    this.seconds = el("input", { type: "number", min: 1, max: 600, value: 60 });
    this.ended = el("p", { class: "dim", role: "status" });
    this.status = el("div");
    this.desc = svg("desc", { id: "chart-desc" }, "no events yet");
    this.marks = svg("g");
    this.chart = svg(
      "svg",
      { class: "chart", role: "img", tabindex: "0", "aria-labelledby": "chart-title", "aria-describedby": "chart-desc" },
      svg("title", { id: "chart-title" }, "Messages"),
      this.desc,
      svg("defs", {}, svg("marker", { id: "head", markerWidth: 8, markerHeight: 8, refX: 7, refY: 4, orient: "auto" }, svg("path", { d: "M0,0L7,4L0,8" }))),
      this.marks,
    );
    this.list = el("ol");
    place.append(
      el("h1", {}, "Trace"),
      el("form", { class: "tools", onsubmit: (event) => this.start(event) },
        el("label", {}, "Processes ", this.processes),
        el("label", {}, this.sends, " what they send, too"),
        el("label", {}, this.contents, " contents"),
        el("label", {}, this.follow, " those that they send to"),
        el("label", {}, "Seconds ", this.seconds),
        el("button", { type: "submit" }, "Begin"),
      ),
      this.status,
      this.ended,
      el("div", { class: "scroller" }, this.chart),
      el("details", {}, el("summary", {}, "As a list"), this.list),
    );
  }

  start(event) {
    event.preventDefault();
    this.watch?.close();
    const processes = [...this.processes.value.matchAll(/"([^"]*)"|[^\s,]+/g)].map(([each, quoted]) => quoted ?? (/^\d+$/.test(each) ? Number(each) : each));
    if (!processes.length) return;
    const wish = { show: "trace", processes, sends: this.sends.checked, contents: this.contents.checked, follow: this.follow.checked, seconds: Number(this.seconds.value) };
    say(this.ended, "");
    this.marks.replaceChildren();
    this.list.replaceChildren();
    this.watch = this.page.watch(wish, (state) => this.draw(state), 0.2);
    this.status.replaceChildren(this.watch.status);
  }

  draw({ participants, events, ended }) {
    say(this.ended, ended ? `the trace has ended: ${ended}` : `${events.length} events so far`);
    const places = new Map(participants.map((name, number) => [name, COLUMN / 2 + number * COLUMN]));
    const width = Math.max(1, participants.length) * COLUMN;
    const height = TOP + STEP * (events.length + 1);
    put(this.chart, "viewBox", `0 0 ${width} ${height}`);
    put(this.chart, "width", width);
    put(this.chart, "height", height);
    say(this.desc, `${events.length} events among ${participants.join(", ") || "nobody"}; the list below has each`);
    const lives = [...places].flatMap(([name, x]) => [
      svg("line", { class: "life", x1: x, y1: TOP - 12, x2: x, y2: height }),
      svg("text", { x, y: 20, "text-anchor": "middle" }, shorten(name)),
    ]);
    const marks = events.flatMap((event, number) => shape(event, places, TOP + STEP * (number + 0.7), width));
    this.marks.replaceChildren(...lives, ...marks);
    for (const event of events.slice(this.list.childElementCount)) {
      this.list.append(el("li", {}, event.source ? `${event.source} to ${event.target}: ${event.text} (${event.style})` : `${event.on ?? "all"}: ${event.text}`));
    }
  }

  close() {
    this.watch?.close();
  }
}

function shape({ source, target, on, text, style }, places, y, width) {
  if (source === undefined) return [svg("text", { class: "dim", x: on ? places.get(on) : width / 2, y: y + 4, "text-anchor": "middle" }, shorten(text))];
  const [x1, x2] = [places.get(source), places.get(target)];
  if (x1 === x2) return [svg("path", { class: style, d: `M${x1},${y - 5}l10,10m0,-10l-10,10` }), svg("text", { x: x1 + 16, y: y + 4 }, shorten(text))];
  return [
    svg("line", { class: style, x1, y1: y, x2, y2: y, "marker-end": "url(#head)" }),
    svg("text", { x: (x1 + x2) / 2, y: y - 4, "text-anchor": "middle" }, shorten(text)),
  ];
}

const shorten = (text) => (text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text);
