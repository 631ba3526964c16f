/**
 * A face frame, as pair_fld/runtime/frame.py: the similarity from the mean face to an image.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {import("./geometry.js").Matrix} Matrix
 * @typedef {{centre: Point, size: number, roll: number}} Frame centre and size in image pixels, roll in degrees clockwise
 * @typedef {[number, number, number, number]} Residual shift x and y over the size, logarithm of sizes, degrees
 */

import { CONSTANTS } from "./constants.js";
import { rounded } from "./geometry.js";

export const MEAN_FACE = /** @type {Point[]} */ (CONSTANTS.mean_face);
const DEGREE = Math.PI / 180;

/**
 * The frame whose reference points lie nearest to the points, by weighted least squares in closed form; null where the
 * points span nothing. With points as complex numbers a similarity is z = a m + b, and a is that of a linear regression.
 *
 * @param {Point[]} points @param {Point[]} [reference] @param {number[]} [weights] @returns {Frame | null}
 */
export function fitFrame(points, reference = MEAN_FACE, weights) {
  let total = 0,
    zx = 0,
    zy = 0,
    mx = 0,
    my = 0;
  points.forEach(([x, y], k) => {
    const w = weights ? weights[k] : 1;
    total += w;
    zx += w * x;
    zy += w * y;
    mx += w * reference[k][0];
    my += w * reference[k][1];
  });
  zx /= total;
  zy /= total;
  mx /= total;
  my /= total;
  let ax = 0,
    ay = 0,
    spread = 0,
    extent = Number.MIN_VALUE;
  points.forEach(([x, y], k) => {
    const w = (weights ? weights[k] : 1) / total;
    if (w <= 0) return;
    const [px, py, qx, qy] = [x - zx, y - zy, reference[k][0] - mx, reference[k][1] - my];
    ax += w * (px * qx + py * qy);
    ay += w * (py * qx - px * qy);
    spread += w * (qx * qx + qy * qy);
    extent = Math.max(extent, Math.hypot(px, py));
  });
  ax /= spread;
  ay /= spread;
  const size = Math.hypot(ax, ay);
  if (!(size * Math.sqrt(spread) >= 1e-9 * Math.max(extent, Math.hypot(zx, zy))) || !Number.isFinite(size)) return null;
  const centre = /** @type {Point} */ ([zx - (ax * mx - ay * my), zy - (ax * my + ay * mx)]);
  return { centre, size, roll: Math.atan2(ay, ax) / DEGREE };
}

/** The frame of a 51-point box where nothing better is known; null where it has no extent.
 * @param {import("./geometry.js").Box} box @param {number} [roll] @returns {Frame | null} */
export function frameFromBox([x0, y0, x1, y1], roll = 0) {
  const size = Math.max(x1 - x0, y1 - y0);
  return size > 0 ? { centre: [(x0 + x1) / 2, (y0 + y1) / 2], size, roll } : null;
}

/**
 * The matrix from image to crop pixels: a square of side margin times the frame's size in which the face is upright.
 *
 * @param {Frame} frame @param {number} cropSize @param {number} margin @returns {Matrix}
 */
export function frameMatrix({ centre: [x, y], size, roll }, cropSize, margin) {
  const scale = cropSize / (size * margin);
  const c = scale * Math.cos(roll * DEGREE);
  const s = scale * Math.sin(roll * DEGREE);
  const middle = (cropSize - 1) / 2;
  return [c, s, middle - (c * x + s * y), -s, c, middle - (c * y - s * x)];
}

/**
 * The frame in whole 1/64 of a pixel or a degree: what is cropped, so that a last bit of a detector moves no pixel.
 *
 * @param {Frame} frame @returns {Frame}
 */
export function snapped({ centre: [x, y], size, roll }) {
  const snap = (/** @type {number} */ value) => rounded(value * 64) / 64;
  return { centre: [snap(x), snap(y)], size: Math.max(snap(size), 1 / 64), roll: snap(roll) };
}

/** Where the frame says that points of the mean face lie. @param {Frame} frame @param {Point[]} [reference]
 * @returns {Point[]} */
export function place(frame, reference = MEAN_FACE) {
  const c = frame.size * Math.cos(frame.roll * DEGREE);
  const s = frame.size * Math.sin(frame.roll * DEGREE);
  return reference.map(([x, y]) => [c * x - s * y + frame.centre[0], s * x + c * y + frame.centre[1]]);
}

/** How target differs from frame, in the frame's own units. @param {Frame} frame @param {Frame} target
 * @returns {Residual} */
export function frameResidual(frame, target) {
  const c = Math.cos(frame.roll * DEGREE);
  const s = Math.sin(frame.roll * DEGREE);
  const dx = (target.centre[0] - frame.centre[0]) / frame.size;
  const dy = (target.centre[1] - frame.centre[1]) / frame.size;
  return [c * dx + s * dy, c * dy - s * dx, Math.log(target.size / frame.size), turn(frame.roll, target.roll)];
}

/** The frame that differs by a residual. @param {Frame} frame @param {number[]} residual @returns {Frame} */
export function moveFrame(frame, [dx, dy, grow, turned]) {
  const [centre] = place(frame, [[dx, dy]]);
  return { centre, size: frame.size * Math.exp(grow), roll: frame.roll + turned };
}

/** Degrees from one roll to another, -180 ... 180. @param {number} from @param {number} to */
export function turn(from, to) {
  return ((((to - from + 180) % 360) + 360) % 360) - 180;
}

/** Whether a crop's frame is farther from that of the points in it than a detector's usually is. @param {Frame} frame
 * @param {Frame} found */
export function missed(frame, found) {
  const P = CONSTANTS.pipeline;
  const [dx, dy, growth, turned] = frameResidual(frame, found);
  return Math.hypot(dx, dy) > P.missed_shift || Math.abs(growth) > P.missed_growth || Math.abs(turned) > P.missed_turn;
}
