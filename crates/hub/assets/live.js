// What goes on, on the page of a run or of a session: the words that change are written anew every few seconds. Without this
// script the page itself is loaded anew (`noscript` in its head). A new state brings a new page.
"use strict";

const EVERY_MS = 4000;
// Somebody who signed out elsewhere, or a hub that is away, is not asked for ever.
const MOST_FAILURES = 5;

function follow(section) {
  let failures = 0;
  const again = () => setTimeout(look, EVERY_MS * (1 + failures));
  async function look() {
    if (document.hidden) return again();
    try {
      const answer = await fetch(section.dataset.live, { redirect: "error", cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const now = await answer.json();
      const places = Object.keys(now.facts).map((key) => section.querySelector(`[data-fact="${key}"]`));
      if (now.state !== section.dataset.state || places.includes(null)) return location.reload();
      Object.values(now.facts).forEach((words, at) => { places[at].textContent = words; });
      const bar = section.querySelector("progress");
      if (bar && now.percent !== null) bar.value = now.percent;
      failures = 0;
    } catch {
      failures += 1;
      if (failures >= MOST_FAILURES) return undefined;
    }
    return again();
  }
  again();
}

for (const section of document.querySelectorAll("[data-live]")) follow(section);
