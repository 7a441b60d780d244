// The connection to the observer. Watches go on through lost connections, and rest while nobody sees the page.

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 10000;
const HIDDEN = 10000;

export class Link {
  /** @param {(problem: string) => void} onChange called with why there is no connection, or "". */
  constructor(onChange) {
    this.onChange = onChange;
    this.watches = new Map();
    this.dirty = new Set();
    this.acts = new Map();
    this.last = 0;
    this.pause = FIRST_PAUSE;
    this.isResting = false;
    document.addEventListener("visibilitychange", () => this.seen());
    this.connect();
  }

  /** Show a view of a node: `draw` gets each newest state. */
  watch(node, view, draw, interval = 1.0) {
    const watch = { number: ++this.last, node, view, draw, interval, update: null };
    this.watches.set(watch.number, watch);
    this.begin(watch);
    return {
      change: (other) => {
        watch.view = other;
        this.send({ do: "change", watch: watch.number, view: other });
      },
      close: () => {
        this.watches.delete(watch.number);
        this.dirty.delete(watch);
        this.send({ do: "close", watch: watch.number });
      },
    };
  }

  /** Have something done, or ask what that would be; resolves to the answer. */
  act(order) {
    return new Promise((resolve) => {
      const act = ++this.last;
      if (!this.isOpen) resolve({ problem: "there is no connection to the observer" });
      this.acts.set(act, resolve);
      this.send({ do: "act", act, ...order });
    });
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    this.socket = new WebSocket(`ws://${location.host}/link`);
    this.socket.onopen = () => {
      this.pause = FIRST_PAUSE;
      this.onChange("");
      if (!this.isResting) this.watches.forEach((watch) => this.begin(watch));
    };
    this.socket.onmessage = (event) => this.take(JSON.parse(event.data));
    this.socket.onclose = () => this.lost();
  }

  lost() {
    this.dirty.clear();
    this.onChange(
      "no connection to the observer; if it was started again, open the address that it prints",
    );
    this.acts.forEach((resolve) => resolve({ problem: "the connection to the observer was lost" }));
    this.acts.clear();
    setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(LONGEST_PAUSE, this.pause * 2);
  }

  send(order) {
    if (this.isOpen) this.socket.send(JSON.stringify(order));
  }

  begin({ number, node, view, interval }) {
    if (!this.isResting) this.send({ do: "watch", watch: number, node, view, interval });
  }

  take(message) {
    if ("act" in message) {
      this.acts.get(message.act)?.(message);
      this.acts.delete(message.act);
      return;
    }
    const watch = this.watches.get(message.watch);
    if (!watch) return;
    watch.update = message;
    if (!this.dirty.size) requestAnimationFrame(() => this.draw());
    this.dirty.add(watch);
  }

  /** Draw what is new, and say so: the observer sends the next state only then. */
  draw() {
    const watches = [...this.dirty];
    this.dirty.clear();
    for (const { number, update, draw } of watches) {
      draw(update);
      this.send({ do: "ack", watch: number, number: update.number });
    }
  }

  /** A page that has not been seen for a while looks at nothing. */
  seen() {
    clearTimeout(this.timer);
    if (document.visibilityState === "hidden") {
      this.timer = setTimeout(() => {
        this.isResting = true;
        this.watches.forEach(({ number }) => this.send({ do: "close", watch: number }));
      }, HIDDEN);
    } else if (this.isResting) {
      this.isResting = false;
      this.dirty.clear();
      this.watches.forEach((watch) => this.begin(watch));
    }
  }
}
