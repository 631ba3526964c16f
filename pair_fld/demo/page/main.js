/**
 * The page: chooses a source, runs the pipeline on it, shows faces and times.
 *
 * @typedef {import("./pipeline.js").Face} Face
 * @typedef {{mirrored: boolean, source: ImageBitmap | HTMLVideoElement}} Shown
 */

import { drawFaces } from "./draw.js";
import { loadEngine } from "./engine.js";
import { ImageFile } from "./image_file.js";
import { measure, measurements, offer } from "./measurements.js";
import { Pipeline } from "./pipeline.js";
import { fitPose, measureOpenness } from "./pose.js";
import { close, openCamera, openImage, openVideo, PixelReader, sizeOf } from "./sources.js";
import { Timing } from "./timing.js";
import { Tracker } from "./tracker.js";

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

const view = element("view", HTMLCanvasElement);
const stage = element("stage", HTMLElement);
const hint = element("hint", HTMLElement);
const file = element("file", HTMLInputElement);
const buttons = {
  camera: element("camera", HTMLButtonElement),
  turn: element("turn", HTMLButtonElement),
  stop: element("stop", HTMLButtonElement),
  measure: element("measure", HTMLButtonElement),
};
const timing = new Timing();
const reader = new PixelReader();

/** What is shown now: the faces of the last frame, and how many frames there were since the source was opened.
 * @type {{faces: Face[], frames: number, facing: string, shown: Shown | null}} */
export const state = { faces: [], frames: 0, facing: "user", shown: null };

/** The pipeline once everything is loaded. */
export const ready = start();

async function start() {
  const began = performance.now();
  try {
    const archive = await (await fetch("archive.json")).json();
    await loadEngine();
    const pipeline = await Pipeline.open(archive, timing);
    element("subtitle", HTMLElement).textContent = `${archive.name}. Runs in this browser; nothing leaves this page.`;
    hint.textContent = "Start the camera, or choose or drop an image or a video.";
    file.disabled = buttons.camera.disabled = buttons.measure.disabled = false;
    // kept for when there is no network, where the browser can; the page does without it
    void navigator.serviceWorker?.register("offline.js").catch(() => {});
    return { pipeline, loadMs: performance.now() - began };
  } catch (error) {
    fail("The model could not be loaded", error);
    throw error;
  }
}

/** @param {string} what @param {unknown} error */
function fail(what, error) {
  view.hidden = true;
  hint.hidden = false;
  hint.textContent = `${what}: ${error instanceof Error ? error.message : String(error)}`;
}

/** Shows another source; the one before is closed. @param {Promise<Shown>} opening @param {string} what */
async function show(opening, what) {
  stop();
  try {
    const shown = await opening;
    Object.assign(state, { shown, frames: 0, faces: [] });
    timing.reset();
    view.hidden = false;
    view.classList.toggle("mirrored", shown.mirrored);
    hint.hidden = true;
    buttons.stop.hidden = !(shown.source instanceof HTMLVideoElement);
    await run(shown);
  } catch (error) {
    stop();
    fail(what, error);
  }
}

function stop() {
  const { shown } = state;
  state.shown = null;
  buttons.stop.hidden = buttons.turn.hidden = true;
  if (shown && shown.source instanceof HTMLVideoElement) close(shown.source);
}

/** Frame after frame of a video, or an image once. @param {Shown} shown */
async function run(shown) {
  const { pipeline } = await ready;
  const { source } = shown;
  const video = source instanceof HTMLVideoElement;
  const tracker = new Tracker(pipeline);
  while (state.shown === shown) {
    const began = performance.now();
    const image = timing.measure("read", () => reader.read(source));
    if (image) {
      const faces = await (video ? tracker.faces(image, began / 1000) : pipeline.faces(ImageFile.ofImage(image)));
      if (state.shown !== shown) return;
      timing.measure("draw", () => draw(shown, faces));
      timing.add("total", performance.now() - began);
      timing.frame(faces.length);
      state.faces = faces;
      state.frames += 1;
      report();
    }
    if (!video) return;
    await nextFrame(source);
  }
}

/** @param {HTMLVideoElement} video */
function nextFrame(video) {
  return new Promise((resolve) => {
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
}

/** @param {Shown} shown @param {Face[]} faces */
function draw({ source }, faces) {
  const { width, height } = sizeOf(source);
  if (view.width !== width || view.height !== height) Object.assign(view, { width, height });
  const context = view.getContext("2d");
  if (!context) return;
  // the pixels that were looked at, not those that a video has moved on to
  context.drawImage(reader.canvas, 0, 0);
  const scale = Math.min(view.clientWidth / width, view.clientHeight / height); // the image keeps its shape inside
  drawFaces(context, faces, 1 / Math.max(scale, 0.01));
}

let reported = 0;

/** The figures, four times a second at most. */
function report() {
  const now = performance.now();
  if (state.frames > 1 && now - reported < 250) return;
  reported = now;
  const stages = timing.summary();
  const rate = timing.framesPerSecond();
  element("fps", HTMLElement).textContent = rate === null ? "–" : rate.toFixed(0);
  element("total", HTMLElement).textContent = stages.total ? stages.total.median_ms.toFixed(1) : "–";
  element("count", HTMLElement).textContent = String(state.faces.length);
  reportExpression();
  element("stages", HTMLTableSectionElement).replaceChildren(
    ...Object.entries(stages).map(([stage, { median_ms, p95_ms }]) =>
      row(stage, median_ms.toFixed(1), p95_ms.toFixed(1)),
    ),
  );
  element("faces", HTMLOListElement).replaceChildren(
    ...state.faces.slice(0, 8).map(({ score, frame, identity }, k) => {
      const item = document.createElement("li");
      item.textContent = `face ${identity ?? k + 1}: score ${score.toFixed(2)}, roll ${frame.roll.toFixed(0)}°`;
      return item;
    }),
  );
}

/** Pose and openness of the largest face. */
function reportExpression() {
  const [face] = [...state.faces].sort((a, b) => b.frame.size - a.frame.size);
  const pose = face && fitPose(face.points);
  const open = pose && measureOpenness(face.points, pose);
  const degrees = pose && [pose.yaw, pose.pitch, pose.roll].map((value) => `${Math.round(value) + 0}°`);
  const shares = open && [open.eye_left, open.eye_right, open.mouth].map((value) => value.toFixed(1));
  element("pose", HTMLElement).textContent = degrees ? degrees.join(" ") : "–";
  element("openness", HTMLElement).textContent = shares ? shares.join(" ") : "–";
}

/** @param {string} head @param {string[]} cells */
function row(head, ...cells) {
  const made = document.createElement("tr");
  const first = document.createElement("th");
  first.scope = "row";
  first.textContent = head;
  made.append(first, ...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  return made;
}

/** @param {File} chosen */
function showFile(chosen) {
  const opening = chosen.type.startsWith("video/") ? openVideo(chosen) : openImage(chosen);
  return show(
    opening.then((source) => ({ source, mirrored: false })),
    `${chosen.name} could not be opened`,
  );
}

function showCamera() {
  const opening = openCamera(state.facing).then((source) => ({ source, mirrored: state.facing === "user" }));
  return show(opening, "The camera could not be opened");
}

file.addEventListener("change", () => {
  const chosen = file.files?.[0];
  if (chosen) void showFile(chosen);
  file.value = ""; // so that the same file can be chosen again
});
buttons.camera.addEventListener("click", async () => {
  const running = showCamera();
  const cameras = (await navigator.mediaDevices?.enumerateDevices())?.filter(({ kind }) => kind === "videoinput");
  buttons.turn.hidden = !cameras || cameras.length < 2;
  await running;
});
buttons.turn.addEventListener("click", () => {
  state.facing = state.facing === "user" ? "environment" : "user";
  buttons.camera.click();
});
buttons.stop.addEventListener("click", stop);
buttons.measure.addEventListener("click", async () => {
  const said = element("measured", HTMLElement);
  const { pipeline, loadMs } = await ready;
  const live = { frames_per_second: timing.framesPerSecond(), stages: timing.summary() };
  stop();
  buttons.measure.disabled = true;
  said.textContent = "Measuring.";
  try {
    const result = measurements(pipeline.archive, loadMs, live, await measure(pipeline));
    offer(said, result);
  } finally {
    buttons.measure.disabled = false;
  }
});
for (const name of ["dragenter", "dragover"]) {
  stage.addEventListener(name, (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) stage.addEventListener(name, () => stage.classList.remove("over"));
stage.addEventListener("drop", (event) => {
  event.preventDefault();
  const dropped = event instanceof DragEvent ? event.dataTransfer?.files[0] : undefined;
  if (dropped && !file.disabled) void showFile(dropped);
});
