/**
 * Where images come from: files and cameras, and their pixels.
 *
 * @typedef {import("./geometry.js").Raster} Raster
 */

const MAX_SIDE = 4096; // browsers of phones have no larger canvases

/** An image file, upright. @param {Blob} file */
export function openImage(file) {
  // colours as the file has them, which is what OpenCV reads
  return createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

/** A video file, playing over and over. @param {Blob} file */
export async function openVideo(file) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, loop: true, playsInline: true, src: URL.createObjectURL(file) });
  try {
    await video.play();
  } catch (error) {
    close(video);
    throw error;
  }
  return video;
}

/** A camera: "user" looks at the person, "environment" away. @param {string} facing */
export async function openCamera(facing) {
  if (!navigator.mediaDevices) throw new Error("Browsers give a camera to https pages and to localhost only.");
  const wish = { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 720 } };
  const stream = await navigator.mediaDevices.getUserMedia({ video: wish, audio: false });
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true, srcObject: stream });
  await video.play();
  return video;
}

/** Ends a video or a camera. @param {HTMLVideoElement} video */
export function close(video) {
  video.pause();
  if (video.srcObject instanceof MediaStream) video.srcObject.getTracks().forEach((track) => track.stop());
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute("src");
}

/** The size of a source in pixels. @param {ImageBitmap | HTMLVideoElement} source */
export function sizeOf(source) {
  const video = source instanceof HTMLVideoElement;
  const width = video ? source.videoWidth : source.width;
  const height = video ? source.videoHeight : source.height;
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

/** Reads the pixels of images. */
export class PixelReader {
  constructor() {
    this.canvas = document.createElement("canvas");
    const context = this.canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    if (!context) throw new Error("This browser has no canvas.");
    this.context = context;
  }

  /** @param {ImageBitmap | HTMLVideoElement} source @returns {Raster | null} null: nothing to see yet */
  read(source) {
    const { width, height } = sizeOf(source);
    if (!width || !height) return null;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.drawImage(source, 0, 0, width, height);
    return this.context.getImageData(0, 0, width, height, { colorSpace: "srgb" });
  }
}
