// Elements by hand: text goes in as text, never as markup, so that names of files can't be anything else.

const SVG = "http://www.w3.org/2000/svg";

function fill(made, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "colour") made.style.setProperty("--c", value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export const element = (name, properties = {}, ...children) => fill(document.createElement(name), properties, children);
export const shape = (name, properties = {}, ...children) =>
  fill(document.createElementNS(SVG, name), properties, children);
export const byId = (id) => document.getElementById(id);

// Okabe and Ito's colours, which colour-blind people tell apart; neighbours in rank are far apart.
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2"];
export const colourOf = (number) => COLOURS[(number - 1) % COLOURS.length];
