/**
 * Faces on a canvas.
 *
 * @typedef {import("./pipeline.js").Face} Face
 */

import { CONSTANTS } from "./constants.js";

const CURVE = "#3cc8ff";
const POINT = "#50ff50";
const RIM = "#1e1e1e";
const FAINTEST = 0.25; // opacity of the curves of a face whose score is 0
const UNCERTAIN = 0.05; // deviation, over the face's size, at which a point has lost most of its colour

/**
 * Points and curves, faint where they are uncertain.
 *
 * @param {CanvasRenderingContext2D} context @param {Face[]} faces @param {number} pixel image pixels of a screen's pixel
 */
export function drawFaces(context, faces, pixel) {
  context.save();
  // image coordinates have their origin in the first pixel's centre, a canvas in its corner
  context.translate(0.5, 0.5);
  context.lineJoin = "round";
  for (const { points, deviations, score, frame } of faces) {
    context.globalAlpha = FAINTEST + (1 - FAINTEST) * score;
    context.strokeStyle = CURVE;
    context.lineWidth = Math.max(pixel, frame.size / 150);
    for (const curve of Object.values(CONSTANTS.curves)) {
      context.beginPath();
      curve.forEach((k) => context.lineTo(...points[k]));
      context.stroke();
    }
    const radius = Math.max(1.2 * pixel, frame.size / 110);
    points.forEach(([x, y], k) => {
      dot(context, x, y, radius + pixel, RIM, 1);
      const certainty = deviations ? Math.exp(-deviations[k] / (UNCERTAIN * frame.size)) : 1;
      dot(context, x, y, radius, POINT, certainty);
    });
  }
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} radius
 * @param {string} colour @param {number} alpha */
function dot(context, x, y, radius, colour, alpha) {
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}
