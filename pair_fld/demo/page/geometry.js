/**
 * Crop geometry, as pair_fld/runtime/geometry.py: one matrix takes an image to a crop, its inverse brings points back.
 *
 * An integer coordinate is the centre of a pixel. A matrix [a, b, c, d, e, f] takes (x, y) to
 * (a x + b y + c, d x + e y + f).
 *
 * @typedef {{width: number, height: number, data: Uint8ClampedArray | Uint8Array}} Raster rows of red, green, blue, alpha
 * @typedef {[number, number, number, number, number, number]} Matrix
 * @typedef {[number, number]} Point
 * @typedef {[number, number, number, number]} Box x0, y0, x1, y1
 */

import { CONSTANTS } from "./constants.js";

/** @param {Matrix} matrix @returns {Matrix} */
export function invert([a, b, c, d, e, f]) {
  const one = 1 / (a * e - b * d);
  const [aa, bb, dd, ee] = [e * one, -b * one, -d * one, a * one];
  return [aa, bb, -aa * c - bb * f, dd, ee, -dd * c - ee * f];
}

/** @param {Matrix} matrix @param {Point[]} points @returns {Point[]} */
export function transformPoints([a, b, c, d, e, f], points) {
  return points.map(([x, y]) => [a * x + b * y + c, d * x + e * y + f]);
}

/** The box around points. @param {Point[]} points @returns {Box} */
export function pointsBox(points) {
  const box = /** @type {Box} */ ([Infinity, Infinity, -Infinity, -Infinity]);
  for (const [x, y] of points) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

/**
 * The size x size crop of an image that a matrix (image to crop) describes: red, green, blue; outside is black.
 *
 * Bilinear. A crop that shrinks the image by more than 2 is cut from an average over whole blocks of pixels.
 *
 * @param {Raster} image @param {Matrix} matrix @param {number} size @returns {Uint8Array}
 */
export function warp(image, matrix, size) {
  const shrink = 1 / Math.sqrt(Math.abs(matrix[0] * matrix[4] - matrix[1] * matrix[3]));
  if (shrink > CONSTANTS.area_shrink) {
    [image, matrix] = averageRegion(image, matrix, size, Math.trunc(shrink));
  }
  const { width, height, data } = image;
  const line = width * 4;
  const crop = new Uint8Array(size * size * 3);
  // whole numbers as runtime/geometry.py has them: rows and columns in 1/1024 of a pixel, weights of 1/32
  const [a, b, c, d, e, f] = invert(matrix);
  const along_x = Int32Array.from({ length: size }, (_, u) => parts(a * u));
  const along_y = Int32Array.from({ length: size }, (_, u) => parts(d * u));
  for (let v = 0, at = 0; v < size; v++) {
    const row_x = parts(b * v + c) + 16;
    const row_y = parts(e * v + f) + 16;
    for (let u = 0; u < size; u++, at += 3) {
      const x = (row_x + along_x[u]) >> 5;
      const y = (row_y + along_y[u]) >> 5;
      const [x0, y0] = [x >> 5, y >> 5];
      if (x0 < -1 || y0 < -1 || x0 >= width || y0 >= height) continue;
      const right = x & 31;
      const below = y & 31;
      const corner = (y0 * width + x0) * 4;
      if (x0 >= 0 && y0 >= 0 && x0 + 1 < width && y0 + 1 < height) {
        for (let k = 0, p = corner; k < 3; k++, p++) {
          crop[at + k] = bilinear(data[p], data[p + 4], data[p + line], data[p + line + 4], right, below);
        }
        continue;
      }
      const pixel = (/** @type {number} */ p, /** @type {number} */ px, /** @type {number} */ py) =>
        px >= 0 && py >= 0 && px < width && py < height ? data[p] : 0;
      for (let k = 0, p = corner; k < 3; k++, p++) {
        const [p00, p01] = [pixel(p, x0, y0), pixel(p + 4, x0 + 1, y0)];
        const [p10, p11] = [pixel(p + line, x0, y0 + 1), pixel(p + line + 4, x0 + 1, y0 + 1)];
        crop[at + k] = bilinear(p00, p01, p10, p11, right, below);
      }
    }
  }
  return crop;
}

/** Pixels in whole 1/1024, no farther than numbers of 32 bits reach; a half is rounded up whatever its last bit says.
 * @param {number} pixels */
function parts(pixels) {
  return clip(rounded(pixels * 1024 + 2 ** -20, true), -(2 ** 29), 2 ** 29);
}

/** A value between four pixels, the weights in 1/32. @param {number} p00 @param {number} p01 to its right
 * @param {number} p10 below @param {number} p11 @param {number} right @param {number} below */
function bilinear(p00, p01, p10, p11, right, below) {
  const top = (32 - right) * p00 + right * p01;
  const bottom = (32 - right) * p10 + right * p11;
  return ((32 - below) * top + below * bottom + 512) >> 10;
}

/**
 * The part of an image under a crop, averaged over block x block pixels, and the matrix that fits it.
 *
 * @param {Raster} image @param {Matrix} matrix @param {number} size @param {number} block @returns {[Raster, Matrix]}
 */
function averageRegion(image, matrix, size, block) {
  const { width, height } = image;
  const under = pointsBox(
    transformPoints(invert(matrix), [
      [-1, -1],
      [size, -1],
      [size, size],
      [-1, size],
    ]),
  );
  const x0 = clip(Math.floor(under[0]) - block, 0, width - 1);
  const y0 = clip(Math.floor(under[1]) - block, 0, height - 1);
  const x1 = clip(Math.ceil(under[2]) + block + 1, x0 + 1, width);
  const y1 = clip(Math.ceil(under[3]) + block + 1, y0 + 1, height);
  const [a, b, c, d, e, f] = matrix;
  // the centre of block j lies at pixel x0 + block j + (block - 1) / 2
  const cx = x0 + (block - 1) / 2;
  const cy = y0 + (block - 1) / 2;
  return [
    averageBlocks(image, [x0, y0, x1, y1], block),
    [a * block, b * block, a * cx + b * cy + c, d * block, e * block, d * cx + e * cy + f],
  ];
}

/**
 * The means of block x block pixels of a part of an image. The last blocks repeat the part's rim.
 *
 * @param {Raster} image @param {Box} part @param {number} block @returns {Raster}
 */
export function averageBlocks({ width, data }, [x0, y0, x1, y1], block) {
  const columns = Math.ceil((x1 - x0) / block);
  const rows = Math.ceil((y1 - y0) / block);
  const whole = Math.trunc((x1 - x0) / block); // columns
  const small = new Uint8Array(columns * rows * 4);
  const sums = new Uint32Array(columns * 3);
  const pixels = new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4); // alpha, blue, green, red
  const area = block * block;
  for (let row = 0; row < rows; row++) {
    sums.fill(0);
    for (let k = 0; k < block; k++) {
      const line = Math.min(y0 + row * block + k, y1 - 1) * width;
      let p = line + x0;
      for (let column = 0, at = 0; column < columns; column++, at += 3) {
        let red_blue = 0; // two sums in one number: a row of 257 pixels fits into 16 bits
        let green = 0;
        for (let j = 0; j < block; j++, p++) {
          const pixel = pixels[column < whole ? p : Math.min(p, line + x1 - 1)];
          red_blue += pixel & 0xff00ff;
          green += (pixel >>> 8) & 0xff;
        }
        sums[at] += red_blue & 0xffff;
        sums[at + 1] += green;
        sums[at + 2] += red_blue >>> 16;
      }
    }
    for (let column = 0; column < columns; column++) {
      for (let k = 0; k < 3; k++) {
        small[(row * columns + column) * 4 + k] = rounded(sums[column * 3 + k] / area, block > 2);
      }
    }
  }
  return { width: columns, height: rows, data: small };
}

/**
 * The nearest whole number. OpenCV rounds a half to the even one, but up where it averages blocks of 2 x 2.
 *
 * @param {number} value @param {boolean} [to_even]
 */
export function rounded(value, to_even = true) {
  const up = Math.floor(value + 0.5);
  return to_even && up - value === 0.5 && up % 2 ? up - 1 : up;
}

/** @param {number} value @param {number} low @param {number} high */
export function clip(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
