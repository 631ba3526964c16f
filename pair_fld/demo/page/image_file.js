/**
 * An image in two sizes, as pair_fld/runtime/image_file.py: reduced, to look for faces in, and whole, for the crops
 * that need its pixels.
 *
 * @typedef {import("./geometry.js").Raster} Raster
 * @typedef {import("./geometry.js").Matrix} Matrix
 * @typedef {import("./frame.js").Frame} Frame
 */

import { CONSTANTS } from "./constants.js";
import { averageBlocks, warp } from "./geometry.js";

const FACTORS = [8, 4, 2]; // those at which libjpeg decodes

export class ImageFile {
  /** @param {Raster} whole @param {Raster} reduced @param {number} factor whole pixels per reduced pixel along a side */
  constructor(whole, reduced, factor) {
    this.whole = whole;
    this.reduced = reduced;
    this.factor = factor;
    /** @type {Map<string, ReturnType<typeof warp>>} */
    this.crops = new Map();
  }

  /** A frame of a video. @param {Raster} whole */
  static ofFrame(whole) {
    return new ImageFile(whole, whole, 1);
  }

  /** An image, reduced where it is large. Python does so with JPEG files, where it saves decoding.
   * @param {Raster} whole */
  static ofImage(whole) {
    const { width, height } = whole;
    const factor = FACTORS.find((k) => Math.max(width, height) >= k * CONSTANTS.search_side) ?? 1;
    if (factor === 1) return ImageFile.ofFrame(whole);
    return new ImageFile(whole, averageBlocks(whole, [0, 0, width, height], factor), factor);
  }

  /** A frame of the reduced image in pixels of the whole one. @param {Frame} frame @returns {Frame} */
  enlargeFrame({ centre: [x, y], size, roll }) {
    const k = this.factor;
    return { centre: [(x + 0.5) * k - 0.5, (y + 0.5) * k - 0.5], size: size * k, roll };
  }

  /** The crop of a matrix (whole image to crop), from the reduced image where that loses nothing. The last crops are
   * kept: a followed face's points are found in one, and then smoothed. @param {Matrix} matrix @param {number} size */
  crop(matrix, size) {
    const key = `${matrix} ${size}`;
    let crop = this.crops.get(key);
    if (!crop) {
      for (const first of this.crops.keys()) if (this.crops.size >= CONSTANTS.kept_crops) this.crops.delete(first);
      crop = this.cut(matrix, size);
      this.crops.set(key, crop);
    }
    return crop;
  }

  /** @param {Matrix} matrix @param {number} size */
  cut(matrix, size) {
    const [a, b, c, d, e, f] = matrix;
    const k = this.factor;
    const pixel = 1 / Math.sqrt(Math.abs(a * e - b * d)); // whole pixels per crop pixel
    if (k === 1 || pixel < k) return warp(this.whole, matrix, size);
    const shift = (k - 1) / 2; // reduced pixel j lies at whole pixel k j + (k - 1) / 2
    return warp(this.reduced, [a * k, b * k, (a + b) * shift + c, d * k, e * k, (d + e) * shift + f], size);
  }
}
