// Requests to the API, with the key that this tab holds, if any.

const KEY = "thalweg-key";
const PAUSE_MS = 2000;

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

export async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const answer = await fetch(new URL(path, document.baseURI), { ...options, headers });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, problem.detail ?? `the service answered ${answer.status}`);
  }
  return answer;
}

export async function json(path, options) {
  return (await ask(path, options)).json();
}

// The picture or file as a URL of this page's own, for an <img> or a link sends no key.
export async function blobUrl(path) {
  return URL.createObjectURL(await (await ask(path)).blob());
}

// Server-sent events as {type, data}, up to `end`; what was cut off goes on after the last id.
export async function* events(path, signal) {
  let last = null;
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
      const answer = await ask(path, { headers, signal });
      for await (const event of parsed(answer.body)) {
        last = event.id ?? last;
        yield event;
        if (event.type === "end") return;
      }
    } catch (error) {
      if (signal.aborted || error instanceof Refused) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

async function* parsed(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(
        block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)),
      );
      if (fields.data) {
        yield { id: fields.id, type: fields.event, data: JSON.parse(fields.data) };
      }
    }
  }
}
