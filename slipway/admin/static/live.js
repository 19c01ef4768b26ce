// Keeps the focus, the scroll position, open details and the selection when a live part is replaced. Pages also work without scripts.
"use strict";
const saved = { open: new Set(), focus: null, scroll: new Map() };
const identifier = (element) =>
  ["id", "href", "aria-label"].map((name) => [name, element.getAttribute(name)]).find(([, value]) => value);

function find(root, { tag, name, value, index }) {
  return [...root.querySelectorAll(tag)].filter((element) => element.getAttribute(name) === value)[index];
}

function locate(root, element) {
  const attribute = identifier(element);
  if (!attribute) return null;
  const [name, value] = attribute;
  const tag = element.tagName.toLowerCase();
  const matches = [...root.querySelectorAll(tag)].filter((match) => match.getAttribute(name) === value);
  return { tag, name, value, index: matches.indexOf(element) };
}

// Do not poll while the tab is hidden or the live part is inside a closed <details>.
document.addEventListener("htmx:beforeRequest", (event) => {
  const closed = event.target.closest("details:not([open])");
  if (document.hidden || (closed && event.target.matches(".live"))) event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const target = event.detail.target;
  if (!event.detail.shouldSwap || event.detail.isError || !target.matches(".live")) return;
  if (!event.detail.serverResponse.includes(`id="${target.id}"`)) {
    event.detail.shouldSwap = false; // the response is another page: the session has ended
    location.reload();
    return;
  }
  const selected = getSelection();
  if (!selected.isCollapsed && selected.containsNode(target, true)) {
    event.detail.shouldSwap = false; // the user has text selected; the next poll updates the part
    return;
  }
  saved.open = new Set([...target.querySelectorAll("details[open][id]")].map((details) => details.id));
  saved.focus = target.contains(document.activeElement) ? locate(target, document.activeElement) : null;
  saved.scroll = new Map([...target.querySelectorAll(".wide")].map((wide) => [wide.ariaLabel, wide.scrollLeft]));
});

document.addEventListener("htmx:afterSwap", (event) => {
  const current = document.getElementById(event.detail.target.id) || document;
  for (const id of saved.open) document.getElementById(id)?.setAttribute("open", "");
  for (const wide of current.querySelectorAll(".wide")) wide.scrollLeft = saved.scroll.get(wide.ariaLabel) || 0;
  if (saved.focus) find(current, saved.focus)?.focus({ preventScroll: true });
  saved.focus = null;
  announce(current);
});

// Announce the state to screen readers, only when it has changed.
function announce(root) {
  const status = document.getElementById("told");
  const message = root.querySelector("[data-say]")?.dataset.say;
  if (message && status.dataset.last !== message) {
    if (status.dataset.last) status.textContent = message;
    status.dataset.last = message;
  }
}
document.addEventListener("DOMContentLoaded", () => announce(document));

const showUnreachable = (unreachable) => (document.getElementById("away").hidden = !unreachable);
document.addEventListener("htmx:sendError", () => showUnreachable(true));
document.addEventListener("htmx:timeout", () => showUnreachable(true));
document.addEventListener("htmx:responseError", () => showUnreachable(true));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful || event.detail.xhr?.status === 204) showUnreachable(false);
});
