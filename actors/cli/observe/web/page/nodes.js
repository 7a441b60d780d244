// The node map: zones as boxes, in each the nodes that this one is connected to.

import { el, keyed, put, say } from "./dom.js";

export class NodesView {
  tab = "nodes";
  title = "Nodes";

  constructor(page, place) {
    this.zones = el("div", { class: "zones" });
    this.watch = page.watch({ show: "nodes" }, ({ zones }) => {
      keyed(this.zones, zones, ({ zone }) => zone, ({ zone }) => {
        const box = el("section", { class: "zone" }, el("h2", {}, `zone ${zone}`));
        box.append((box.nodes = el("ul", { class: "plain" })));
        return box;
      }, (box, { nodes }) => keyed(box.nodes, nodes, ({ name }) => name, makeNode, fillNode));
    });
    place.append(el("h1", {}, "Nodes"), this.watch.status, this.zones);
  }

  close() {
    this.watch.close();
  }
}

function makeNode() {
  const node = el("li");
  node.append((node.name = el("strong")), " ", (node.state = el("span")), (node.rates = el("p", { class: "dim" })), (node.credit = el("p")));
  node.meter = el("meter", { min: 0, max: 1, high: 0.8, optimum: 0, "aria-label": "credit used" });
  node.used = el("span", { class: "dim" });
  node.credit.append(node.meter, " ", node.used);
  return node;
}

function fillNode(node, { name, state, is_up, round_trip, rates, used, credit, reason }) {
  put(node, "class", is_up ? null : "down");
  say(node.name, `${is_up ? "●" : "○"} ${name}`);
  say(node.state, [state, round_trip && `round trip ${round_trip}`, reason].filter(Boolean).join(", "));
  say(node.rates, rates);
  node.credit.hidden = used == null;
  put(node.meter, "value", used);
  say(node.used, credit);
}
