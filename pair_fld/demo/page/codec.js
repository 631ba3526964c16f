/**
 * Crops to inputs, and outputs to points, as pair_fld/runtime/codec.py and session.py: coordinates, heatmaps,
 * SimCC, or points that the graph itself decoded.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {{points: Point[], spreads: number[] | null}} Decoded in crop pixels; no spreads for coordinates
 * @typedef {{kind: string, size: number, label_shift: Point[]}} Output the kind of output, the side of the crop that it
 *   was made of, and what is added to each point, in pixels of the crop
 * @typedef {{colour: string, mean: number, std: number}} InputSpec
 */

/**
 * A crop as a network takes it: bytes as they are, or (pixel - mean) / std.
 *
 * @param {Uint8Array} crop (S, S, 3) red, green, blue @param {InputSpec} spec @param {string} type
 * @returns {Float32Array | Uint8Array}
 */
export function toInput(crop, { colour, mean, std }, type) {
  const input = type === "uint8" ? new Uint8Array(crop.length) : new Float32Array(crop.length);
  const scale = type === "uint8" ? 1 : Math.fround(1 / std);
  const zero = type === "uint8" ? 0 : mean;
  const [first, last] = colour === "bgr" ? [2, 0] : [0, 2];
  for (let at = 0; at < crop.length; at += 3) {
    input[at] = (crop[at + first] - zero) * scale;
    input[at + 1] = (crop[at + 1] - zero) * scale;
    input[at + 2] = (crop[at + last] - zero) * scale;
  }
  return input;
}

/**
 * @param {Float32Array} output of one crop: (102), (H, W, 51), (51, 2 L), or points (51, 3) with their spreads
 * @param {readonly number[]} shape with the batch of 1 in front
 * @param {Output} what
 * @returns {Decoded}
 */
export function decode(output, shape, { kind, size, label_shift }) {
  const { points, spreads } = raw(output, shape, kind, size);
  return { points: points.map(([x, y], k) => [x + label_shift[k][0], y + label_shift[k][1]]), spreads };
}

/** @param {Float32Array} output @param {readonly number[]} shape @param {string} kind @param {number} size
 * @returns {Decoded} */
function raw(output, shape, kind, size) {
  const points = /** @type {Point[]} */ ([]);
  const spreads = /** @type {number[]} */ ([]);
  if (kind === "coords") {
    for (let k = 0; k < output.length; k += 2) {
      points.push([fromNorm(output[k], size), fromNorm(output[k + 1], size)]);
    }
    return { points, spreads: null };
  }
  if (kind === "points") {
    const width = shape[shape.length - 1];
    for (let k = 0; k < output.length; k += width) {
      points.push([output[k], output[k + 1]]);
      spreads.push(output[k + 2]);
    }
    return { points, spreads: width > 2 ? spreads : null };
  }
  const [count, read] = kind === "heatmap" ? [shape[3], heatmapMarginals] : [shape[1], simccMarginals];
  for (let k = 0; k < count; k++) {
    const [along_x, along_y] = read(output, shape, k);
    const [x, x_variance] = moments(along_x);
    const [y, y_variance] = moments(along_y);
    points.push([fromNorm(x, size), fromNorm(y, size)]);
    spreads.push((Math.sqrt((x_variance + y_variance) / 2) * size) / 2);
  }
  return { points, spreads };
}

/** Weights over the columns and over the rows of point k's heatmap under softmax.
 * @param {Float32Array} logits @param {readonly number[]} shape @param {number} k */
function heatmapMarginals(logits, [, height, width, count], k) {
  const along_x = new Float64Array(width);
  const along_y = new Float64Array(height);
  let most = -Infinity;
  for (let at = k; at < logits.length; at += count) most = Math.max(most, logits[at]);
  for (let row = 0, at = k; row < height; row++) {
    for (let column = 0; column < width; column++, at += count) {
      const weight = Math.exp(logits[at] - most);
      along_x[column] += weight;
      along_y[row] += weight;
    }
  }
  return [along_x, along_y];
}

/** Point k's weights over the bins of x and of y. @param {Float32Array} logits @param {readonly number[]} shape
 * @param {number} k */
function simccMarginals(logits, [, , both], k) {
  const bins = both / 2;
  return [0, 1].map((axis) => {
    const values = logits.subarray(k * both + axis * bins, k * both + (axis + 1) * bins);
    const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
    return Float64Array.from(values, (value) => Math.exp(value - most));
  });
}

/** Mean and variance of the cells' centres under weights; cell i of n lies at (2 i + 1) / n - 1.
 * @param {Float64Array} weights */
function moments(weights) {
  let total = 0,
    mean = 0,
    square = 0;
  weights.forEach((weight, k) => {
    const centre = (2 * k + 1) / weights.length - 1;
    total += weight;
    mean += weight * centre;
    square += weight * centre * centre;
  });
  mean /= total;
  return [mean, Math.max(square / total - mean * mean, 0)];
}

/** Normalised crop coordinates to crop pixels. @param {number} value @param {number} size */
function fromNorm(value, size) {
  return ((value + 1) * size - 1) / 2;
}
