// Requests to the server. Every refusal is an Error with the server's sentence.

export class Refusal extends Error {
  constructor(status, sentence, table) {
    super(sentence || `The server answered ${status}.`);
    this.status = status;
    this.table = table;
  }
}

async function request(address, options = {}) {
  let response;
  try {
    response = await fetch(address, { credentials: "same-origin", ...options });
  } catch {
    throw new Refusal(0, "The server does not answer: was it ended? Start `instancefcn web` again and load the page.");
  }
  if (response.ok) return response;
  const json = (response.headers.get("content-type") ?? "").startsWith("application/json");
  const table = json ? await response.json() : null;
  throw new Refusal(response.status, table ? table.sentence : await response.text(), table);
}

export const get = async (address) => (await request(address)).json();

export async function post(address, table = null) {
  const body = table === null ? null : JSON.stringify(table);
  const headers = table === null ? {} : { "content-type": "application/json" };
  return (await request(address, { method: "POST", body, headers })).json();
}

export async function upload(file, mostBytes) {
  if (file.size > mostBytes) {
    throw new Refusal(413, `${file.name}: more than ${Math.round(mostBytes / 1e6)} MB: make it smaller`);
  }
  const headers = { "content-type": "application/octet-stream" };
  const address = `/api/photographs?name=${encodeURIComponent(file.name || "pasted.png")}`;
  return (await request(address, { method: "POST", body: file, headers })).json();
}

// Fetch a file that the server makes, and hand it to the browser's own download.
export async function save(address, table) {
  const headers = { "content-type": "application/json" };
  const response = await request(address, { method: "POST", body: JSON.stringify(table), headers });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = decodeURIComponent(response.headers.get("x-file-name"));
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return { name: link.download, notes: JSON.parse(decodeURIComponent(response.headers.get("x-notes"))) };
}
