// Stepping through a folder: keep, reject, save, next.

import { get, post } from "./api.js";
import { byId } from "./elements.js";

const STATES = {
  none: "no labels yet",
  saved: "saved",
  before: "saved before; what is shown may differ",
  changed: "changed since it was saved",
  others: "has labels that this page did not write",
  broken: "can’t be read",
};

export class Review {
  constructor(folder, page) {
    this.folder = folder; // its name, labels (null without --labels), form
    this.page = page;
    this.images = [];
    this.place = 0;
    this.opened = new Map(); // photographs by place
    this.saving = false; // an answer is awaited
    byId("review").hidden = false;
    byId("save").hidden = folder.labels === null;
    for (const one of document.querySelectorAll(".of-review")) one.hidden = folder.labels === null;
    byId("previous").addEventListener("click", () => this.step(-1));
    byId("next").addEventListener("click", () => this.step(1));
    byId("save").addEventListener("click", () => this.save());
  }

  async begin() {
    this.images = await get("/api/folder");
    const first = this.images.findIndex((one) => one.state === "none");
    await this.go(first < 0 ? 0 : first);
  }

  async go(place) {
    if (place < 0 || place >= this.images.length) return;
    this.place = place;
    this.draw();
    const table = await this.page.busy(() => post(`/api/folder/${place}`));
    if (this.place !== place) return;
    if (!table) {
      this.images[place].state = "broken";
      this.page.clear(this.images[place].name);
      this.draw();
      return;
    }
    this.images[place].state = table.state;
    const known = this.opened.get(place);
    if (known && known.version === table.version) {
      known.key = table.key; // the server may have dropped it meanwhile
      await this.page.choose(known);
    } else {
      this.opened.set(place, this.page.photograph(table));
      await this.page.choose(this.opened.get(place));
    }
    if (this.place !== place) return;
    this.draw();
    this.prefetch(place + 1);
  }

  // Let the network look at the next photograph meanwhile; what is wrong with it is said when it is shown.
  async prefetch(place) {
    if (place >= this.images.length || this.opened.has(place)) return;
    let photograph = null;
    try {
      photograph = this.page.photograph(await post(`/api/folder/${place}`));
      if (this.opened.has(place)) return; // the person was faster, and may have rejected something
      this.opened.set(place, photograph);
      await photograph.load(0, this.page.choice.exclusive);
    } catch {
      if (this.opened.get(place) === photograph && this.place !== place) this.opened.delete(place);
    }
  }

  step(by) {
    return this.go(this.place + by);
  }

  nextWithout() {
    const order = [...this.images.keys()].map((step) => (this.place + 1 + step) % this.images.length);
    const place = order.find((one) => this.images[one].state === "none");
    if (place === undefined) this.page.say("Every photograph has labels.");
    else this.go(place);
  }

  // One at a time: a second one would go on by one photograph more, which nobody has seen.
  async save() {
    if (this.saving) return;
    this.saving = true;
    try {
      await this.saveOver(this.place, null);
    } finally {
      this.saving = false;
    }
  }

  // `over`: the sum of the file that may be replaced: the one that was saved here, or that the person was asked about.
  async saveOver(place, over) {
    const photograph = this.opened.get(place);
    const { choice } = this.page;
    if (photograph !== this.page.shown()) return; // the next one is on its way, and nobody has seen it
    if (this.folder.labels === null || !photograph?.of(0, choice.exclusive)) return;
    const kept = photograph.kept(0, choice);
    const table = { key: photograph.key, by: 0, exclusive: choice.exclusive, kept, over: over ?? photograph.sum };
    const saved = await this.page.busy(async () => {
      try {
        return await post(`/api/folder/${place}/labels`, table);
      } catch (error) {
        if (error.status !== 409) throw error;
        return { refused: error.table };
      }
    });
    if (!saved) return;
    if (saved.refused) {
      const { sentence, sum } = saved.refused;
      if (!sum) this.page.complain(new Error(sentence));
      else if (window.confirm(`${sentence} Write over it?`)) await this.saveOver(place, sum);
      return;
    }
    this.images[place].state = "saved";
    photograph.sum = saved.sum;
    photograph.saved = String(kept);
    this.page.say(`${photograph.name}: ${saved.objects} objects saved in ${saved.file}`);
    if (this.place === place && place + 1 < this.images.length) this.step(1);
    else this.draw();
  }

  // What is known of the labels of the photograph at hand.
  state() {
    const { state } = this.images[this.place];
    const photograph = this.opened.get(this.place);
    if (state !== "saved" || !photograph) return state;
    if (photograph.saved === null) return "before";
    return photograph.saved === String(photograph.kept(0, this.page.choice)) ? "saved" : "changed";
  }

  draw() {
    const image = this.images[this.place];
    if (!image) return;
    const done = this.images.filter((one) => ["saved", "others"].includes(one.state)).length;
    byId("place").textContent = `${this.place + 1} of ${this.images.length}`;
    byId("saved").textContent = this.folder.labels === null
      ? "Without --labels nothing is saved."
      : `${STATES[this.state()]}; ${done} of ${this.images.length} have labels, in ${this.folder.labels}`;
    byId("save").disabled = image.state === "broken";
    byId("previous").disabled = this.place === 0;
    byId("next").disabled = this.place + 1 === this.images.length;
  }
}
