/**
 * Smooths the points of one face without letting them trail, as pair_fld/runtime/smoothing.py.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {import("./geometry.js").Matrix} Matrix
 * @typedef {import("./frame.js").Frame} Frame
 * @typedef {import("./image_file.js").ImageFile} ImageFile
 * @typedef {{points: Point[], crop: import("./motion.js").Grey, matrix: Matrix}} Last
 */

import { CONSTANTS } from "./constants.js";
import { frameMatrix, snapped } from "./frame.js";
import { invert, transformPoints } from "./geometry.js";
import { measureMotion } from "./motion.js";

const C = CONSTANTS.smoothing;

export class FaceFilter {
  /** @param {number} strength 0: none; the cutoff is divided by it */
  constructor(strength) {
    this.strength = strength;
    /** @type {Last | null} */
    this.last = null;
    /** From the followed to the found points over the face's size, averaged. @type {Point[]} */
    this.apart = [];
  }

  /** @param {ImageFile} image @param {Point[]} points @param {Frame} frame of them, or a near one
   * @param {number} seconds since the last call @returns {Point[]} */
  smooth(image, points, frame, seconds) {
    if (this.strength <= 0) return points;
    const matrix = frameMatrix(snapped(frame), C.crop_side, C.crop_margin);
    const crop = grey(image.crop(matrix, C.crop_side));
    let smooth = points;
    if (this.last) {
      const before = transformPoints(this.last.matrix, this.last.points);
      const guess = transformPoints(matrix, points).map(([x, y], k) => {
        return /** @type {Point} */ ([x - before[k][0], y - before[k][1]]);
      });
      const moved = measureMotion(this.last.crop, crop, before, guess);
      const followed = transformPoints(
        invert(matrix),
        before.map(([x, y], k) => /** @type {Point} */ ([x + moved[k][0], y + moved[k][1]])),
      );
      const average = share(C.apart_cutoff, seconds);
      smooth = points.map((point, k) => {
        const apart = [0, 1].map((j) => (point[j] - followed[k][j]) / frame.size);
        const held = this.apart[k];
        this.apart[k] = [held[0] + average * (apart[0] - held[0]), held[1] + average * (apart[1] - held[1])];
        const cutoff = (C.cutoff + C.slope * Math.hypot(...this.apart[k])) / this.strength;
        const far = Math.min(Math.max(Math.hypot(...apart) / C.far - 1, 0), 1);
        const taken = Math.max(share(cutoff, seconds), far) * frame.size;
        return [followed[k][0] + taken * apart[0], followed[k][1] + taken * apart[1]];
      });
    } else this.apart = points.map(() => [0, 0]);
    this.last = { points: smooth, crop, matrix };
    return smooth.map(([x, y]) => [x, y]);
  }
}

/** What a first-order low-pass filter takes of a new value. @param {number} cutoff @param {number} seconds */
function share(cutoff, seconds) {
  const turned = 2 * Math.PI * cutoff * seconds;
  return turned / (turned + 1);
}

/** @param {ArrayLike<number>} crop red, green, blue */
function grey(crop) {
  const data = Float64Array.from({ length: crop.length / 3 }, (_, k) => {
    return (crop[3 * k] + crop[3 * k + 1] + crop[3 * k + 2]) / 3;
  });
  return { side: C.crop_side, data };
}
