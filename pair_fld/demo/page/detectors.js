/**
 * The two kinds of face detector, as pair_fld/runtime/blazeface.py and centre_detector.py. Each sees one square view.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {import("./geometry.js").Box} Box
 * @typedef {{box: Box, keyPoints: Point[], score: number}} Seen box and key points in fractions of the view's side
 * @typedef {import("./engine.js").Network} Network
 * @typedef {{kind: string, side: number, layers: number[][], input: import("./codec.js").InputSpec}} DetectorSpec
 */

import { toInput } from "./codec.js";
import { CONSTANTS } from "./constants.js";
import { clip } from "./geometry.js";
import { sigmoid } from "./detection.js";

/**
 * Everything in a view from a score of `threshold` up.
 *
 * @param {Network} network @param {DetectorSpec} spec @param {Uint8Array} view (S, S, 3) red, green, blue
 * @param {number} threshold @returns {Promise<Seen[]>}
 */
export async function infer(network, spec, view, threshold) {
  const outputs = await network.run(toInput(view, spec.input, network.inputType));
  return spec.kind === "blazeface" ? blazeFace(outputs, spec, threshold) : centreMap(outputs[0], threshold);
}

/**
 * Boxes have BlazeFace's size but are centred on eyes, nose and mouth.
 *
 * @param {import("./engine.js").Output[]} outputs @param {DetectorSpec} spec @param {number} threshold
 */
export function blazeFace(outputs, { side, layers }, threshold) {
  const byWidth = (/** @type {number} */ width) => {
    const found = outputs.find(({ shape }) => shape[shape.length - 1] === width);
    if (!found) throw new Error(`the detector has no output of width ${width}`);
    return found.data;
  };
  const regressors = byWidth(16);
  const logits = byWidth(1);
  const seen = /** @type {Seen[]} */ ([]);
  anchorCentres(layers).forEach(([cx, cy], k) => {
    const score = sigmoid(logits[k]);
    if (score < threshold) return;
    const row = regressors.subarray(16 * k, 16 * k + 16);
    const keyPoints = /** @type {Point[]} */ ([]);
    for (let j = 4; j < 16; j += 2) keyPoints.push([row[j] / side + cx, row[j + 1] / side + cy]);
    const inner = keyPoints.slice(0, 4);
    const [xs, ys] = [inner.map(([x]) => x), inner.map(([, y]) => y)];
    const x = (Math.min(...xs) + Math.max(...xs)) / 2;
    const y = (Math.min(...ys) + Math.max(...ys)) / 2;
    const [w, h] = [row[2] / side / 2, row[3] / side / 2];
    seen.push({ box: [x - w, y - h, x + w, y + h], keyPoints, score });
  });
  return seen;
}

/** Anchor centres as fractions of the side, row by row. @param {number[][]} layers side and anchors of a cell, each
 * @returns {Point[]} */
export function anchorCentres(layers) {
  const centres = /** @type {Point[]} */ ([]);
  for (const [side, perCell] of layers) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        for (let k = 0; k < perCell; k++) centres.push([(x + 0.5) / side, (y + 0.5) / side]);
      }
    }
  }
  return centres;
}

/** The output (H, W, 5 + 2 K) of a detector of `pairfld train-detector`. @param {import("./engine.js").Output} output
 * @param {number} threshold */
export function centreMap({ data, shape: [, height, width, channels] }, threshold) {
  const { centre_unit, size_unit, key_point_unit } = CONSTANTS.centre_detector;
  const seen = /** @type {Seen[]} */ ([]);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at += channels) {
      const score = sigmoid(data[at]);
      if (score < threshold) continue;
      const x = (column + 0.5 + data[at + 1] * centre_unit) / width;
      const y = (row + 0.5 + data[at + 2] * centre_unit) / height;
      const [w, h] = [data[at + 3], data[at + 4]].map((size) => Math.exp(clip(size * size_unit, -8, 2)) / 2);
      const unit = key_point_unit * 2 * Math.max(w, h);
      const keyPoints = /** @type {Point[]} */ ([]);
      for (let k = at + 5; k < at + channels; k += 2) keyPoints.push([x + data[k] * unit, y + data[k + 1] * unit]);
      seen.push({ box: [x - w, y - h, x + w, y + h], keyPoints, score });
    }
  }
  return seen;
}
