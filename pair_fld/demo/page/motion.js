/**
 * How the points of a face move from one frame of a video to the next, as pair_fld/runtime/motion.py.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {{side: number, data: Float64Array}} Grey square crop of grey levels
 */

import { CONSTANTS } from "./constants.js";
import { solve } from "./equations.js";

const M = CONSTANTS.motion;
/** Of each point, along x and y, how far it moves in each way. */
const WAYS = /** @type {[number[], number[]][]} */ (M.ways);
const COUNT = WAYS[0][0].length;
const SPAN = 2 * M.half + 1;
const WEIGHTS = weights();

/**
 * By how much the points of a face moved between two crops, in crop pixels.
 *
 * @param {Grey} before @param {Grey} after @param {Point[]} points in before @param {Point[]} guess of the movement
 * @returns {Point[]}
 */
export function measureMotion(before, after, points, guess) {
  const seen = points.map((point) => slopes(before, point));
  const guessed = new Float64Array(COUNT).map((_, way) =>
    guess.reduce((sum, [x, y], k) => sum + x * WAYS[k][0][way] + y * WAYS[k][1][way], 0),
  );
  let strengths = guessed;
  for (let step = 0; step < M.steps; step++) {
    const normal = Array.from({ length: COUNT }, (_, k) => {
      const row = new Float64Array(COUNT + 1); // the last is what the ways are solved for
      row[k] = M.holds[k];
      row[COUNT] = M.holds[k] * ((M.holds[k] > M.held ? guessed[k] : 0) - strengths[k]);
      return row;
    });
    points.forEach((point, k) => {
      const moved = move(strengths, k);
      const now = centred(surroundings(after, [point[0] + moved[0], point[1] + moved[1]], M.half));
      gather(normal, k, seen[k], now);
    });
    const more = solve(normal);
    strengths = strengths.map((value, way) => value + more[way]);
  }
  return points.map((_, k) => move(strengths, k));
}

/** What a point adds to the normal equations. @param {Float64Array[]} normal @param {number} point
 * @param {ReturnType<typeof slopes>} seen @param {Float64Array} now */
function gather(normal, point, { grey, x, y, xx, xy, yy, texture }, now) {
  const [low, high] = M.contrast;
  const contrast = Math.min(Math.max((product(now, grey) + M.plain) / (texture + M.plain), low), high);
  const change = new Float64Array(now.length);
  for (let j = 0; j < now.length; j++) change[j] = contrast * grey[j] - now[j];
  const certainty = 1 / (product(change, change) + M.noise);
  const [a, b, c] = [certainty * xx, certainty * xy, certainty * yy];
  const [px, py] = [certainty * product(change, x), certainty * product(change, y)];
  const v = M.own_movement ** 2;
  const whole = (1 + v * a) * (1 + v * c) - (v * b) ** 2;
  const [r, s, t] = [(1 + v * c) / whole, (-v * b) / whole, (1 + v * a) / whole];
  const [ixx, ixy, iyy] = [r * a + s * b, r * b + s * c, s * b + t * c];
  const [qx, qy] = [r * px + s * py, s * px + t * py];
  const [along, down] = WAYS[point];
  for (let i = 0; i < COUNT; i++) {
    const ix = ixx * along[i] + ixy * down[i];
    const iy = ixy * along[i] + iyy * down[i];
    for (let j = 0; j < COUNT; j++) normal[i][j] += ix * along[j] + iy * down[j];
    normal[i][COUNT] += along[i] * qx + down[i] * qy;
  }
}

/** @param {Float64Array} strengths of the ways @param {number} point @returns {Point} */
function move(strengths, point) {
  const [along, down] = WAYS[point];
  let [x, y] = [0, 0];
  for (let way = 0; way < COUNT; way++) {
    x += strengths[way] * along[way];
    y += strengths[way] * down[way];
  }
  return [x, y];
}

/** The surroundings of a point and their slopes, without their means. @param {Grey} image @param {Point} point */
function slopes(image, point) {
  const around = surroundings(image, point, M.half + 1);
  const wide = SPAN + 2;
  const [grey, x, y] = [0, 1, 2].map(() => new Float64Array(SPAN * SPAN));
  for (let row = 0; row < SPAN; row++) {
    for (let column = 0; column < SPAN; column++) {
      const [at, k] = [(row + 1) * wide + column + 1, row * SPAN + column];
      grey[k] = around[at];
      x[k] = (around[at + 1] - around[at - 1]) / 2;
      y[k] = (around[at + wide] - around[at - wide]) / 2;
    }
  }
  for (const samples of [grey, x, y]) centred(samples);
  return { grey, x, y, xx: product(x, x), xy: product(x, y), yy: product(y, y), texture: product(grey, grey) };
}

/** Bilinear samples around a point; beyond the image's edge the edge goes on. @param {Grey} image @param {Point} point
 * @param {number} half */
function surroundings({ side, data }, [px, py], half) {
  const [left, top] = [Math.floor(px), Math.floor(py)];
  const [fx, fy] = [px - left, py - top];
  const span = 2 * half + 1;
  // where the samples' columns and rows lie; plain loops take a fourth of the time of functions
  const columns = new Int32Array(span + 1);
  for (let k = 0; k <= span; k++) columns[k] = Math.min(Math.max(left - half + k, 0), side - 1);
  const found = new Float64Array(span * span);
  let [above, below] = [new Float64Array(span), new Float64Array(span)];
  for (let k = 0; k <= span; k++) {
    const from = Math.min(Math.max(top - half + k, 0), side - 1) * side;
    for (let j = 0; j < span; j++) {
      const here = data[from + columns[j]];
      below[j] = here + fx * (data[from + columns[j + 1]] - here);
    }
    for (let j = 0; k > 0 && j < span; j++) found[(k - 1) * span + j] = above[j] + fy * (below[j] - above[j]);
    [above, below] = [below, above];
  }
  return found;
}

/** Takes their weighted mean from samples. @param {Float64Array} samples */
function centred(samples) {
  let mean = 0;
  for (let k = 0; k < samples.length; k++) mean += WEIGHTS[k] * samples[k];
  for (let k = 0; k < samples.length; k++) samples[k] -= mean;
  return samples;
}

/** @param {Float64Array} one @param {Float64Array} other */
function product(one, other) {
  let sum = 0;
  for (let k = 0; k < one.length; k++) sum += WEIGHTS[k] * one[k] * other[k];
  return sum;
}

function weights() {
  const along = Array.from({ length: SPAN }, (_, k) => (k - M.half) ** 2);
  const all = along.flatMap((y) => along.map((x) => Math.exp(-(x + y) / (2 * M.width ** 2))));
  const sum = all.reduce((a, b) => a + b);
  return Float64Array.from(all, (value) => value / sum);
}
