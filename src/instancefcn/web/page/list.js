// The objects of one model as a table that is sorted by a click on its heads.

import { colourOf, element } from "./elements.js";

const HEADS = [
  ["number", "Object"],
  ["area", "Area, px"],
  ["score", "Chance"],
];

export class List {
  // `events`: hover(number or null), toggle(number), why(number)
  constructor(title, events) {
    this.events = events;
    this.by = "number";
    this.down = false;
    this.objects = [];
    this.rows = new Map();
    this.caption = element("caption", {}, title);
    this.title = title;
    this.heads = HEADS.map(([key, name]) =>
      element("th", { scope: "col" }, element("button", { type: "button", onclick: () => this.sort(key) }, name)),
    );
    this.body = element("tbody");
    const end = element("th", { scope: "col" }, element("span", { class: "hint" }, ""));
    this.table = element("table", {}, this.caption, element("thead", {}, element("tr", {}, ...this.heads, end)), this.body);
    this.frame = element("div", { class: "list", tabindex: -1 }, this.table);
  }

  sort(key) {
    this.down = this.by === key ? !this.down : key !== "number";
    this.by = key;
    this.draw();
  }

  show(photograph, objects, rejected, calibrated) {
    this.objects = objects;
    this.rejected = rejected;
    this.pixels = photograph.width * photograph.height;
    this.heads[2].firstChild.textContent = calibrated ? "Chance" : "Score";
    const area = objects.filter((one) => !rejected.has(one.number)).reduce((sum, one) => sum + one.area, 0);
    const share = ((100 * area) / this.pixels).toFixed(1);
    const kept = objects.filter((one) => !rejected.has(one.number)).length;
    this.caption.textContent = `${this.title}${this.title ? ": " : ""}${kept} kept, areas add up to ${share} %`;
    this.draw();
  }

  get ordered() {
    const sign = this.down ? -1 : 1;
    return [...this.objects].sort((one, other) => sign * (one[this.by] - other[this.by]) || one.number - other.number);
  }

  draw() {
    for (const [place, [key]] of HEADS.entries()) {
      const sorted = this.by === key ? (this.down ? "descending" : "ascending") : "none";
      this.heads[place].setAttribute("aria-sort", sorted);
      const button = this.heads[place].firstChild;
      button.textContent = button.textContent.replace(/ [▲▼]$/, "") + { ascending: " ▲", descending: " ▼", none: "" }[sorted];
    }
    const focused = document.activeElement?.closest?.("tr")?.dataset.number;
    const onWhy = document.activeElement?.tagName === "BUTTON";
    this.rows.clear();
    this.body.replaceChildren(...this.ordered.map((one) => this.row(one)));
    const row = focused && this.rows.get(Number(focused));
    if (row && !document.activeElement?.closest?.("tr")) row.querySelector(onWhy ? "button" : "input").focus();
  }

  row(one) {
    const kept = !this.rejected.has(one.number);
    const box = element("input", {
      type: "checkbox",
      "aria-label": `Keep object ${one.number}`,
      onchange: () => this.events.toggle(one.number),
      onfocus: () => this.events.hover(one.number),
    });
    box.checked = kept;
    const swatch = element("span", { class: "swatch", colour: colourOf(one.number) });
    const why = element("button", { type: "button", "aria-label": `Why object ${one.number}` }, "Why?");
    why.addEventListener("click", () => this.events.why(one.number));
    const row = element(
      "tr",
      { class: kept ? "" : "rejected" },
      element("td", {}, element("label", { class: "check" }, box, swatch, String(one.number))),
      element("td", {}, one.area.toLocaleString("en")),
      element("td", {}, one.score.toFixed(2)),
      element("td", {}, why),
    );
    row.dataset.number = one.number;
    row.addEventListener("pointerenter", () => this.events.hover(one.number));
    row.addEventListener("pointerleave", () => this.events.hover(null));
    this.rows.set(one.number, row);
    return row;
  }

  light(number) {
    for (const [other, row] of this.rows) row.classList.toggle("lit", other === number);
  }

  // Move the focus one row on.
  step(by) {
    const rows = this.ordered.map((one) => this.rows.get(one.number));
    if (!rows.length) return;
    const here = rows.findIndex((row) => row.contains(document.activeElement));
    const place = here < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(here + by, 0), rows.length - 1);
    rows[place].querySelector("input").focus();
    rows[place].scrollIntoView({ block: "nearest" });
  }
}
