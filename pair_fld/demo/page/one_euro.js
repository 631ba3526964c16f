/**
 * The One-Euro filter of a face's points, as pair_fld/runtime/one_euro.py.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {import("./frame.js").Frame} Frame
 */

import { CONSTANTS } from "./constants.js";
import { place, turn } from "./frame.js";

const C = CONSTANTS.one_euro;

/** Smooths rows of numbers, each by its own speed. */
export class OneEuroFilter {
  /** @param {number[]} cutoffs Hz, of each row at rest @param {number[]} slopes Hz per unit and second */
  constructor(cutoffs, slopes) {
    this.cutoffs = cutoffs;
    this.slopes = slopes;
    /** @type {number[][] | null} */
    this.values = null;
    /** @type {number[][]} */
    this.speeds = [];
  }

  /**
   * The smoothed rows of new ones.
   *
   * @param {number[][]} rows @param {number} seconds since the last call @param {number[]} units of each row's speed
   */
  smooth(rows, seconds, units) {
    const before = this.values;
    if (!before) {
      this.values = rows.map((row) => [...row]);
      this.speeds = rows.map((row) => row.map(() => 0));
    } else {
      this.values = rows.map((row, k) => {
        const speeds = this.speeds[k];
        row.forEach((value, j) => {
          const speed = (value - before[k][j]) / (units[k] * seconds);
          speeds[j] += share(C.speed_cutoff, seconds) * (speed - speeds[j]);
        });
        const taken = share(this.cutoffs[k] + this.slopes[k] * Math.hypot(...speeds), seconds);
        return row.map((value, j) => before[k][j] + taken * (value - before[k][j]));
      });
    }
    return this.values.map((row) => [...row]);
  }
}

/** What a first-order low-pass filter takes of a new value. @param {number} cutoff @param {number} seconds */
function share(cutoff, seconds) {
  const turned = 2 * Math.PI * cutoff * seconds;
  return turned / (turned + 1);
}

/** Smooths one face: its frame (place, size, roll) and its 51 points in the frame. */
export class FaceFilter {
  /** @param {number} strength 0: none; the cutoffs are divided by it */
  constructor(strength) {
    this.strength = strength;
    this.roll = 0;
    const rows = (/** @type {number} */ ofFrame, /** @type {number} */ ofShape) =>
      Array.from({ length: 53 }, (_, k) => (k < 2 ? ofFrame : ofShape) / strength);
    this.filter = new OneEuroFilter(rows(C.frame_cutoff, C.shape_cutoff), rows(C.frame_slope, C.shape_slope));
  }

  /** @param {Point[]} points @param {Frame} frame of them @param {number} seconds since the last call
   * @returns {Point[]} */
  smooth(points, frame, seconds) {
    if (this.strength <= 0) return points;
    this.roll += turn(this.roll, frame.roll); // no jump from 180 to -180 degrees
    const angle = (this.roll * Math.PI) / 180;
    const c = Math.cos(angle) / frame.size;
    const s = Math.sin(angle) / frame.size;
    const shape = points.map(([x, y]) => {
      const [dx, dy] = [x - frame.centre[0], y - frame.centre[1]];
      return [c * dx + s * dy, c * dy - s * dx];
    });
    const rows = [[...frame.centre], [Math.log(frame.size), angle], ...shape];
    const units = rows.map((_, k) => (k === 0 ? frame.size : 1));
    const [centre, [growth, turned], ...smooth] = this.filter.smooth(rows, seconds, units);
    const own = { centre: /** @type {Point} */ (centre), size: Math.exp(growth), roll: (turned * 180) / Math.PI };
    return place(own, /** @type {Point[]} */ (smooth));
  }
}
