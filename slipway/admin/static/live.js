// What keeps a live part of a page from disturbing who reads it. Without this script, and without htmx, every page works.
"use strict";
const hold = { open: new Set(), focus: null, scroll: new Map() };
const named = (element) =>
  ["id", "href", "aria-label"].map((name) => [name, element.getAttribute(name)]).find(([, value]) => value);

function find(root, { tag, name, value, at }) {
  return [...root.querySelectorAll(tag)].filter((found) => found.getAttribute(name) === value)[at];
}

function place(root, element) {
  const found = named(element);
  if (!found) return null;
  const [name, value] = found;
  const tag = element.tagName.toLowerCase();
  const alike = [...root.querySelectorAll(tag)].filter((each) => each.getAttribute(name) === value);
  return { tag, name, value, at: alike.indexOf(element) };
}

// Nobody looks: the tab is hidden, or the part is folded away. Ask again when somebody does.
document.addEventListener("htmx:beforeRequest", (event) => {
  const folded = event.target.closest("details:not([open])");
  if (document.hidden || (folded && event.target.matches(".live"))) event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", (event) => {
  const target = event.detail.target;
  if (!event.detail.shouldSwap || event.detail.isError || !target.matches(".live")) return;
  if (!event.detail.serverResponse.includes(`id="${target.id}"`)) {
    event.detail.shouldSwap = false; // another page: who reads has been signed out
    location.reload();
    return;
  }
  const selected = getSelection();
  if (!selected.isCollapsed && selected.containsNode(target, true)) {
    event.detail.shouldSwap = false; // somebody copies; the next round brings the news
    return;
  }
  hold.open = new Set([...target.querySelectorAll("details[open][id]")].map((each) => each.id));
  hold.focus = target.contains(document.activeElement) ? place(target, document.activeElement) : null;
  hold.scroll = new Map([...target.querySelectorAll(".wide")].map((each) => [each.ariaLabel, each.scrollLeft]));
});

document.addEventListener("htmx:afterSwap", (event) => {
  const shown = document.getElementById(event.detail.target.id) || document;
  for (const id of hold.open) document.getElementById(id)?.setAttribute("open", "");
  for (const each of shown.querySelectorAll(".wide")) each.scrollLeft = hold.scroll.get(each.ariaLabel) || 0;
  if (hold.focus) find(shown, hold.focus)?.focus({ preventScroll: true });
  hold.focus = null;
  announce(shown);
});

// One short sentence, and only when it is another one.
function announce(root) {
  const told = document.getElementById("told");
  const news = root.querySelector("[data-say]")?.dataset.say;
  if (news && told.dataset.last !== news) {
    if (told.dataset.last) told.textContent = news;
    told.dataset.last = news;
  }
}
document.addEventListener("DOMContentLoaded", () => announce(document));

const away = (is) => (document.getElementById("away").hidden = !is);
document.addEventListener("htmx:sendError", () => away(true));
document.addEventListener("htmx:timeout", () => away(true));
document.addEventListener("htmx:responseError", () => away(true));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful || event.detail.xhr?.status === 204) away(false);
});
