// Serves the chat page and the official SDK to this machine. Nothing of the chat passes through
// here: the page talks to throng itself.

import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/chat.js": ["chat.js", "text/javascript; charset=utf-8"],
  "/style.css": ["style.css", "text/css; charset=utf-8"],
  "/centrifuge.js": ["node_modules/centrifuge/dist/centrifuge.js", "text/javascript; charset=utf-8"],
};

/** Serves the page on loopback; resolves with the server once it listens. */
export function serve(port) {
  const server = createServer((request, response) => {
    const [file, type] = FILES[new URL(request.url, "http://localhost").pathname] ?? [];
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-store" });
    createReadStream(new URL(file, import.meta.url)).pipe(response);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.env.PORT ?? 3000);
  await serve(port);
  console.log(`Open http://localhost:${port} in two tabs. throng has to run as well: throng serve`);
}
