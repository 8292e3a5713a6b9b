// Runs an .onnx file in onnxruntime-web or onnxruntime-node: node _onnxruntime.js REQUEST.json
//
// A request without "model" asks for the version alone. Standard output gets a line per image.
"use strict";
const fs = require("fs");
const path = require("path");

const asked = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));

function find(name) {
  for (const folder of asked.folders) {
    const place = path.join(folder, name);
    if (fs.existsSync(path.join(place, "package.json"))) return place;
  }
  return null;
}

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array };

async function run(ort) {
  const input = asked.input;
  const bytes = fs.readFileSync(input.file);
  const values = new ARRAYS[input.dtype](bytes.buffer, bytes.byteOffset,
                                         bytes.byteLength / ARRAYS[input.dtype].BYTES_PER_ELEMENT);
  const length = values.length / input.count;
  const session = await ort.InferenceSession.create(asked.model);
  const output = fs.openSync(asked.output, "w");
  for (let i = 0; i < input.count; i++) {
    const one = new ort.Tensor(input.dtype, values.slice(i * length, (i + 1) * length),
                               input.shape);
    const results = await session.run({ [session.inputNames[0]]: one });
    const found = results[session.outputNames[0]].data;
    fs.writeSync(output, Buffer.from(found.buffer, found.byteOffset, found.byteLength));
    process.stdout.write("image\n");
  }
  fs.closeSync(output);
}

async function main() {
  const place = find(asked.package);
  if (place === null) return;
  const version = JSON.parse(fs.readFileSync(path.join(place, "package.json"), "utf8")).version;
  process.stdout.write(`version ${version}\n`);
  if (!asked.model) return;
  const ort = require(place);
  ort.env.wasm.numThreads = 1;
  await run(ort);
}

main().then(() => process.exit(0), (error) => {
  process.stderr.write(`${error && error.message || error}\n`);
  process.exit(1);
});
