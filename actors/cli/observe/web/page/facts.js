// Facts about a process or an event: headings, and lines with a label, a text and a note.

import { el } from "./dom.js";

/** The elements for facts. */
export function factsOf(page, facts) {
  const shown = [];
  let list = null;
  for (const { text, label, note, mood, leads_to } of facts) {
    const said = leads_to == null ? text.trim() : page.to("process", leads_to, text.trim());
    if (mood === "title") {
      list = null;
      shown.push(el("h2", {}, text));
    } else if (label) {
      if (list?.tagName !== "DL") shown.push((list = el("dl")));
      list.append(el("dt", {}, label), el("dd", {}, said));
    } else if (text) {
      if (list?.tagName !== "UL") shown.push((list = el("ul", { class: "plain" })));
      list.append(el("li", { class: mood || null }, said, note && el("span", { class: "dim" }, ` ${note}`)));
    }
  }
  return shown;
}
