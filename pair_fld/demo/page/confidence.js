/**
 * How much a face's points can be trusted, as pair_fld/runtime/confidence.py.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {import("./frame.js").Frame} Frame
 * @typedef {{weights: number[], bias: number, presence_weights: number[], presence_bias: number,
 *   again_weights: number[], again_bias: number, gain: number, power: number}} ConfidenceTree of the model's metadata
 */

import { CONSTANTS } from "./constants.js";
import { sigmoid } from "./detection.js";
import { fitFrame, frameResidual, moveFrame, place } from "./frame.js";

const { least: LEAST, least_eyes: LEAST_EYES, doubtful: DOUBTFUL, second_crop: SECOND_CROP } = CONSTANTS.confidence;
const [LEFT_CORNER, RIGHT_CORNER] = CONSTANTS.confidence.outer_eye_corners;

/** The probability that the points are good. @param {ConfidenceTree} tree @param {number[]} features */
export function score(tree, features) {
  return sigmoid(dot(features, tree.weights) + tree.bias);
}

/** The probability that there is a face. @param {ConfidenceTree} tree @param {number[]} features */
export function presence(tree, features) {
  return sigmoid(dot(features, tree.presence_weights) + tree.presence_bias);
}

/** Whether the model should be asked again. @param {ConfidenceTree} tree @param {number} known the presence */
export function doubts(tree, known) {
  return tree.again_weights.length > 0 && DOUBTFUL[0] < known && known < DOUBTFUL[1];
}

/** `presence`, knowing what a second crop showed.
 * @param {ConfidenceTree} tree @param {number[]} features @param {number[]} second */
export function presenceAgain(tree, features, second) {
  return sigmoid(dot([...features, ...second], tree.again_weights) + tree.again_bias);
}

/** The frame of the crop in which a doubtful face is looked at again. @param {Frame} frame fitted to its points */
export function secondCrop(frame) {
  return moveFrame(frame, SECOND_CROP);
}

/** What a second crop shows. @param {Point[]} points @param {Point[]} again those of the second crop
 * @param {number[]} spreads of the second crop @param {number} size of the face */
export function secondFeatures(points, again, spreads, size) {
  const square = points.reduce((sum, [x, y], k) => sum + (x - again[k][0]) ** 2 + (y - again[k][1]) ** 2, 0);
  return [log(Math.sqrt(square / points.length) / size), log(mean(spreads) / size)];
}

/** Deviations in image pixels of points whose heatmaps spread so. @param {ConfidenceTree} tree
 * @param {number[]} spreads @param {number} size of the face's frame */
export function deviations(tree, spreads, size) {
  return spreads.map((spread) => tree.gain * (Math.max(spread, LEAST * size) / size) ** tree.power * size);
}

/**
 * What tells a good face from a bad one or from none; null where the points span no face.
 *
 * @param {Point[]} points @param {number[]} spreads in image pixels @param {Frame} cropFrame that they were found in
 * @param {number} detectorScore @returns {number[] | null}
 */
export function faceFeatures(points, spreads, cropFrame, detectorScore) {
  const frame = fitFrame(points);
  if (!frame) return null;
  let square = 0;
  place(frame).forEach(([x, y], k) => (square += (points[k][0] - x) ** 2 + (points[k][1] - y) ** 2));
  const shape = Math.sqrt(square / points.length) / frame.size;
  const [dx, dy, growth, turned] = frameResidual(cropFrame, frame);
  const spread = spreads.map((value) => Math.max(value / frame.size, LEAST));
  const [left, right] = [points[LEFT_CORNER], points[RIGHT_CORNER]];
  const eyes = Math.hypot(left[0] - right[0], left[1] - right[1]) / frame.size;
  const odds = Math.min(Math.max(detectorScore, 1e-6), 1 - 1e-6);
  return [
    log(mean(spread)),
    log(quantile(spread, 0.9)),
    log(shape),
    Math.hypot(dx, dy),
    Math.abs(growth),
    Math.abs(turned) / 45,
    Math.log(odds / (1 - odds)),
    Math.log(Math.max(eyes, LEAST_EYES)),
    growth,
    deviation(spread.map(Math.log)),
    ...CONSTANTS.confidence.parts.map((part) => log(mean(part.map((k) => spread[k])))),
  ];
}

/** @param {number} value */
function log(value) {
  return Math.log(Math.max(value, LEAST));
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((a, b) => a + b) / values.length;
}

/** @param {number[]} values */
function deviation(values) {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
}

/** @param {number[]} a @param {number[]} b */
function dot(a, b) {
  return a.reduce((sum, value, k) => sum + value * b[k], 0);
}

/** Interpolated linearly, as numpy does. @param {number[]} values @param {number} share */
function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}
