// The photograph with the masks of one model over it.

import { colourOf, element, shape } from "./elements.js";

export class Stage {
  // `events`: hover(number or null), click(number or null, pixel, isWhy), cross(pixel)
  constructor(title, events) {
    this.events = events;
    this.picture = shape("image", { preserveAspectRatio: "none", x: 0, y: 0 });
    this.masks = shape("g");
    this.marks = shape("g");
    this.svg = shape("svg", { role: "img", tabindex: 0 }, this.picture, this.masks, this.marks);
    this.busy = element("div", { class: "busy", hidden: true }, "Looking …");
    this.caption = element("figcaption", {}, title);
    this.figure = element("figure", { class: "stage" }, this.svg, this.busy, this.caption);
    this.title = title;
    this.paths = new Map();
    this.cursor = null;
    this.why = false;
    this.svg.addEventListener("click", (event) => {
      if (!this.photograph) return;
      const number = Number(event.target.dataset?.number ?? 0) || null;
      this.events.click(number, this.pixelAt(event), this.why || event.shiftKey);
    });
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("blur", () => this.mark(null));
  }

  // Why mode by keyboard: the arrows move a cross, Enter asks.
  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!this.why || !this.photograph) return;
    const { width, height } = this.photograph;
    if (event.key in steps) {
      const [x, y] = this.cursor ?? [Math.floor(width / 2), Math.floor(height / 2)];
      const step = (event.shiftKey ? 0.1 : 0.02) * Math.max(width, height);
      const clip = (value, most) => Math.min(Math.max(Math.round(value), 0), most - 1);
      this.mark([clip(x + steps[event.key][0] * step, width), clip(y + steps[event.key][1] * step, height)]);
      this.events.cross(this.cursor);
    } else if (event.key === "Enter" && this.cursor) {
      this.events.click(null, this.cursor, true);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  pixelAt(event) {
    const box = this.svg.getScreenCTM().inverse();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(box);
    const clip = (value, most) => Math.min(Math.max(Math.floor(value), 0), most - 1);
    return [clip(point.x, this.photograph.width), clip(point.y, this.photograph.height)];
  }

  // A cross at a pixel; none for null.
  mark(pixel) {
    this.cursor = pixel;
    this.marks.replaceChildren();
    if (pixel === null || !this.photograph) return;
    const arm = 0.02 * Math.max(this.photograph.width, this.photograph.height);
    const [x, y] = pixel.map((side) => side + 0.5);
    const d = `M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}`;
    this.marks.append(shape("path", { class: "cross dark", d }), shape("path", { class: "cross", d }));
  }

  setWhy(why) {
    this.why = why;
    this.svg.classList.toggle("why", why);
  }

  show(photograph, objects, rejected) {
    if (this.photograph !== photograph) {
      this.photograph = photograph;
      this.svg.setAttribute("viewBox", `0 0 ${photograph.width} ${photograph.height}`);
      this.picture.setAttribute("width", photograph.width);
      this.picture.setAttribute("height", photograph.height);
      this.picture.setAttribute("href", photograph.picture);
      this.mark(null);
      this.paths.clear();
    }
    const kept = objects.filter((one) => !rejected.has(one.number)).length;
    this.svg.setAttribute("aria-label", `${photograph.name} with ${objects.length} objects, ${kept} of them kept`);
    this.caption.textContent = `${this.title}${this.title ? ": " : ""}${kept} of ${objects.length} kept`;
    this.paths.clear();
    const smallLast = [...objects].sort((one, other) => other.area - one.area);
    this.masks.replaceChildren(
      ...smallLast.map((one) => {
        const path = shape("path", { d: one.path, class: "mask", colour: colourOf(one.number) });
        path.dataset.number = one.number;
        path.classList.toggle("rejected", rejected.has(one.number));
        path.addEventListener("pointerenter", () => this.events.hover(one.number));
        path.addEventListener("pointerleave", () => this.events.hover(null));
        this.paths.set(one.number, path);
        return path;
      }),
    );
  }

  clear() {
    this.photograph = null;
    this.svg.removeAttribute("viewBox");
    this.picture.removeAttribute("href");
    this.masks.replaceChildren();
    this.marks.replaceChildren();
    this.paths.clear();
    this.svg.setAttribute("aria-label", "No photograph");
    this.caption.textContent = "No photograph";
  }

  light(number) {
    for (const [other, path] of this.paths) path.classList.toggle("lit", other === number);
  }
}
