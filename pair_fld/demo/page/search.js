/**
 * Where a detector looks, as pair_fld/runtime/search.py: square views, from coarse to fine, upright and turned.
 *
 * @typedef {import("./frame.js").Frame} Frame
 * @typedef {{size: number, roll: number, score: number}} FoundFace a face that an earlier step found
 * @typedef {{views: Frame[], below: number, turned: boolean}} Step views that belong together; see `wanted`
 * @typedef {{zooms: number[], tiles: number[], smallest: number, turned: string, first_threshold: number,
 *   second_threshold: number, second_view: number, overlap: number}} SearchConfig
 */

import { CONSTANTS } from "./constants.js";

const S = CONSTANTS.search;

/** Whether a step is worth its time, after these faces were found. @param {Step} step @param {FoundFace[]} found */
export function wanted(step, found) {
  const probable = found.filter((face) => face.score >= S.probable);
  if (!probable.length) return true;
  if (Math.min(...probable.map((face) => face.size)) >= step.below) return false;
  const certain = Math.max(...probable.map((face) => face.score)) >= S.certain;
  return !step.turned || !certain || probable.some((face) => Math.abs(face.roll) > S.upright);
}

/**
 * The steps of a search; of each size the upright views, then the turned ones.
 *
 * @param {number} width @param {number} height @param {SearchConfig} search @param {number} side of the network's input
 * @param {boolean} keyPoints whether the detector gives any @returns {Generator<Step>}
 */
export function* searchSteps(width, height, search, side, keyPoints) {
  const longer = Math.max(width, height);
  let tiles = search.tiles.filter((tile) => tile * longer >= side);
  tiles = tiles.filter((_, k) => k === 0 || tiles[k - 1] > search.smallest / S.smallest_in_view);
  const whole = search.zooms.map(
    (zoom) => /** @type {Frame} */ ({ centre: [(width - 1) / 2, (height - 1) / 2], size: longer * zoom, roll: 0 }),
  );
  const first = tiles.slice(0, 1).flatMap((tile) => cover(width, height, tile * longer));
  const levels = [{ views: [...whole, ...first], below: Infinity }];
  tiles.slice(1).forEach((tile, k) => {
    const below = S.near_limit * S.smallest_in_view * tiles[k] * longer;
    levels.push({ views: cover(width, height, tile * longer), below });
  });
  const turns = keyPoints ? S.third_turns : S.quarter_turns;
  for (const { views, below } of levels) {
    const turned = turns.flatMap((roll) => views.map((view) => ({ ...view, roll })));
    yield { views: search.turned === "always" ? [...views, ...turned] : views, below, turned: false };
    const large = views[views.length - 1].size >= S.smallest_turned_view * longer;
    if (search.turned === "auto" && large) yield { views: turned, below, turned: true };
  }
}

/** Views that cover the image and overlap by a quarter at least. @param {number} width @param {number} height
 * @param {number} side @returns {Frame[]} */
function cover(width, height, side) {
  return centres(height, side).flatMap((y) =>
    centres(width, side).map((x) => /** @type {Frame} */ ({ centre: [x, y], size: side, roll: 0 })),
  );
}

/** @param {number} length @param {number} side */
function centres(length, side) {
  if (length <= side) return [(length - 1) / 2];
  const count = Math.ceil((length - side) / (0.75 * side)) + 1;
  return Array.from({ length: count }, (_, k) => ((length - side) * k) / (count - 1) + side / 2 - 0.5);
}
