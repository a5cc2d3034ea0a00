// Keeps the page's content up to date: the server is asked for it every second, and only what differs is changed,
// so that a selection, an open section or a hovered tile stays as it is.
"use strict";

const PERIOD_MS = 1000;
const SLOWEST_MS = 15000; // between tries while the server does not answer

function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
}

function match(present, wanted) {
  if (present.nodeType !== Node.ELEMENT_NODE) {
    if (present.nodeValue !== wanted.nodeValue) present.nodeValue = wanted.nodeValue;
    return;
  }
  for (const { name } of [...present.attributes]) {
    // Whether a section is open is the reader's choice.
    if (!wanted.hasAttribute(name) && name !== "open") present.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (name !== "open" && present.getAttribute(name) !== value) present.setAttribute(name, value);
  }
  matchChildren(present, wanted);
}

function matchChildren(present, wanted) {
  const goal = [...wanted.childNodes];
  goal.forEach((node, place) => {
    const there = present.childNodes[place];
    if (there === undefined) present.append(node);
    else if (same(there, node)) match(there, node);
    else there.replaceWith(node);
  });
  while (present.childNodes.length > goal.length) present.lastChild.remove();
}

function typing(main) {
  return main.contains(document.activeElement) && ["INPUT", "SELECT"].includes(document.activeElement.tagName);
}

async function refresh(main, light) {
  const answer = await fetch(location.href, { headers: { "X-Fragment": "1" }, redirect: "error" });
  if (answer.status === 401) location.assign("/console/login");
  if (!answer.ok) throw new Error(answer.statusText);
  const wanted = document.createElement("main");
  wanted.innerHTML = await answer.text();
  if (!typing(main)) matchChildren(main, wanted);
  light.classList.remove("lost");
}

function live() {
  const main = document.querySelector("[data-live]");
  const light = document.getElementById("live");
  if (!main) return;
  let wait = PERIOD_MS;
  const turn = async () => {
    if (!document.hidden) {
      try {
        await refresh(main, light);
        wait = PERIOD_MS;
      } catch {
        light.classList.add("lost");
        wait = Math.min(wait * 2, SLOWEST_MS);
      }
    }
    setTimeout(turn, wait);
  };
  setTimeout(turn, wait);
}

live();
