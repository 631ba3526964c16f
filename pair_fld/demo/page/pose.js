/**
 * Which way a face looks and how far its eyes and mouth are open, as pair_fld/runtime/pose.py.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {[number, number, number]} Vector
 * @typedef {[Vector, Vector, Vector]} Rotation
 * @typedef {{yaw: number, pitch: number, roll: number, turn: Rotation, size: number}} Pose degrees; turn: from the mean
 *   head to the image; size: image pixels of the mean head's unit
 * @typedef {{eye_left: number, eye_right: number, mouth: number}} Openness 0 shut, 1 open
 */

import { CONSTANTS } from "./constants.js";
import { solve } from "./equations.js";
import { fitFrame } from "./frame.js";

const P = CONSTANTS.pose;
const HEAD = /** @type {Vector[]} */ (P.mean_head);
const MODES = /** @type {Vector[][]} */ (P.modes);
const COUNT = 6 + MODES.length; // turn about x, y, z, scale, shift x, y, and the strengths of the modes
const DEGREE = Math.PI / 180;

/** The pose of a face; null where its points span nothing. @param {Point[]} points @returns {Pose | null} */
export function fitPose(points) {
  const frame = fitFrame(points);
  if (!frame) return null;
  const { centre, size, roll } = frame;
  const [c, s] = [Math.cos(roll * DEGREE), Math.sin(roll * DEGREE)];
  let turn = /** @type {Rotation} */ ([
    [c, -s, 0],
    [s, c, 0],
    [0, 0, 1],
  ]);
  let [scale, shiftX, shiftY] = [1, 0, 0];
  const strengths = MODES.map(() => 0);
  for (let step = 0; step < P.steps; step++) {
    const normal = Array.from({ length: COUNT }, (_, k) => {
      const row = new Float64Array(COUNT + 1);
      row[k] = k < 6 ? 1e-9 : P.ridge ** 2;
      if (k >= 6) row[COUNT] = -(P.ridge ** 2) * strengths[k - 6];
      return row;
    });
    points.forEach((point, k) => {
      const head = /** @type {Vector} */ (
        HEAD[k].map((value, j) => value + strengths.reduce((sum, strength, m) => sum + strength * MODES[m][k][j], 0))
      );
      const q = rotated(turn, head);
      const near = P.distance / (P.distance + q[2]);
      const [x, y, z] = q.map((value) => value * near);
      const modes = MODES.map((mode) => rotated(turn, mode[k]));
      const alongX = [0, z, -y, x / scale, 1 / scale, 0, ...modes.map((mode) => mode[0] * near)];
      const alongY = [-z, 0, x, y / scale, 0, 1 / scale, ...modes.map((mode) => mode[1] * near)];
      const rests = [(point[0] - centre[0]) / size - scale * x - shiftX, (point[1] - centre[1]) / size - scale * y - shiftY];
      [alongX, alongY].forEach((slopes, axis) => {
        for (let i = 0; i < COUNT; i++) {
          const slope = scale * slopes[i];
          for (let j = 0; j < COUNT; j++) normal[i][j] += slope * scale * slopes[j];
          normal[i][COUNT] += slope * rests[axis];
        }
      });
    });
    const change = solve(normal);
    turn = product(rotation([change[0], change[1], change[2]]), turn);
    scale = Math.max(scale + change[3], P.least_scale);
    shiftX += change[4];
    shiftY += change[5];
    strengths.forEach((_, m) => (strengths[m] += change[6 + m]));
    if (Math.max(...change.subarray(0, 6).map(Math.abs)) < P.small) break;
  }
  return { ...angles(turn), turn, size: scale * size };
}

/** How far the eyes and the mouth of a face are open. @param {Point[]} points @param {Pose} pose @returns {Openness} */
export function measureOpenness(points, { turn, size }) {
  const length = Math.max(size * Math.hypot(turn[0][1], turn[1][1]), 1e-9);
  const down = [(size * turn[0][1]) / length, (size * turn[1][1]) / length]; // the face's own direction
  const gap = (/** @type {number[][]} */ pairs) => {
    const gaps = pairs.map(([upper, lower]) => {
      return (points[lower][0] - points[upper][0]) * down[0] + (points[lower][1] - points[upper][1]) * down[1];
    });
    return gaps.reduce((a, b) => a + b) / gaps.length / (size * Math.hypot(turn[0][0], turn[1][0], turn[2][0]));
  };
  const share = (/** @type {number} */ value, /** @type {number[]} */ [least, most]) =>
    Math.min(Math.max((value - least) / (most - least), 0), 1);
  return {
    eye_left: share(gap(P.eye_left_lids), P.eye),
    eye_right: share(gap(P.eye_right_lids), P.eye),
    mouth: share(gap(P.inner_lips), P.mouth),
  };
}

/** @param {Rotation} turn @param {Vector} vector @returns {Vector} */
function rotated(turn, [x, y, z]) {
  return /** @type {Vector} */ (turn.map(([a, b, c]) => a * x + b * y + c * z));
}

/** @param {Rotation} one @param {Rotation} other @returns {Rotation} */
function product(one, other) {
  const columns = [0, 1, 2].map((j) => rotated(one, [other[0][j], other[1][j], other[2][j]]));
  return /** @type {Rotation} */ ([0, 1, 2].map((i) => columns.map((column) => column[i])));
}

/** The rotation by a vector's length about its direction. @param {Vector} vector @returns {Rotation} */
function rotation(vector) {
  const length = Math.hypot(...vector);
  const still = length < 1e-12;
  const [x, y, z] = vector.map((value) => (still ? 0 : value / length));
  const angle = Math.min(length, P.max_turn);
  const [s, c] = [Math.sin(angle), 1 - Math.cos(angle)];
  return [
    [1 - c * (y * y + z * z), c * x * y - s * z, c * x * z + s * y],
    [c * x * y + s * z, 1 - c * (x * x + z * z), c * y * z - s * x],
    [c * x * z - s * y, c * y * z + s * x, 1 - c * (x * x + y * y)],
  ];
}

/** @param {Rotation} turn */
function angles(turn) {
  return {
    yaw: Math.atan2(turn[2][0], turn[2][2]) / DEGREE,
    pitch: Math.asin(Math.min(Math.max(-turn[2][1], -1), 1)) / DEGREE,
    roll: Math.atan2(-turn[0][1], turn[1][1]) / DEGREE,
  };
}
