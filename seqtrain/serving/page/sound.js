// Recordings: their samples, and a button that makes one.

import { make } from "./dom.js";

export async function samples(buffer) {
  const context = new OfflineAudioContext(1, 1, 16000);
  try {
    return (await context.decodeAudioData(buffer)).getChannelData(0);
  } catch {
    throw new Error("This browser cannot play the file; it may still be understood.");
  }
}

// Calls `use` with a WAV file of what the microphone has heard.
export function recorder(use, complain) {
  const button = make("button", { type: "button" }, "Record");
  let recording = null;
  button.addEventListener("click", async () => {
    if (recording) return recording.stop();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const parts = [];
      recording = new MediaRecorder(stream);
      recording.addEventListener("dataavailable", (event) => parts.push(event.data));
      recording.addEventListener("stop", async () => {
        stream.getTracks().forEach((track) => track.stop());
        recording = null;
        button.textContent = "Record";
        try {
          await use(wav(await samples(await new Blob(parts).arrayBuffer()), 16000));
        } catch (error) {
          complain(error.message);
        }
      });
      recording.start();
      button.textContent = "Stop recording";
    } catch (error) {
      recording = null;
      complain(`There is no microphone: ${error.message}`);
    }
  });
  return make("div", { className: "row" }, button);
}

// Samples from -1 to 1 as a WAV file of 16 bits.
function wav(values, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * values.length));
  const text = (place, letters) => [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * values.length, true);
  text(8, "WAVEfmt ");
  [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, rate, 4], [28, 2 * rate, 4], [32, 2, 2], [34, 16, 2]].forEach(
    ([place, value, size]) => (size === 4 ? view.setUint32(place, value, true) : view.setUint16(place, value, true)));
  text(36, "data");
  view.setUint32(40, 2 * values.length, true);
  values.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new Blob([view.buffer], { type: "audio/wav" });
}
