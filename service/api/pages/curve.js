// A loss curve, drawn as its points come.

const [WIDTH, HEIGHT, MARGIN] = [640, 240, 28];
const SVG = "http://www.w3.org/2000/svg";

export class Curve {
  #points = [];

  constructor() {
    this.svg = this.#made("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.line = this.#made("polyline");
    this.top = this.#made("text", { x: 4, y: 18 });
    this.bottom = this.#made("text", { x: 4, y: HEIGHT - 8 });
    this.last = this.#made("text", { x: WIDTH - 4, y: HEIGHT - 8, "text-anchor": "end" });
    this.svg.append(this.line, this.top, this.bottom, this.last);
  }

  add(step, loss) {
    if (Number.isFinite(loss)) this.#points.push([step, loss]);
    this.#draw();
  }

  set(steps, losses) {
    this.#points = steps.map((step, i) => [step, losses[i]]).filter(([, y]) => Number.isFinite(y));
    this.#draw();
  }

  #draw() {
    if (!this.#points.length) return;
    const steps = this.#points.map(([step]) => step);
    const losses = this.#points.map(([, loss]) => loss);
    const positive = losses.every((loss) => loss > 0);
    const scale = positive ? Math.log10 : (loss) => loss;
    const [low, high] = [Math.min(...losses), Math.max(...losses)];
    const place = (value, from, to) => (to > from ? (value - from) / (to - from) : 0.5);
    const points = this.#points.map(([step, loss]) => {
      const x = MARGIN + place(step, steps[0], steps.at(-1)) * (WIDTH - 2 * MARGIN);
      const y = place(scale(loss), scale(low), scale(high)) * (HEIGHT - 2 * MARGIN);
      return `${x.toFixed(1)},${(HEIGHT - MARGIN - y).toFixed(1)}`;
    });
    this.line.setAttribute("points", points.join(" "));
    this.top.textContent = `loss ${high.toPrecision(4)}${positive ? ", logarithmic" : ""}`;
    this.bottom.textContent = low.toPrecision(4);
    this.last.textContent = `step ${steps.at(-1)}`;
    const told = `The loss from ${losses[0].toPrecision(4)} to ${losses.at(-1).toPrecision(4)}`;
    this.svg.setAttribute("aria-label", told);
  }

  #made(tag, attributes = {}) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }
}
