"use strict";
(() => {
  document.documentElement.classList.remove("no-script");

  const figure = (cell) => (cell.dataset.value === undefined ? null : parseFloat(cell.dataset.value.replace("inf", "Infinity")));

  function order(left, right, down) {
    const [a, b] = [figure(left), figure(right)];
    if (a === null) return (down ? -1 : 1) * left.textContent.localeCompare(right.textContent, undefined, { numeric: true });
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // what has no value stands last, either way
    return a === b ? 0 : (down ? -1 : 1) * (a < b ? -1 : 1);
  }

  for (const table of document.querySelectorAll(".sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((one, other) => order(one.cells[column], other.cells[column], down)));
    }));
  }

  // A link to a clip opens it: a closed block cannot be scrolled to.
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", open);
  open();
})();
