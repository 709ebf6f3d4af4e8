// Why: the way from score maps to one mask, of the photograph at hand (the paper's Figure 1).

import { colourOf, element, shape } from "./elements.js";

const per = (value) => (value === null ? "–" : value.toFixed(2));
const many = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

const FATES = {
  object: (one) => `object ${one.number}`,
  unlikely: (one) => `object ${one.number}, below the checkpoint’s own threshold`,
  duplicate: () => "a duplicate of a better one",
  clump: () => "a clump: better objects fill it",
};

export class Why {
  // `ask(rank)` asks about another candidate at the same pixel.
  constructor(place, ask) {
    this.place = place;
    this.ask = ask;
  }

  get isOpen() {
    return !this.place.hidden;
  }

  wait() {
    if (!this.place.contains(document.activeElement)) this.from = document.activeElement;
    if (!this.isOpen) this.place.replaceChildren(element("p", {}, "Looking …"));
    this.place.hidden = false;
    this.place.setAttribute("aria-busy", "true");
  }

  // The focus goes back to where the question was asked, if it is still here.
  close() {
    const hadFocus = this.place.contains(document.activeElement);
    this.place.hidden = true;
    this.place.replaceChildren();
    if (hadFocus && this.from?.isConnected) this.from.focus();
  }

  show(table, photograph, by) {
    this.by = by;
    this.pixel = table.pixel;
    this.photograph = photograph;
    this.table = table;
    this.place.hidden = false;
    this.place.removeAttribute("aria-busy");
    const close = element("button", { type: "button" }, "Close");
    close.addEventListener("click", () => this.close());
    const head = element("div", { class: "why-head" }, element("h2", {}, `Why, at pixel ${table.pixel.join(", ")}`), close);
    const parts = [head, this.sentence(), this.others()];
    if (table.window) {
      parts.push(element("div", { class: "steps" }, this.windowStep(), this.mapsStep(), this.maskStep(), this.scoreStep(), this.suppressionStep(), this.objectStep()));
    }
    this.place.replaceChildren(...parts.filter(Boolean));
    this.place.scrollIntoView({ block: "start", behavior: "smooth" });
    this.place.focus({ preventScroll: true });
  }

  sentence() {
    const { table } = this;
    const place = table.pass ? "What follows is of the tile that is outlined in step 1." : "What follows is of the whole.";
    const tiled = table.passes > 1 ? ` The photograph was looked at as a whole and in ${many(table.passes - 1, "tile")}. ${place}` : "";
    if (!table.window) return element("p", {}, `No window was looked at here.${tiled}`);
    if (table.rank === null) {
      return element("p", {}, `No candidate covers this pixel. Below is the best window over it, which is no object or leaves the pixel out.${tiled}`);
    }
    const { result } = table;
    return element("p", {}, `Below is candidate ${result.rank + 1}: ${FATES[result.fate](result)}.${tiled}`);
  }

  others() {
    const { here, more, rank } = this.table;
    if (here.length < 2) return null;
    const buttons = here.map((one) => {
      const button = element("button", { type: "button", "aria-pressed": String(one.rank === rank) },
        `${one.rank + 1}: ${FATES[one.fate](one)}, score ${one.score.toFixed(2)}`);
      button.addEventListener("click", () => this.ask(one.rank));
      return button;
    });
    const label = `Candidates that cover this pixel${more ? ` (the best of ${here.length + more})` : ""}`;
    return element("div", {}, element("p", { class: "hint" }, label), element("div", { class: "buttons" }, ...buttons));
  }

  windowStep() {
    const { window, result } = this.table;
    const [x0, y0, x1, y1] = window.box;
    const path = result && shape("path", { d: result.path, class: "mask", colour: colourOf(result.number ?? 1) });
    const tile = this.table.pass ? this.box(window.looked_at, "faint") : null;
    const drawn = this.view(this.whole(), path, tile, this.box(window.box, "window"), this.dot());
    const apart = Math.round((x1 - x0) / window.m);
    const sides = `${Math.round(x1 - x0)} x ${Math.round(y1 - y0)}`;
    return this.step("1. The window", drawn,
      `A window of ${window.m} x ${window.m} positions, ${apart} pixels apart: ${sides} pixels of the photograph. Of ${many(this.table.scores.windows, "window")} looked at, ${this.table.scores.better} score better.`);
  }

  mapsStep() {
    const { window } = this.table;
    if (!window.sheet) return this.step("2. The maps", element("p", {}, "This network has no score maps."), "");
    const { k } = window;
    const grid = element("div", { class: "maps", role: "img", "aria-label": `${k} x ${k} score maps with the tile that each gives` });
    grid.style.setProperty("--k", k);
    const [wide, high] = window.extent;
    const [mapLeft, mapTop] = window.looked_at;
    const [left, top, right, bottom] = around([window.looked_at, window.box], 0);
    const view = `${left} ${top} ${right - left} ${bottom - top}`;
    for (let row = 0; row < k; row += 1) {
      for (let column = 0; column < k; column += 1) {
        const sheet = shape("image", {
          href: window.sheet, preserveAspectRatio: "none", x: -column * wide, y: -row * high, width: k * wide, height: k * high,
        });
        const tile = [window.tiles_x[column], window.tiles_y[row], window.tiles_x[column + 1], window.tiles_y[row + 1]];
        const part = shape("svg", { viewBox: `0 0 ${wide} ${high}`, x: mapLeft, y: mapTop, width: wide, height: high }, sheet);
        grid.append(shape("svg", { viewBox: view }, part, this.box(window.box, "faint"), this.box(tile, "tile")));
      }
    }
    return this.step(`2. ${k} x ${k} score maps`, grid,
      "Each map says where one part of an object lies: its upper left, …, its lower right. White is 0, blue is 1. The window takes one tile from each (orange).");
  }

  maskStep() {
    const { mask, window } = this.table;
    const k = window.k;
    const pictures = [];
    if (window.sheet) pictures.push(this.exploded(mask.copied ?? mask.assembled, window, "tiles, copied"));
    if (mask.copied || !window.sheet) pictures.push(this.picture(mask.assembled, "tiles, blended"));
    if (mask.averaged) pictures.push(this.picture(mask.averaged, `averaged over ${many(mask.voters, "window")}`));
    pictures.push(this.picture(mask.above, `above ${mask.threshold}`));
    const drawn = element("div", { class: "masks" }, ...pictures);
    const blend = mask.copied ? " Between tiles the maps are blended." : "";
    return this.step("3. The mask", drawn, `The ${k} x ${k} tiles make the mask; nothing is learnt in between.${blend} What is above the threshold is foreground.`);
  }

  scoreStep() {
    const { scores, result } = this.table;
    const power = (name, value, exponent) => [name, `${per(value)}${exponent === 1 ? "" : ` ^ ${exponent}`}`, exponent === 0 ? null : value ** exponent];
    const rows = [["Objectness", per(scores.objectness), scores.objectness]];
    if (scores.quality !== null && scores.quality_power) rows.push(power("Quality: IoU that is expected", scores.quality, scores.quality_power));
    if (scores.stability_power) rows.push(power("Stability of the outline", scores.stability, scores.stability_power));
    rows.push(["Score: their product", scores.score.toFixed(3), scores.score]);
    if (result) rows.push(["Behind better ones it overlaps", result.score.toFixed(3), result.score]);
    if (result && result.counted !== result.score) rows.push(["Among many objects of its size", result.counted.toFixed(3), result.counted]);
    if (result?.calibrated) rows.push(["Chance that it is an object", per(result.chance), result.chance]);
    const list = element("dl", { class: "bars" });
    for (const [name, text, value] of rows) {
      const bar = element("meter", { min: 0, max: 1, value, "aria-label": name });
      list.append(element("div", {}, element("dt", {}, name), element("dd", {}, text, bar)));
    }
    return this.step("4. The score", list, "Stability is the IoU of the mask thresholded a little above and a little below.");
  }

  suppressionStep() {
    const { suppression, window } = this.table;
    const boxes = suppression.neighbours.map((one) => this.box(one.box, "other"));
    const by = suppression.by ? [this.box(suppression.by.box, "by")] : [];
    const all = [window.box, ...suppression.neighbours.map((one) => one.box), ...by.map(() => suppression.by.box)];
    const drawn = this.view(around(all), ...boxes, ...by, this.dot());
    let text = suppression.suppressed
      ? `It suppressed ${many(suppression.suppressed, "window")} whose boxes have an IoU above ${suppression.threshold} with its own`
      : `It suppressed no window: none has a box with an IoU above ${suppression.threshold} with its own`;
    if (suppression.neighbours.length) {
      const best = suppression.neighbours[0];
      text += `; the best of them scored ${best.score.toFixed(3)} (IoU ${best.iou.toFixed(2)})`;
    }
    if (suppression.by) {
      text = `A better window suppressed it: that one scored ${suppression.by.score.toFixed(3)}, and their boxes have an IoU of ${suppression.by.iou.toFixed(2)}, above ${suppression.threshold}`;
    }
    return this.step("5. Suppression", drawn, `${text}. Dashed: boxes of the others.`);
  }

  objectStep() {
    const { result } = this.table;
    if (!result) return null;
    const path = shape("path", { d: result.path, class: "mask", colour: colourOf(result.number ?? 1) });
    const boxes = result.beaten_boxes.map((box) => this.box(box, "other"));
    const drawn = this.view(around([this.table.window.box, ...result.beaten_boxes]), path, ...boxes, this.dot());
    const beaten = result.beaten
      ? ` It made ${many(result.beaten, "worse candidate")} a duplicate or a clump (dashed).`
      : " It left out no worse candidate.";
    const limit = (words) => (result.max_inside === null ? "" : `, ${words} more than ${result.max_inside}`);
    const reasons = {
      object: `It repeats no better object (IoU above ${result.max_iou}), and better objects inside it do not fill more than ${result.max_filled} of it${limit("and are not")}.${beaten}`,
      unlikely: `It repeats no better object, but its chance is below the checkpoint’s own threshold.${beaten}`,
      duplicate: `Its IoU with a better object is above ${result.max_iou}.`,
      clump: `Better objects inside it fill more than ${result.max_filled} of it${limit("or are")}.`,
    };
    const ask = result.blockers.map((one) => {
      const button = element("button", { type: "button" }, `Why ${FATES[one.fate](one)}?`);
      button.addEventListener("click", () => this.ask(one.rank));
      return button;
    });
    const step = this.step(`6. ${result.fate === "object" || result.fate === "unlikely" ? "An object" : "No object"}`, drawn, reasons[result.fate]);
    if (ask.length) step.append(element("div", { class: "buttons" }, ...ask));
    return step;
  }

  // -- pieces -----------------------------------------------------------------------------------------------------

  step(title, drawn, text) {
    return element("div", { class: "step" }, element("h3", {}, title), drawn, element("p", { class: "hint" }, text));
  }

  // The photograph and the window, which may hang over its border.
  whole() {
    const [x0, y0, x1, y1] = this.table.window.box;
    const { width, height } = this.photograph;
    return [Math.min(0, x0), Math.min(0, y0), Math.max(width, x1), Math.max(height, y1)];
  }

  view(area, ...children) {
    const { width, height } = this.photograph;
    const [x0, y0, x1, y1] = area ?? [0, 0, width, height];
    const picture = shape("image", { href: this.photograph.picture, width, height, preserveAspectRatio: "none" });
    return shape("svg", { class: "view", viewBox: `${x0} ${y0} ${x1 - x0} ${y1 - y0}`, "aria-hidden": "true" }, picture, ...children.filter(Boolean));
  }

  box([x0, y0, x1, y1], kind) {
    return shape("rect", { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0), class: `box ${kind}` });
  }

  dot() {
    const [x, y] = this.pixel;
    return shape("path", { d: `M${x + 0.5} ${y + 0.5}h0`, class: "dot" });
  }

  picture(source, text) {
    return element("figure", {}, element("img", { src: source, alt: "" }), element("figcaption", { class: "hint" }, text));
  }

  // The mask in its tiles, a little apart.
  exploded(source, window, text) {
    const gap = 0.025;
    const edges = (places) => places.map((place) => (place - places[0]) / (places.at(-1) - places[0]));
    const [xs, ys] = [edges(window.tiles_x), edges(window.tiles_y)];
    const size = 1 + gap * (window.k - 1);
    const drawn = shape("svg", { viewBox: `0 0 ${size} ${size}`, "aria-hidden": "true" });
    for (let row = 0; row < window.k; row += 1) {
      for (let column = 0; column < window.k; column += 1) {
        const [x0, y0, x1, y1] = [xs[column], ys[row], xs[column + 1], ys[row + 1]];
        const image = shape("image", { href: source, x: 0, y: 0, width: 1, height: 1, preserveAspectRatio: "none" });
        const part = shape("svg", {
          x: x0 + gap * column, y: y0 + gap * row, width: x1 - x0, height: y1 - y0,
          viewBox: `${x0} ${y0} ${x1 - x0} ${y1 - y0}`, preserveAspectRatio: "none",
        }, image);
        drawn.append(part);
      }
    }
    return element("figure", {}, drawn, element("figcaption", { class: "hint" }, text));
  }
}

// What of the photograph to show so that all boxes are seen.
function around(boxes, share = 0.06) {
  const low = [0, 1].map((side) => Math.min(...boxes.map((box) => box[side])));
  const high = [2, 3].map((side) => Math.max(...boxes.map((box) => box[side])));
  const margin = share * Math.max(high[0] - low[0], high[1] - low[1]);
  return [low[0] - margin, low[1] - margin, high[0] + margin, high[1] + margin];
}
