// The reference follows the colours of the page around it.
const darkens = matchMedia("(prefers-color-scheme: dark)");
const followColours = () => {
  const theme = document.documentElement.dataset.theme || (darkens.matches ? "dark" : "light");
  document.documentElement.classList.toggle("dark-mode", theme === "dark");
};
followColours();
darkens.addEventListener("change", followColours);
new MutationObserver(followColours).observe(document.documentElement, { attributeFilter: ["data-theme"] });

window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null,
});
