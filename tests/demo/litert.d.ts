// What the page uses of @litertjs/core, so that its types can be checked without the package.
export interface TensorDetails {
  readonly name: string;
  readonly dtype: string;
  readonly shape: Int32Array;
}
export class Tensor {
  constructor(data: Float32Array | Uint8Array, shape: number[]);
  toTypedArray(): Float32Array | Int32Array | Uint8Array;
  delete(): void;
}
export class CompiledModel {
  getInputDetails(): readonly TensorDetails[];
  getOutputDetails(): readonly TensorDetails[];
  run(input: Tensor[]): Promise<Tensor[]>;
}
export function loadLiteRt(path: string): Promise<unknown>;
export function loadAndCompile(model: string, options: { accelerator: "wasm" }): Promise<CompiledModel>;
