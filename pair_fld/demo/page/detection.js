/**
 * What becomes of several detections of one face, as pair_fld/runtime/detection.py.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {import("./geometry.js").Box} Box
 * @typedef {{box: Box, keyPoints: Point[], score: number, roll: number}} Detection in image pixels; roll: of its view
 */

import { CONSTANTS } from "./constants.js";
import { turn } from "./frame.js";

/** @param {number} logit */
export function sigmoid(logit) {
  return 1 / (1 + Math.exp(-Math.min(Math.max(logit, -80), 80)));
}

/** Intersection over union of two boxes. @param {Box} a @param {Box} b */
export function boxIou(a, b) {
  const width = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const height = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const union = area(a) + area(b) - width * height;
  return union > 0 ? (width * height) / union : 0;
}

/** @param {Box} box */
function area(box) {
  return (box[2] - box[0]) * (box[3] - box[1]);
}

/**
 * Non-maximum suppression that averages: the best detection takes the mean of those it covers, weighted by score.
 *
 * @param {Detection[]} detections @param {number} overlap IoU from which two boxes are one face @returns {Detection[]}
 */
export function weightedNms(detections, overlap) {
  let rest = [...detections].sort((a, b) => b.score - a.score);
  const kept = [];
  while (rest.length) {
    const best = rest[0];
    const near = (/** @type {Detection} */ d) => d === best || (boxIou(best.box, d.box) >= overlap && agree(best, d));
    const group = rest.filter(near);
    const total = group.reduce((sum, d) => sum + d.score, 0);
    const mean = (/** @type {(d: Detection) => number} */ of) =>
      group.reduce((sum, d) => sum + (d.score / total) * of(d), 0);
    kept.push({
      box: /** @type {Box} */ ([0, 1, 2, 3].map((k) => mean((d) => d.box[k]))),
      keyPoints: best.keyPoints.map(
        (_, k) => /** @type {Point} */ ([mean((d) => d.keyPoints[k][0]), mean((d) => d.keyPoints[k][1])]),
      ),
      score: best.score,
      roll: best.roll,
    });
    rest = rest.filter((d) => !near(d));
  }
  return kept;
}

/** Whether two overlapping detections see the face turned alike. @param {Detection} a @param {Detection} b */
function agree(a, b) {
  const { same_turn, same_key_points } = CONSTANTS.detection;
  if (!a.keyPoints.length) return Math.abs(turn(b.roll, a.roll)) <= same_turn;
  let apart = 0;
  a.keyPoints.forEach(([x, y], k) => (apart += Math.hypot(x - b.keyPoints[k][0], y - b.keyPoints[k][1])));
  const side = Math.max(a.box[2] - a.box[0], a.box[3] - a.box[1]);
  return apart / a.keyPoints.length <= same_key_points * side;
}
