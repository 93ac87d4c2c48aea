// Asks what the model does, shows the widgets for it, and sends what is put in.

import * as api from "./api.js";
import { chosen } from "./inputs.js";
import { show, showWritten } from "./outputs.js";

const TITLES = {
  pairs: "A text goes in, a text comes out.",
  labelled: "What goes in gets a label.",
  tagged: "Each token of a sentence gets a tag.",
  text: "Writes on from what you begin.",
  abc: "Writes tunes in ABC notation.",
  music: "Plays on from what you begin.",
  series: "Forecasts the next values of a time series.",
  recordings: "What is heard in a recording?",
  strokes: "What is written?",
  line_images: "What is written?",
  pictures: "What is on the picture?",
  attributes: "Attributes go in, a sentence comes out.",
};

const form = document.getElementById("ask");
const send = document.getElementById("send");
const stop = document.getElementById("stop");
const problem = document.getElementById("problem");
const answer = document.getElementById("answer");
let running = null; // the AbortController of the request that runs

function complain(message) {
  problem.textContent = message;
  problem.hidden = !message;
}

async function begin() {
  const about = await api.about();
  const writes = about.streams && ["text", "labelled", "abc", "music"].includes(about.kind);
  document.title = `${about.task} · seqtrain`;
  document.getElementById("title").textContent = about.task;
  document.getElementById("subtitle").textContent = writes && about.kind === "labelled"
    ? "Writes texts of the kind that you choose." : TITLES[about.kind] ?? "";
  const input = chosen(about, writes, complain);
  document.getElementById("input").append(...input.elements);
  document.getElementById("controls").append(...(input.controls ?? []));
  send.textContent = writes ? "Write" : about.kind === "series" ? "Forecast" : "Answer";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(about, input, writes);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  stop.addEventListener("click", () => running?.abort());
}

async function ask(about, input, writes) {
  running?.abort();
  const control = new AbortController();
  running = control;
  complain("");
  send.disabled = true;
  stop.hidden = !writes;
  answer.classList.add("busy");
  let written = "";
  try {
    const body = await input.read();
    if (writes) {
      const found = await api.stream(body, (text) => showWritten(about, input, answer, written = text), control.signal);
      show(about, input, answer, found);
    } else {
      show(about, input, answer, await api.predict({ ...body, attention: true }, control.signal));
    }
  } catch (error) {
    if (error.name === "AbortError") {
      if (written) show(about, input, answer, { output: written });
    } else {
      answer.hidden = true;
      complain(error.message);
    }
  } finally {
    if (running === control) {
      answer.classList.remove("busy");
      send.disabled = false;
      stop.hidden = true;
    }
  }
}

begin().catch((error) => complain(`The page could not begin: ${error.message}`));
