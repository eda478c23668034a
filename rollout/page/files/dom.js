// What is to be seen as plain data, and the document brought to it in place: what has the focus,
// is unfolded or selected stays so. Text only ever becomes text.

const SVG = "http://www.w3.org/2000/svg";

/** A piece of the document: `properties` are attributes; `vars` are custom properties of its style. */
export function h(tag, properties, ...children) {
  return { tag, properties: properties ?? {}, children: children.flat(Infinity).filter((c) => c || c === 0) };
}

/** Make the children of `parent` what `pieces` say. */
export function show(parent, ...pieces) {
  const wanted = pieces.flat(Infinity).filter((piece) => piece || piece === 0);
  wanted.forEach((piece, index) => {
    const there = parent.childNodes[index];
    const node = shown(there, piece, parent);
    if (node !== there) {
      if (there) parent.replaceChild(node, there);
      else parent.appendChild(node);
    }
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

function shown(there, piece, parent) {
  if (typeof piece !== "object") {
    const text = String(piece);
    if (there?.nodeType !== Node.TEXT_NODE) return document.createTextNode(text);
    if (there.data !== text) there.data = text;
    return there;
  }
  const key = piece.properties.key ?? "";
  const same = there?.nodeType === Node.ELEMENT_NODE && there.localName === piece.tag && (there.dataset?.key ?? "") === key;
  const node = same ? there : made(piece.tag, parent);
  attributes(node, piece.properties, same);
  show(node, piece.children);
  return node;
}

function made(tag, parent) {
  const drawn = tag === "svg" || (parent.namespaceURI === SVG && parent.localName !== "foreignObject");
  return drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
}

function attributes(node, properties, same) {
  const wanted = new Map();
  for (const [name, value] of Object.entries(properties)) {
    if (name === "vars") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else if (name === "on") Object.assign(node, value);
    else if (name === "first") { if (!same) for (const [key, text] of Object.entries(value)) node.setAttribute(key, text); }
    else if (name === "key") node.dataset.key = value;
    else if (value !== undefined && value !== null && value !== false) wanted.set(name, value === true ? "" : String(value));
  }
  const kept = new Set(["style", "open", "checked", "data-key", ...wanted.keys()]);
  for (const { name } of [...node.attributes]) if (!kept.has(name)) node.removeAttribute(name);
  for (const [name, value] of wanted) if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
