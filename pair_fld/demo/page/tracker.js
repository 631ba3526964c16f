/**
 * Faces of a video, as pair_fld/runtime/tracker.py: followed from frame to frame by their last landmarks.
 *
 * The landmark model alone follows a face: the frame of its last points, moved on by its speed, cuts the next crop. The
 * detector looks at the whole image when no face is followed and now and then for newcomers, and about a face that is
 * lost or uncertain.
 *
 * @typedef {import("./geometry.js").Raster} Raster
 * @typedef {import("./frame.js").Frame} Frame
 * @typedef {import("./pipeline.js").Face} Face
 * @typedef {import("./pipeline.js").Pipeline} Pipeline
 * @typedef {Face & {identity: number}} TrackedFace
 */

import { CONSTANTS } from "./constants.js";
import { boxIou } from "./detection.js";
import { fitFrame, frameMatrix, frameResidual, missed } from "./frame.js";
import { pointsBox, warp } from "./geometry.js";
import { ImageFile } from "./image_file.js";
import { FaceFilter } from "./smoothing.js";

const T = CONSTANTS.tracker;
const SAME_FACE_IOU = CONSTANTS.pipeline.same_face_iou;

/** One face that is or was followed. */
class Track {
  /** @param {number} identity @param {Face} face @param {number} time @param {number} smoothing */
  constructor(identity, face, time, smoothing) {
    this.identity = identity;
    /** As it was found last, unsmoothed. */
    this.face = face;
    /** When that was, in seconds. */
    this.seen = time;
    this.lost = false;
    /** Image pixels per second. */
    this.speed = [0, 0];
    /** @type {Float64Array | null} */
    this.colours = null;
    /** Frames since it was first found. */
    this.age = 0;
    /** Frames since the detector searched about it. */
    this.rechecked = 0;
    /** The frame of the crop in which it was followed to where it is now. @type {Frame | null} */
    this.followedIn = null;
    this.smoothing = smoothing;
    this.filter = new FaceFilter(smoothing);
    this.filtered = time;
  }

  /** Where the face should be by now. @param {number} time @returns {Frame} */
  expected(time) {
    const { centre, size, roll } = this.face.frame;
    const elapsed = Math.min(time - this.seen, T.coast);
    let [dx, dy] = this.speed.map((speed) => speed * elapsed);
    if (!this.lost) {
      // a wrong speed must not push a crop off its face
      const share = Math.min(1, (T.max_step * size) / Math.max(Math.hypot(dx, dy), 1e-9));
      [dx, dy] = [dx * share, dy * share];
    }
    return { centre: [centre[0] + dx, centre[1] + dy], size, roll };
  }

  /** The face was found in a new frame of the video. @param {Face} face @param {number} time
   * @param {Frame | null} [followedIn] the frame of its crop, if it was followed */
  update(face, time, followedIn = null) {
    const elapsed = Math.max(time - this.seen, 1e-3);
    if (this.lost) {
      this.speed = [0, 0];
      this.filter = new FaceFilter(this.smoothing);
    } else {
      const share = elapsed / (elapsed + T.speed_memory);
      this.speed = this.speed.map((speed, k) => {
        const now = (face.frame.centre[k] - this.face.frame.centre[k]) / elapsed;
        return speed + share * (now - speed);
      });
    }
    Object.assign(this, { face, seen: time, lost: false, followedIn });
  }

  /** The face for the screen: smoothed, with its identity. Once per frame. @param {ImageFile} image
   * @param {number} time @returns {TrackedFace} */
  smoothed(image, time) {
    const { points: found, frame: own } = this.face;
    // the crop in which its points were found, unless it missed the face, need not be cut again
    const near = this.followedIn && !missed(this.followedIn, own) ? this.followedIn : own;
    const points = this.filter.smooth(image, found, near, Math.max(time - this.filtered, 1e-3));
    this.filtered = time;
    const frame = fitFrame(points) ?? this.face.frame;
    return { ...this.face, points, frame, box: pointsBox(points), identity: this.identity };
  }
}

/** Follows the faces of one video: to be called with every frame in turn. */
export class Tracker {
  /**
   * @param {Pipeline} pipeline
   * @param {Partial<typeof T.config>} [config] see TrackerConfig in Python
   */
  constructor(pipeline, config = {}) {
    this.pipeline = pipeline;
    this.config = { ...T.config, ...config };
    /** @type {Track[]} */
    this.tracks = [];
    this.count = 0;
    this.framesSinceScan = 0;
    this.framesWithoutFace = 0;
    this.time = -Infinity;
    /** Of the last frame's samples. @type {number[]} */
    this.brightness = [];
    /** The same, each of when nothing covered it. @type {number[]} */
    this.scene = [];
  }

  /**
   * The faces of the next frame, from its right to its left.
   *
   * @param {Raster} frame @param {number} time of the frame in seconds @returns {Promise<TrackedFace[]>}
   */
  async faces(frame, time) {
    const image = ImageFile.ofFrame(frame);
    if (time <= this.time) time = this.time + 1e-3; // a video that begins again
    this.time = time;
    if (this.isCut(frame)) this.tracks = [];
    await this.follow(image, time);
    this.part(image);
    await this.detect(image, time);
    this.tracks = this.tracks.filter((track) => !track.lost || time - track.seen <= this.config.remember);
    return this.live()
      .map((track) => this.pipeline.timing.measure("smooth", () => track.smoothed(image, time)))
      .filter((face) => face.score >= this.pipeline.archive.model.min_score)
      .sort((a, b) => b.box[0] + b.box[2] - a.box[0] - a.box[2]);
  }

  live() {
    return this.tracks.filter((track) => !track.lost);
  }

  /** Whether this frame is of another scene: its brightness then goes neither with the last frame's nor, where nothing
   * covers it, with the last scene's. @param {Raster} image */
  isCut({ width, height, data }) {
    const step = Math.max(1, Math.trunc(Math.max(width, height) / T.cut_side));
    const first = Math.trunc(step / 2);
    const now = /** @type {number[]} */ ([]);
    for (let y = first; y < height; y += step) {
      for (let x = first; x < width; x += step) {
        const at = (y * width + x) * 4;
        now.push((data[at] + data[at + 1] + data[at + 2]) / 3);
      }
    }
    const { brightness: before, scene } = this;
    this.brightness = now;
    if (before.length !== now.length) {
      this.scene = now;
      return before.length > 0;
    }
    const surface = [...now].sort((a, b) => a - b)[Math.trunc(now.length / 2)];
    const all = [...now.keys()];
    const bare = all.filter((k) => Math.abs(now[k] - surface) > T.one_surface);
    const uncovered = bare.length > (1 - T.cover) * now.length ? all : bare;
    this.scene = [...scene];
    for (const k of uncovered) this.scene[k] = now[k];
    const { cut } = this.config;
    if (correlation(before, now) >= cut || uncovered.length < T.least_uncovered * now.length) return false;
    const of = (/** @type {number[]} */ samples) => uncovered.map((k) => samples[k]);
    if (correlation(of(scene), of(now)) >= cut) return false;
    this.scene = now;
    return true;
  }

  /** @param {ImageFile} image @param {number} time */
  async follow(image, time) {
    for (const track of this.live()) {
      const expected = track.expected(time);
      const [found] = await this.pipeline.predict(image, [expected], [T.tracked_detector_score]);
      if (found) track.update(found, time, expected);
      else Object.assign(track, { lost: true, rechecked: T.lost_every });
    }
  }

  /** Two tracks on one face: the one whose colours it has less is lost, behind the other. @param {ImageFile} image */
  part(image) {
    const live = this.live();
    if (this.tracks.length < 2) return;
    const unlikeNow = (/** @type {Track} */ track) => unlike(track.colours, coloursOf(image, track.face.frame));
    const hidden = new Set();
    const crowded = new Set();
    live.forEach((one, k) => {
      for (const other of live.slice(k + 1)) {
        const overlap = boxIou(one.face.box, other.face.box);
        if (overlap > 0) crowded.add(one).add(other);
        if (overlap > SAME_FACE_IOU) hidden.add(unlikeNow(other) > unlikeNow(one) ? other : one);
      }
    });
    for (const track of live) {
      if (hidden.has(track)) Object.assign(track, { lost: true, rechecked: 0 });
      else if (crowded.has(track) || track.face.score < this.config.uncertain) continue;
      else if (track.age % T.colours_every === 0) {
        track.colours = blend(track.colours, coloursOf(image, track.face.frame));
      }
    }
  }

  /** What the detector has to say, when it is due. @param {ImageFile} image @param {number} time */
  async detect(image, time) {
    this.framesSinceScan += 1;
    for (const track of this.tracks) track.age += 1;
    const followed = this.live().length > 0;
    if (followed) this.framesWithoutFace = 0;
    if (followed && this.framesSinceScan < this.config.scan_every) {
      const due = this.tracks.filter((track) => this.isDue(track));
      const views = due.map((track) => localView(track.expected(time)));
      const seen = due.length ? this.admit(await this.pipeline.facesIn(image, views), image, time) : new Set();
      this.tracks = this.tracks.filter((t) => !due.includes(t) || !T.confirmed_at.includes(t.age) || seen.has(t));
      return;
    }
    this.framesSinceScan = 0;
    let found;
    if (followed) found = await this.pipeline.faces(image, false);
    else {
      const views = this.tracks.map((track) => localView(track.expected(time)));
      const turn = this.framesWithoutFace++;
      found = await (turn ? this.pipeline.facesInTurn(image, turn - 1, views) : this.pipeline.faces(image));
    }
    const seen = this.admit(found, image, time);
    if (this.pipeline.archive.model.confidence) return;
    // a model that sees a face in everything: the detector alone can tell
    for (const track of this.live()) track.lost = !seen.has(track);
  }

  /** Whether the detector should search about this face. @param {Track} track */
  isDue(track) {
    if (T.confirmed_at.includes(track.age)) return true;
    if (!track.lost && track.face.score >= this.config.uncertain) return false;
    track.rechecked += 1;
    if (track.rechecked < (track.lost ? T.lost_every : T.uncertain_every)) return false;
    track.rechecked = 0;
    return true;
  }

  /** Detected faces: better views of followed ones, lost ones, or new ones. Returns their tracks.
   * @param {Face[]} found @param {ImageFile} image @param {number} time */
  admit(found, image, time) {
    const seen = new Set();
    for (const face of found) {
      const same = this.live().find((track) => boxIou(face.box, track.face.box) > SAME_FACE_IOU);
      if (same && face.score > same.face.score && same.face.score < this.config.uncertain) same.face = face;
      seen.add(same ?? this.trackOf(face, image, time));
    }
    return seen;
  }

  /** The lost face that this one is, or a new one. @param {Face} face @param {ImageFile} image @param {number} time */
  trackOf(face, image, time) {
    const colours = coloursOf(image, face.frame);
    let track = null;
    let least = 1;
    for (const lost of this.tracks.filter((track) => track.lost)) {
      const price = cost(lost, face, colours, time);
      if (price < least) [track, least] = [lost, price];
    }
    if (track) track.update(face, time);
    else {
      this.count += 1;
      track = new Track(this.count, face, time, this.config.smoothing);
      this.tracks.push(track);
    }
    track.colours ??= colours;
    return track;
  }
}

/** How badly a found face goes with a lost one: below 1 they may be one. @param {Track} track @param {Face} face
 * @param {Float64Array} colours @param {number} time */
function cost(track, face, colours, time) {
  const reach = T.reach + T.reach_per_second * (time - track.seen);
  const far = Math.min(apart(track.expected(time), face.frame), apart(track.face.frame, face.frame)) / reach;
  return far < 1 ? far / 2 + unlike(track.colours, colours) / T.unlike : Infinity;
}

/** Of two rows of numbers; 1 where one of them is constant and tells nothing. @param {number[]} one
 * @param {number[]} other */
function correlation(one, other) {
  const mean = (/** @type {number[]} */ row) => row.reduce((a, b) => a + b, 0) / row.length;
  const [a, b] = [mean(one), mean(other)];
  let [ours, theirs, both] = [0, 0, 0];
  one.forEach((value, k) => {
    ours += (value - a) ** 2;
    theirs += (other[k] - b) ** 2;
    both += (value - a) * (other[k] - b);
  });
  const power = Math.sqrt(ours * theirs);
  return power > 0 ? both / power : 1;
}

/** How far two frames are from one another, in face sizes. @param {Frame} one @param {Frame} other */
function apart(one, other) {
  const [dx, dy, growth] = frameResidual(one, other);
  return Math.hypot(dx, dy) + Math.abs(growth);
}

/** @param {Frame} frame @returns {Frame} */
function localView({ centre, size, roll }) {
  return { centre, size: size * T.local_view, roll };
}

/** A small image of the face over its mean, so that light falls out; NaN outside of the image.
 * @param {ImageFile} image @param {Frame} frame */
function coloursOf(image, frame) {
  const small = warp(image.whole, frameMatrix(frame, T.colours, T.colours_margin), T.colours);
  const inside = (/** @type {number} */ k) => {
    const first = k - (k % 3);
    return small[first] > 0 || small[first + 1] > 0 || small[first + 2] > 0;
  };
  let [sum, count] = [0, 0];
  small.forEach((value, k) => {
    if (inside(k)) [sum, count] = [sum + value, count + 1];
  });
  const mean = Math.max(sum / Math.max(count, 1), 1);
  return Float64Array.from(small, (value, k) => (inside(k) ? value / mean : NaN));
}

/** Mean difference of two faces' colours; 0 where nothing is known. @param {Float64Array | null} one
 * @param {Float64Array | null} other */
function unlike(one, other) {
  if (!one || !other) return 0;
  const known = [...one.keys()].map((k) => Math.abs(one[k] - other[k])).filter(Number.isFinite);
  return known.length ? known.reduce((a, b) => a + b) / known.length : 0;
}

/** @param {Float64Array | null} average @param {Float64Array | null} now */
function blend(average, now) {
  if (!average || !now) return now ?? average;
  return average.map((value, k) => {
    const mixed = value + T.colours_memory * (now[k] - value);
    return Number.isFinite(mixed) ? mixed : Number.isFinite(value) ? value : now[k];
  });
}
