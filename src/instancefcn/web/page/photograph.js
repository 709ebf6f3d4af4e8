// One photograph of this visitor: what each model found in it, and what was rejected.

import { get } from "./api.js";

export class Photograph {
  constructor(table) {
    Object.assign(this, table); // key, name, width, height, place, version
    this.found = new Map(); // by "model-exclusive": what the server found
    this.rejected = new Map(); // by the same: numbers
    this.sum = null; // of the file of labels that was saved of it here
    this.saved = null; // what was kept then
  }

  get picture() {
    return `/api/photographs/${this.key}/picture`;
  }

  // What a model found; asks the server the first time, which runs the network once for both ways.
  async load(by, exclusive) {
    const which = `${by}-${exclusive}`;
    if (!this.found.has(which)) {
      const found = await get(`/api/photographs/${this.key}/objects?by=${by}&exclusive=${exclusive ? 1 : 0}`);
      if (!this.found.has(which)) {
        // Else another answer was faster, and the person may have rejected something since.
        this.found.set(which, found);
        this.rejected.set(which, new Set());
      }
    }
    return this.found.get(which);
  }

  of(by, exclusive) {
    return this.found.get(`${by}-${exclusive}`);
  }

  rejectedOf(by, exclusive) {
    return this.rejected.get(`${by}-${exclusive}`) ?? new Set();
  }

  // Objects at a threshold (null for the checkpoint's own) and at most a number of them: the first of all, as whether
  // a mask is an object depends on better ones alone.
  shown(by, { threshold, number, exclusive }) {
    const found = this.of(by, exclusive);
    if (!found) return [];
    const chosen =
      threshold === null ? found.objects.slice(0, found.usual) : found.objects.filter((one) => one.score >= threshold);
    return chosen.slice(0, number ?? chosen.length);
  }

  kept(by, choice) {
    const rejected = this.rejectedOf(by, choice.exclusive);
    return this.shown(by, choice).filter((one) => !rejected.has(one.number)).map((one) => one.number);
  }

  toggle(by, exclusive, number) {
    const rejected = this.rejectedOf(by, exclusive);
    if (!rejected.delete(number)) rejected.add(number);
  }
}
