/** What this device takes for a face, as a file that `pairfld benchmark devices` reads back. */

import { ImageFile } from "./image_file.js";
import { Timing } from "./timing.js";

const WARM_UP = 20;
const RUNS = 100;

/**
 * Times of the stages on a grey image with one face's frame in the middle: the same work on every device.
 *
 * @param {import("./pipeline.js").Pipeline} pipeline
 */
export async function measure(pipeline) {
  const [width, height] = [640, 480];
  const image = ImageFile.ofFrame({ width, height, data: new Uint8ClampedArray(width * height * 4).fill(128) });
  const frame = { centre: /** @type {[number, number]} */ ([width / 2, height / 2]), size: 200, roll: 0 };
  const whole = { centre: frame.centre, size: width, roll: 0 };
  const before = pipeline.timing;
  const timing = new Timing(RUNS);
  pipeline.timing = new Timing(WARM_UP);
  try {
    for (let k = 0; k < WARM_UP + RUNS; k++) {
      if (k === WARM_UP) pipeline.timing = timing;
      await pipeline.timing.measureAsync("view", () => pipeline.detectInView(image, whole, 1));
      await pipeline.timing.measureAsync("face", () => pipeline.locate(image, frame));
      pipeline.timing.frame(1);
      if (k % 10 === 0) await new Promise((resolve) => setTimeout(resolve)); // the page stays alive
    }
  } finally {
    pipeline.timing = before;
  }
  return timing.summary();
}

/**
 * @param {import("./pipeline.js").Archive} archive @param {number} loadMs
 * @param {{frames_per_second: number | null, stages: object}} live of the source that ran last
 * @param {ReturnType<Timing["summary"]>} stages of `measure`
 */
export function measurements(archive, loadMs, live, stages) {
  return {
    format: "pairfld-demo-1",
    archive: archive.name,
    model_sha256: archive.model.sha256,
    engine: archive.engine,
    device: navigator.userAgent,
    cores: navigator.hardwareConcurrency ?? null,
    runs: RUNS,
    load_ms: Math.round(loadMs),
    stages,
    live,
  };
}

/** A line with the result and a link to its file. @param {HTMLElement} place
 * @param {ReturnType<typeof measurements>} result */
export function offer(place, result) {
  const link = document.createElement("a");
  link.download = "pairfld-measurements.json";
  link.textContent = link.download;
  link.href = URL.createObjectURL(new Blob([JSON.stringify(result, null, 1)], { type: "application/json" }));
  const { face, view } = result.stages;
  place.replaceChildren(
    `A face takes ${face.median_ms.toFixed(2)} ms, a view of the detector ${view.median_ms.toFixed(2)} ms. `,
    link,
  );
}
