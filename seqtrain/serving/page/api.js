// Requests to the server. Errors have the message that it sent.

async function post(path, body, signal) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is it still running?");
  }
  if (response.ok) return response;
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error ?? message;
  } catch { /* not of this server */ }
  throw new Error(message);
}

export async function about() {
  return (await fetch("api/about")).json();
}

export async function predict(body, signal) {
  return (await (await post("api/predict", body, signal)).json()).answers[0];
}

export async function file(output, ending) {
  return (await post("api/file", { output, ending })).blob();
}

// Calls `written` with all that is written so far, and returns the answer.
export async function stream(body, written, signal) {
  const response = await post("api/stream", body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "", text = "", answer = null;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const events = (waiting + part.value).split("\n\n");
    waiting = events.pop();
    for (const event of events) {
      const [, kind, content] = event.match(/^event: (\w+)\ndata: (.*)$/s);
      const data = JSON.parse(content);
      if (kind === "error") throw new Error(data.error);
      if (kind === "answer") answer = data;
      else written(text += data.text);
    }
  }
  if (!answer) throw new Error("The answer broke off.");
  return answer;
}
