// Show times in the reader's time zone and locale. Without this script, times are in UTC.
"use strict";
const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!time.title && !Number.isNaN(at.getTime())) {
      time.title = time.textContent;
      time.textContent = format.format(at);
    }
  }
}
document.addEventListener("DOMContentLoaded", () => localise(document));
document.addEventListener("htmx:load", (event) => localise(event.target));
