/**
 * Shows the first uncaught failure of the page as a sentence. Vite inserts this script into every
 * page, before the modules, so that it also reports a module that does not load. It must run in any
 * browser: no module, no new syntax.
 */
(function () {
  function show(reason) {
    if (document.querySelector("[data-testid=page-failure]") !== null) return;
    var line = document.createElement("p");
    line.setAttribute("role", "alert");
    line.setAttribute("data-testid", "page-failure");
    line.style.cssText = "margin:0;padding:9px 32px;background:#b3261e;color:#fff;" +
      "font:13px/1.5 system-ui,sans-serif";
    line.textContent = "This page failed: " + reason.replace(/[.\s]+$/, "") +
      ". Reload it; if that does not help, update the browser or use another one.";
    document.body.insertBefore(line, document.body.firstChild);
  }

  function report(reason) {
    if (document.body !== null) show(reason);
    else addEventListener("DOMContentLoaded", function () { show(reason); });
  }

  function messageOf(error) {
    return String((error && error.message) || error || "an error without a message");
  }

  // With `capture`, because the event of a script that does not load does not bubble.
  addEventListener("error", function (event) {
    var element = event.target;
    if (element instanceof HTMLScriptElement) {
      report("its script " + element.src.split("/").pop() + " could not be loaded");
    } else if (event.error) { // a warning of the browser about layout has no error
      report(messageOf(event.error));
    }
  }, true);
  addEventListener("unhandledrejection", function (event) { report(messageOf(event.reason)); });
})();
