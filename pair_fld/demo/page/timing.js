/** How long each stage takes: the latest frames' times, and what is made of them. */

const LATEST = 240; // frames: eight seconds of a camera

export class Timing {
  /** @param {number} [latest] frames kept */
  constructor(latest = LATEST) {
    this.latest = latest;
    /** @type {Record<string, number>} */
    this.now = {};
    /** @type {Record<string, number>[]} */
    this.frames = [];
    /** @type {number[]} */
    this.shown = [];
  }

  /** @template T @param {string} stage @param {() => T} work @returns {T} */
  measure(stage, work) {
    const start = performance.now();
    const result = work();
    this.add(stage, performance.now() - start);
    return result;
  }

  /** @template T @param {string} stage @param {() => Promise<T>} work @returns {Promise<T>} */
  async measureAsync(stage, work) {
    const start = performance.now();
    const result = await work();
    this.add(stage, performance.now() - start);
    return result;
  }

  /** @param {string} stage @param {number} ms */
  add(stage, ms) {
    this.now[stage] = (this.now[stage] ?? 0) + ms;
  }

  /** Ends a frame. @param {number} faces in it */
  frame(faces) {
    this.frames.push({ ...this.now, faces });
    this.shown.push(performance.now());
    this.now = {};
    if (this.frames.length > this.latest) {
      this.frames.shift();
      this.shown.shift();
    }
  }

  reset() {
    this.frames = [];
    this.shown = [];
    this.now = {};
  }

  /** Frames per second over the last second or so. */
  framesPerSecond() {
    const latest = this.shown.slice(-30);
    return latest.length < 2 ? null : ((latest.length - 1) * 1000) / (latest[latest.length - 1] - latest[0]);
  }

  /** Median and 95th percentile of each stage in ms, over frames with a face in them where there are any. */
  summary() {
    const withFaces = this.frames.filter((frame) => frame.faces > 0);
    const frames = withFaces.length ? withFaces : this.frames;
    const stages = new Set(frames.flatMap((frame) => Object.keys(frame)));
    stages.delete("faces");
    return Object.fromEntries(
      [...stages].map((stage) => {
        const times = frames.map((frame) => frame[stage] ?? 0).sort((a, b) => a - b);
        return [stage, { median_ms: at(times, 0.5), p95_ms: at(times, 0.95) }];
      }),
    );
  }
}

/** @param {number[]} sorted @param {number} share */
function at(sorted, share) {
  return Math.round(1000 * sorted[Math.round(share * (sorted.length - 1))]) / 1000;
}
