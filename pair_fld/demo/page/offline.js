/**
 * The page without a network: a service worker that keeps the page's files and gives them where the network does not.
 * Registered as a classic script, which all browsers take; `files.js` names the files and changes with them.
 *
 * @typedef {{respondWith: (response: Promise<Response>) => void, request: Request}} FetchEvent
 * @typedef {{waitUntil: (work: Promise<unknown>) => void}} LifeEvent
 */

/** A global of a service worker, which a page has not. @param {string} key @returns {any} */
const own = (key) => Reflect.get(globalThis, key);
own("importScripts")("files.js");

/** @type {{version: string, files: string[]}} */
const { version, files } = own("SITE");
const scope = /** @type {string} */ (own("registration").scope); // one origin may have several such pages
const cacheName = `pair_fld ${scope} ${version}`;

/** Fetches and keeps all files. */
async function keep() {
  const cache = await caches.open(cacheName);
  await cache.addAll(files.map((file) => new Request(file, { cache: "no-cache" })));
  await own("skipWaiting")();
}

/** Forgets what earlier versions of this page kept, and serves pages that are open already. */
async function begin() {
  const earlier = (await caches.keys()).filter((key) => key.startsWith(`pair_fld ${scope} `) && key !== cacheName);
  await Promise.all(earlier.map((key) => caches.delete(key)));
  await own("clients").claim();
}

/** From the network, so that a page written anew is seen; where there is none, what was kept. @param {Request} request */
async function give(request) {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await (await caches.open(cacheName)).match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

addEventListener("install", (event) => /** @type {LifeEvent} */ (/** @type {unknown} */ (event)).waitUntil(keep()));
addEventListener("activate", (event) => /** @type {LifeEvent} */ (/** @type {unknown} */ (event)).waitUntil(begin()));
addEventListener("fetch", (event) => {
  const fetched = /** @type {FetchEvent} */ (/** @type {unknown} */ (event));
  if (fetched.request.method === "GET" && fetched.request.url.startsWith(scope)) {
    fetched.respondWith(give(fetched.request));
  }
});
