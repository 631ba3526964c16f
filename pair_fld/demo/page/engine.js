/**
 * LiteRT in the browser: a .tflite file becomes a network that can be run. Everything comes from the page's own folder.
 *
 * @typedef {{data: Float32Array, shape: number[]}} Output
 */

import { loadAndCompile, loadLiteRt, Tensor } from "./engine/litert.js";

/** Loads the engine; to be called once. */
export async function loadEngine() {
  // LiteRT logs all that it does as errors; only its warnings and errors are worth a place on the console
  const log = (/** @type {string} */ line) => {
    if (/^(WARNING|ERROR|FATAL)/.test(line) && !/NPU accelerator could not be loaded/.test(line)) console.warn(line);
  };
  Object.assign(globalThis, { Module: { print: log, printErr: log } });
  // These networks are done on the CPU before a GPU has taken their input, so LiteRT need not look for one.
  Object.defineProperty(navigator, "gpu", { value: undefined, configurable: true });
  const warn = console.warn;
  console.warn = () => {}; // that it found none
  try {
    await loadLiteRt(new URL("engine/", import.meta.url).href);
  } finally {
    console.warn = warn;
    Reflect.deleteProperty(navigator, "gpu");
  }
}

/** A network on crops, one at a time. */
export class Network {
  /** @param {import("./engine/litert.js").CompiledModel} model */
  constructor(model) {
    this.model = model;
    const [{ shape, dtype }] = model.getInputDetails();
    this.shape = [...shape];
    /** "float32" or "uint8" */
    this.inputType = dtype;
  }

  /** @param {string} url of a .tflite file */
  static async open(url) {
    return new Network(await loadAndCompile(url, { accelerator: "wasm" }));
  }

  /** The outputs, in the file's order. @param {Float32Array | Uint8Array} input @returns {Promise<Output[]>} */
  async run(input) {
    const tensor = new Tensor(input, this.shape);
    const outputs = await this.model.run([tensor]);
    const details = this.model.getOutputDetails();
    const results = outputs.map((output, k) => ({
      data: Float32Array.from(output.toTypedArray()),
      shape: [...details[k].shape],
    }));
    outputs.forEach((output) => output.delete());
    tensor.delete();
    return results;
  }
}
