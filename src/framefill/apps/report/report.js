"use strict";
(() => {
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  document.documentElement.classList.remove("no-script");

  const stage = find("#stage");
  const keys = all(".picker input");
  const strips = all(".strip");

  function show(position) {
    const strip = strips[position];
    for (const part of ["before", "after"]) find(`.${part}`, stage).src = find(`.${part} img`, strip).src;
    find(".made", stage).src = find(".provenance img", strip).src;
    find("#chosen").textContent = ["b", "span"].map((part) => find(`h3 ${part}`, strip).textContent).join(" · ");
  }

  if (stage) {
    const cut = find("#cut");
    const move = () => {
      stage.style.setProperty("--cut", `${cut.value}%`);
      cut.setAttribute("aria-valuetext", `${cut.value} % before, ${100 - cut.value} % after`);
    };
    cut.addEventListener("input", move);
    find("#overlay").addEventListener("change", (event) => { find(".made", stage).hidden = !event.target.checked; });
    keys.forEach((key, position) => {
      find("img", key.parentElement).src = find(".after img", strips[position]).src;
      key.addEventListener("change", () => show(position));
    });
    move();
    show(keys.findIndex((key) => key.checked));
  }

  const charts = find("#charts");
  if (!charts) return;
  const { step, columns } = JSON.parse(find("#timeline-data").textContent);
  const scrub = find("#scrub");
  const readout = find("#readout");
  const crosshair = find(".crosshair", charts);
  const plot = find(".plot", charts);

  const time = (s) => (s < 60 ? `${s.toFixed(2)} s` : `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`);
  const share = (part) => `${(100 * part).toFixed(part && part < 0.01 ? 2 : 1)} %`;
  const range = (band) => (band === null ? "–" : band[0] === band[2] ? band[1].toFixed(1) : `${band[1].toFixed(1)} (${band[0].toFixed(1)} to ${band[2].toFixed(1)})`);

  function point(position) {
    const [first, last, seconds, propagated, generated, seam, jump] = columns[position];
    const frames = first === last ? `Frame ${first}` : `Frames ${first} to ${last}`;
    const rest = `${time(seconds)} · propagated ${share(propagated)} · generated ${share(generated)} · seam ${range(seam)} · change ${range(jump)}`;
    const bold = document.createElement("b");
    bold.textContent = frames;
    readout.replaceChildren(bold, ` · ${rest}`);
    scrub.value = position;
    scrub.setAttribute("aria-valuetext", `${frames}, ${rest}`);
    crosshair.style.left = `calc(var(--gutter) + (100% - var(--gutter)) * ${(position + 0.5) / columns.length})`;
    crosshair.style.visibility = "visible";
  }

  function under(event) {
    const box = plot.getBoundingClientRect();
    const place = Math.floor(((event.clientX - box.left) / box.width) * columns.length);
    return Math.min(Math.max(place, 0), columns.length - 1);
  }

  charts.addEventListener("pointermove", (event) => point(under(event)));
  charts.addEventListener("pointerleave", () => {
    if (document.activeElement === scrub) return;
    crosshair.style.visibility = "hidden";
    readout.textContent = readout.dataset.hint;
  });
  charts.addEventListener("click", (event) => {
    if (!keys.length) return;
    const [first, last] = columns[under(event)];
    const middle = (first + last) / 2;
    const away = (key) => Math.abs(Number(key.dataset.frame) - middle);
    const nearest = keys.reduce((best, key) => (away(key) < away(best) ? key : best));
    nearest.checked = true;
    show(keys.indexOf(nearest));
  });
  scrub.addEventListener("input", () => point(Number(scrub.value)));
  scrub.addEventListener("focus", () => point(Number(scrub.value)));

  const copy = find("#copy");
  if (copy) copy.addEventListener("click", async () => {
    const line = find("#command");
    try {
      await navigator.clipboard.writeText(line.textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(line); // a page opened from disk may lack the clipboard: leave the line selected
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 1600);
  });
})();
