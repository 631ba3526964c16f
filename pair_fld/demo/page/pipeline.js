/**
 * From an image to its faces, as pair_fld/runtime/pipeline.py: views, detections, frames, crops, points.
 *
 * @typedef {import("./geometry.js").Point} Point
 * @typedef {import("./geometry.js").Box} Box
 * @typedef {import("./image_file.js").ImageFile} ImageFile
 * @typedef {import("./frame.js").Frame} Frame
 * @typedef {import("./detection.js").Detection} Detection
 * @typedef {{presence: number, detector: number}} Bounds what a detection must reach to count as a face
 * @typedef {{points: Point[], deviations: number[] | null, score: number, frame: Frame, box: Box,
 *   identity?: number}} Face identity: of a face that is followed
 * @typedef {{reference: Point[], weights: number[], bias: number[]}} Calibration
 * @typedef {{
 *   name: string, engine: string,
 *   model: {file: string, sha256: string, size: number, margin: number, refine: number, kind: string, min_score: number, label_shift: Point[],
 *     input: import("./codec.js").InputSpec, confidence: import("./confidence.js").ConfidenceTree | null},
 *   detector: import("./detectors.js").DetectorSpec & {file: string, search: import("./search.js").SearchConfig,
 *     calibration: Calibration},
 * }} Archive what pairfld demo writes of the archive
 */

import { decode, toInput } from "./codec.js";
import { deviations, doubts, faceFeatures, presence, presenceAgain, score, secondCrop, secondFeatures } from "./confidence.js";
import { CONSTANTS } from "./constants.js";
import { boxIou, weightedNms } from "./detection.js";
import { infer } from "./detectors.js";
import { Network } from "./engine.js";
import { fitFrame, frameFromBox, frameMatrix, missed, moveFrame, snapped, turn } from "./frame.js";
import { invert, pointsBox, transformPoints, warp } from "./geometry.js";
import { searchSteps, wanted } from "./search.js";

const P = CONSTANTS.pipeline;

/** Faces of images. One call at a time. */
export class Pipeline {
  /**
   * @param {Archive} archive @param {Network} detector @param {Network} model
   * @param {import("./timing.js").Timing} timing takes the time of each stage
   */
  constructor(archive, detector, model, timing) {
    this.archive = archive;
    this.detector = detector;
    this.model = model;
    this.timing = timing;
  }

  /** @param {Archive} archive @param {import("./timing.js").Timing} timing */
  static async open(archive, timing) {
    const detector = await Network.open(archive.detector.file);
    return new Pipeline(archive, detector, await Network.open(archive.model.file), timing);
  }

  /**
   * Every face of an image, from the image's right to left.
   *
   * @param {ImageFile} image @param {boolean} [turned] false leaves out the steps of turned views @returns {Promise<Face[]>}
   */
  async faces(image, turned = true) {
    let found = /** @type {Face[]} */ ([]);
    for (const [number, step] of [...this.searchSteps(image)].entries()) {
      if (turned || !step.turned) found = await this.withStep(image, number, step, found);
    }
    return found
      .filter((face) => face.score >= this.archive.model.min_score)
      .sort((a, b) => b.box[0] + b.box[2] - a.box[0] - a.box[2]);
  }

  /**
   * The search of a video's frame while nobody is seen: the first step of `faces`, these views, and one of
   * the further steps, the first at turn 0 and all in turn.
   *
   * @param {ImageFile} image @param {number} turn @param {Frame[]} views
   */
  async facesInTurn(image, turn, views) {
    const steps = [...this.searchSteps(image)];
    const found = await this.facesIn(image, [...steps[0].views, ...views]);
    if (steps.length < 2) return found;
    const number = 1 + (turn % (steps.length - 1));
    return this.withStep(image, number, steps[number], found);
  }

  /** The faces found before, and those of a step, if it is wanted. @param {ImageFile} image
   * @param {number} number of the step @param {import("./search.js").Step} step @param {Face[]} found */
  async withStep(image, number, step, found) {
    const known = found.map((face) => this.foundFace(face, image.factor));
    if (!wanted(step, known)) return found;
    const bounds = step.turned ? P.turned_bounds : number ? P.further_bounds : P.first_bounds;
    return distinctFaces([...found, ...(await this.facesIn(image, step.views, bounds))]);
  }

  /** The views of a search, coarse to fine. @param {ImageFile} image */
  searchSteps({ reduced: { width, height } }) {
    const { search, side, calibration } = this.archive.detector;
    return searchSteps(width, height, search, side, calibration.reference.length > 0);
  }

  /** The faces that the detector sees in these views of the reduced image. @param {ImageFile} image @param {Frame[]} views
   * @param {Bounds} [bounds] */
  async facesIn(image, views, bounds = P.first_bounds) {
    const detections = await this.detectIn(image, views);
    const framed = detections.flatMap((detection) => {
      const frame = this.frame(detection);
      return frame ? [{ frame: image.enlargeFrame(frame), detection }] : [];
    });
    const scores = framed.map(({ detection }) => detection.score);
    return this.predict(
      image,
      framed.map(({ frame }) => frame),
      scores,
      bounds,
    );
  }

  /** A face for the search, in pixels of the reduced image. @param {Face} face @param {number} factor */
  foundFace({ frame, score }, factor) {
    // a detector's own score seldom reaches what a calibrated one does for a certain face
    const certain = !this.archive.model.confidence && score >= P.further_bounds.detector;
    return { size: frame.size / factor, roll: frame.roll, score: certain ? 1 : score };
  }

  /** Faces of the first pass over these views that the second pass confirms, best first. @param {ImageFile} image
   * @param {Frame[]} views @returns {Promise<Detection[]>} */
  async detectIn(image, views) {
    const { search } = this.archive.detector;
    const seen = /** @type {Detection[]} */ ([]);
    for (const view of views) seen.push(...(await this.detectInView(image, view, search.first_threshold)));
    const confirmed = /** @type {Detection[]} */ ([]);
    for (const first of weightedNms(seen, search.overlap)) {
      const [x0, y0, x1, y1] = first.box;
      const raw = this.rawFrame(first);
      const view = /** @type {Frame} */ ({
        centre: [(x0 + x1) / 2, (y0 + y1) / 2],
        size: Math.max(x1 - x0, y1 - y0) * search.second_view,
        roll: raw ? raw.roll : first.roll,
      });
      const near = (await this.detectInView(image, view, search.second_threshold)).filter(
        (detection) => boxIou(first.box, detection.box) >= search.overlap,
      );
      weightedNms(near, search.overlap).forEach((detection, number) => {
        // of one face: the place is the second pass's, the score the better one's
        const best = number ? detection.score : Math.max(detection.score, first.score);
        confirmed.push({ ...detection, score: best });
      });
    }
    return weightedNms(confirmed, search.overlap);
  }

  /** Detections in one view, in pixels of the reduced image. @param {ImageFile} image @param {Frame} view @param {number} threshold
   * @returns {Promise<Detection[]>} */
  async detectInView(image, view, threshold) {
    const { side } = this.archive.detector;
    view = snapped(view);
    const matrix = frameMatrix(view, side, 1);
    const crop = this.timing.measure("crop", () => warp(image.reduced, matrix, side));
    const seen = await this.timing.measureAsync("detector", () =>
      infer(this.detector, this.archive.detector, crop, threshold),
    );
    const back = invert(matrix);
    // a fraction f of the side is pixel f S - 1/2
    const toImage = (/** @type {Point[]} */ points) =>
      transformPoints(
        back,
        points.map(([x, y]) => [x * side - 0.5, y * side - 0.5]),
      );
    return seen.map(({ box: [x0, y0, x1, y1], keyPoints, score }) => {
      const [[x, y]] = toImage([[(x0 + x1) / 2, (y0 + y1) / 2]]);
      const [w, h] = [((x1 - x0) * view.size) / 2, ((y1 - y0) * view.size) / 2];
      return { box: [x - w, y - h, x + w, y + h], keyPoints: toImage(keyPoints), score, roll: view.roll };
    });
  }

  /** The face frame that a detection stands for. @param {Detection} detection */
  frame(detection) {
    const raw = this.rawFrame(detection);
    return raw && moveFrame(raw, this.archive.detector.calibration.bias);
  }

  /** @param {Detection} detection */
  rawFrame(detection) {
    const { reference, weights } = this.archive.detector.calibration;
    if (!reference.length) return frameFromBox(detection.box, detection.roll);
    return fitFrame(detection.keyPoints, reference, weights);
  }

  /**
   * The faces in frames; what does not reach the bounds is left out as no face.
   *
   * @param {ImageFile} image @param {Frame[]} frames @param {number[]} detectorScores @param {Bounds} [bounds]
   * @returns {Promise<Face[]>}
   */
  async predict(image, frames, detectorScores, bounds = P.first_bounds) {
    const faces = [];
    for (const [k, first] of frames.entries()) {
      const { frame, points, spreads } = await this.settle(image, first);
      const face = await this.face(image, points, spreads, frame, detectorScores[k], bounds);
      if (face) faces.push(await this.inItsCrop(image, face, frame, detectorScores[k], bounds));
    }
    return faces;
  }

  /** Points and spreads, and the frame they were found in: the crop is cut anew around the points as often as the
   * model asks, and once more where it missed its face. @param {ImageFile} image @param {Frame} frame */
  async settle(image, frame) {
    const { refine } = this.archive.model;
    let found = await this.locate(image, frame);
    for (let number = 0; number <= refine; number++) {
      const own = fitFrame(found.points);
      if (number === refine && !(own && missed(frame, own))) break;
      frame = own ?? frame;
      found = await this.locate(image, frame);
    }
    return { frame, ...found };
  }

  /** A face that was found in the frame `crop`; where that missed it by far, as it is in a better one.
   * @param {ImageFile} image @param {Face} face @param {Frame} crop @param {number} detectorScore @param {Bounds} bounds */
  async inItsCrop(image, face, crop, detectorScore, bounds) {
    for (let number = 0; number < P.more_crops && missed(crop, face.frame); number++) {
      crop = face.frame;
      const { points, spreads } = await this.locate(image, crop);
      const better = await this.face(image, points, spreads, crop, detectorScore, bounds);
      if (!better) break;
      face = { ...better, score: Math.min(better.score, face.score) }; // a better crop makes nobody surer
    }
    return face;
  }

  /** @param {ImageFile} image @param {Frame} frame */
  async locate(image, frame) {
    const { size, margin, input } = this.archive.model;
    frame = snapped(frame);
    const matrix = frameMatrix(frame, size, margin);
    const crop = this.timing.measure("crop", () => image.crop(matrix, size));
    const [output] = await this.timing.measureAsync("model", () =>
      this.model.run(toInput(crop, input, this.model.inputType)),
    );
    return this.timing.measure("decode", () => {
      const { points, spreads } = decode(output.data, output.shape, this.archive.model);
      const pixel = (frame.size * margin) / size;
      const inImage = transformPoints(invert(matrix), points);
      return { points: inImage, spreads: spreads && spreads.map((spread) => spread * pixel) };
    });
  }

  /** @param {ImageFile} image @param {Point[]} points @param {number[] | null} spreads @param {Frame} cropFrame
   * @param {number} detectorScore @param {Bounds} bounds @returns {Promise<Face | null>} */
  async face(image, points, spreads, cropFrame, detectorScore, bounds) {
    const { confidence } = this.archive.model;
    const frame = fitFrame(points);
    if (!frame) return null;
    const face = { points, deviations: null, score: detectorScore, frame, box: pointsBox(points) };
    if (!spreads || !confidence) return detectorScore >= bounds.detector ? face : null;
    const features = faceFeatures(points, spreads, cropFrame, detectorScore);
    if (!features) return null;
    let known = presence(confidence, features);
    if (doubts(confidence, known)) {
      const again = await this.locate(image, secondCrop(frame));
      const second = secondFeatures(points, again.points, again.spreads ?? spreads, frame.size);
      known = presenceAgain(confidence, features, second);
    }
    if (known < bounds.presence) return null;
    return {
      ...face,
      deviations: deviations(confidence, spreads, frame.size),
      score: known * score(confidence, features),
    };
  }
}

/** Faces, best first, without those that fell onto a better one. @param {Face[]} faces */
export function distinctFaces(faces) {
  const kept = /** @type {Face[]} */ ([]);
  for (const face of [...faces].sort((a, b) => b.score - a.score)) {
    const same = kept.some((other) => {
      const reversed = Math.abs(turn(other.frame.roll, face.frame.roll)) > 90;
      return boxIou(face.box, other.box) > (reversed ? P.same_face_iou_reversed : P.same_face_iou);
    });
    if (!same) kept.push(face);
  }
  return kept;
}
