// Light, dark, or as the system has it. A classic script in the head: the page is painted once.
(() => {
  const KEY = "vibevoice-monitor-theme";
  const CHOICES = ["auto", "light", "dark"];
  const root = document.documentElement;

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is off: the choice lasts as long as the page
    }
  }

  function apply(choice) {
    root.dataset.theme = CHOICES.includes(choice) ? choice : "auto";
    document.dispatchEvent(new CustomEvent("themechange"));
  }

  function next() {
    const choice = CHOICES[(CHOICES.indexOf(root.dataset.theme) + 1) % CHOICES.length];
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // as above
    }
    apply(choice);
  }

  apply(stored());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new CustomEvent("themechange")),
  );
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => (button.textContent = `Theme: ${root.dataset.theme}`);
    button.addEventListener("click", next);
    document.addEventListener("themechange", show);
    show();
  });
})();
