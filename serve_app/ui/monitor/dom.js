// The few things that the views need to build the page.

export const byId = (id) => document.getElementById(id);

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** A copy of a template's only element, and its parts by data-part. */
export function fromTemplate(id) {
  const root = byId(id).content.firstElementChild.cloneNode(true);
  const parts = {};
  for (const part of root.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
  return { root, parts };
}

/** Write text only where it differs: an unchanged page costs no layout. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/**
 * Children of a container that follow a list of items by key.
 * `create(item)` makes a view with a `root`; `update(view, item)` fills it.
 */
export class KeyedList {
  constructor(container, create, update, remove = () => {}) {
    Object.assign(this, { container, create, update, remove });
    this.views = new Map();
  }

  show(items, keyOf) {
    const wanted = new Set(items.map(keyOf));
    for (const [key, view] of this.views) {
      if (wanted.has(key)) continue;
      this.remove(view);
      view.root.remove();
      this.views.delete(key);
    }
    let before = this.container.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      let view = this.views.get(key);
      if (view === undefined) {
        view = this.create(item);
        this.views.set(key, view);
      }
      if (view.root === before) before = before.nextElementSibling;
      else this.container.insertBefore(view.root, before);
      this.update(view, item);
    }
  }
}
