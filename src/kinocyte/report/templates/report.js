"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  const make = (tag, parent, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    parent.append(element);
    return element;
  };

  // one figure at a time, chosen by name
  for (const box of document.querySelectorAll("[data-panes]")) {
    const panes = [...box.querySelectorAll(":scope > .pane")];
    const select = box.querySelector("select");
    const show = () => panes.forEach((pane, i) => { pane.hidden = i !== select.selectedIndex; });
    select.addEventListener("change", show);
    show();
  }

  // movies that stop
  const movies = [...document.querySelectorAll("img[data-still]")];
  const toggle = document.getElementById("pause");
  if (toggle && movies.length) {
    const moving = movies.map((image) => image.src);
    let playing = true;
    const set = (on) => {
      playing = on;
      movies.forEach((image, i) => { image.src = on ? moving[i] : image.dataset.still; });
      toggle.textContent = on ? "Stop the movies" : "Play the movies";
    };
    toggle.addEventListener("click", () => set(!playing));
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) set(false);
  }

  // on paper everything is open
  const closed = [];
  addEventListener("beforeprint", () => {
    for (const box of document.querySelectorAll("details:not([open])")) { box.open = true; closed.push(box); }
  });
  addEventListener("afterprint", () => { while (closed.length) closed.pop().open = false; });

  // text to copy
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Selected: press Ctrl+C";
      }
    });
  }

  // the plate, coloured by a quantity
  const holder = document.getElementById("plate-data");
  const wells = [...document.querySelectorAll(".plate .well")];
  if (!holder || !wells.length) return;
  const plate = JSON.parse(holder.textContent);
  const select = document.getElementById("quantity");
  const legend = document.getElementById("plate-legend");
  const picked = document.getElementById("plate-picked");
  const short = (value) => {
    if (value === null) return "–";
    const size = Math.abs(value);
    return size && (size >= 1e5 || size < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  };
  const colour = (element, face) => {
    element.style.background = face ? face.colour : "";
    element.style.color = face ? face.ink : "";
  };
  const describe = (well) => {
    const group = plate.groups[well.group].name;
    const i = select.selectedIndex - 1;
    const what = i < 0 ? "" : `; ${plate.quantities[i]}: ${well.values[i] === null ? "no value" : short(well.values[i])}`;
    return `${well.well}: ${group}${what}`;
  };
  const byGroup = () => {
    wells.forEach((element, k) => {
      element.classList.remove("none");
      colour(element, plate.groups[plate.wells[k].group]);
      element.textContent = plate.wells[k].well;
    });
    plate.groups.forEach((group) => {
      const item = make("li", legend);
      make("span", item, "", "swatch").style.background = group.colour;
      item.append(group.name);
    });
  };
  const byQuantity = (index) => {
    const known = plate.wells.map((well) => well.values[index]).filter((value) => value !== null);
    const low = Math.min(...known);
    const high = Math.max(...known);
    wells.forEach((element, k) => {
      const value = plate.wells[k].values[index];
      element.classList.toggle("none", value === null);
      element.textContent = short(value);
      const part = high > low ? (value - low) / (high - low) : 0.5;
      colour(element, value === null ? null : plate.scale[Math.round(part * (plate.scale.length - 1))]);
    });
    if (!known.length) {
      make("li", legend, "no well has a value");
      return;
    }
    make("li", legend, short(low));
    const ramp = make("span", make("li", legend), "", "ramp");
    ramp.style.display = "inline-block";
    ramp.style.background = `linear-gradient(to right, ${plate.scale.map((s) => s.colour).join(", ")})`;
    make("li", legend, short(high));
    if (known.length < wells.length) make("li", legend, "hatched: no value");
  };
  const paint = () => {
    legend.replaceChildren();
    if (select.selectedIndex === 0) byGroup(); else byQuantity(select.selectedIndex - 1);
    wells.forEach((element, k) => {
      element.title = describe(plate.wells[k]);
      element.setAttribute("aria-label", element.title);
      if (element.getAttribute("aria-pressed") === "true") picked.textContent = element.title;
    });
  };
  wells.forEach((element, k) => {
    element.addEventListener("click", () => {
      wells.forEach((other) => other.setAttribute("aria-pressed", String(other === element)));
      picked.textContent = describe(plate.wells[k]);
    });
  });
  select.addEventListener("change", paint);
  paint();
})();
