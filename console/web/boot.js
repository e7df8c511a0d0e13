// Sets theme, density and language before the first paint, so that nothing flashes.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = localStorage.getItem("theme") || (dark ? "dark" : "light");
  root.dataset.density = localStorage.getItem("density") || "comfortable";
  root.lang = localStorage.getItem("lang") || "zh-CN";
})();
