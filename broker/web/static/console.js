"use strict";
// Two comforts; every page works without them: relative times that go on counting, and fragments
// that are fetched again. A fragment is a piece of page that our own server rendered and escaped.
(() => {
  const TICK_MS = 20000;
  const POLL_MS = 4000;
  const REST_MS = 10 * 60 * 1000; // without a hand on it for so long, a page stops asking
  const WORDS = JSON.parse(document.documentElement.dataset.words); // of `web/words.py`

  // The difference between the server's clock and this one, so that a wrong clock counts right.
  const skew = Date.parse(document.documentElement.dataset.now) - Date.now();
  let touched = Date.now();

  function relative(at) {
    const seconds = (at - Date.now() - skew) / 1000;
    if (Math.abs(seconds) < 60) {
      return seconds > 0 ? WORDS.soon : WORDS.now;
    }
    let rest = Math.floor(Math.abs(seconds) / 60);
    const parts = [];
    for (const [size, one, many] of WORDS.units) {
      const count = Math.floor(rest / size);
      rest -= count * size;
      if (count > 0) {
        parts.push(`${count} ${count === 1 ? one : many}`);
      }
    }
    const words = parts.slice(0, 2).join(" ");
    return (seconds > 0 ? WORDS.ahead : WORDS.past).replace("%(time)s", words);
  }

  function tick() {
    for (const element of document.querySelectorAll("time[data-relative]")) {
      element.textContent = relative(Date.parse(element.dateTime));
    }
  }

  // The reader's own clock before UTC, where it is another; the day is said twice where it differs.
  const local = new Intl.DateTimeFormat(document.documentElement.dataset.region, {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
  });

  function localise(part) {
    for (const element of part.querySelectorAll("time[data-local]")) {
      const at = new Date(element.dateTime);
      if (at.getTimezoneOffset() !== 0) {
        element.textContent = `${local.format(at)} ·`;
        element.hidden = false;
        const day = element.nextElementSibling.querySelector("[data-day]");
        if (day !== null) {
          day.hidden = at.getDate() === at.getUTCDate();
        }
      }
    }
  }

  async function poll(element) {
    const resting = Date.now() - touched > REST_MS || document.hidden;
    if (!resting && !element.contains(document.activeElement)) {
      const answer = await fetch(element.dataset.poll, { redirect: "error" }).catch(() => null);
      if (answer !== null && answer.status === 401) {
        document.getElementById("signed-out").hidden = false;
        return;
      }
      if (answer !== null && answer.ok && !element.contains(document.activeElement)) {
        element.innerHTML = await answer.text();
        localise(element);
        if (element.querySelector("[data-settled]") !== null) {
          return; // nothing changes any more
        }
      }
    }
    setTimeout(poll, POLL_MS, element);
  }

  for (const kind of ["pointerdown", "pointermove", "keydown", "scroll"]) {
    addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  }
  for (const element of document.querySelectorAll("[data-poll]")) {
    setTimeout(poll, POLL_MS, element);
  }
  setInterval(tick, TICK_MS);
  localise(document);
})();
