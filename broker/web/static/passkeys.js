"use strict";
// Passkeys: a button with data-passkey asks our server for options, the browser for an answer, and
// sends its form with that answer in it. Without a script these buttons stay hidden, and passwords do.
(() => {
  const Credential = window.PublicKeyCredential;
  if (!Credential || !Credential.parseRequestOptionsFromJSON || !Credential.prototype.toJSON) {
    return;
  }

  function say(button, text) {
    const place = document.getElementById(button.dataset.says);
    place.textContent = text;
    place.hidden = text === "";
  }

  async function ask(button) {
    const sent = await fetch(button.dataset.passkey, {
      method: "POST", body: new FormData(button.form), redirect: "error",
    });
    if ((sent.headers.get("Content-Type") || "").startsWith("application/json")) {
      const options = await sent.json();
      if (sent.ok) {
        return options;
      }
      throw new Error(options.error);
    }
    throw new Error(sent.status === 401
      ? "It is a while since you signed in. Load this page again and confirm that it is you."
      : "The broker did not answer as it should. Nothing was changed; try again.");
  }

  async function answer(button, options) {
    const credential = button.dataset.makes === undefined
      ? await navigator.credentials.get(
        { publicKey: Credential.parseRequestOptionsFromJSON(options) })
      : await navigator.credentials.create(
        { publicKey: Credential.parseCreationOptionsFromJSON(options) });
    return JSON.stringify(credential.toJSON());
  }

  async function use(button) {
    say(button, "");
    try {
      const field = button.form.elements[button.dataset.field || "answer"];
      field.value = await answer(button, await ask(button));
      HTMLFormElement.prototype.submit.call(button.form);
    } catch (error) {
      const refused = error.name === "NotAllowedError" || error.name === "InvalidStateError";
      say(button, refused
        ? "No passkey was used: it was cancelled, took too long, or this device has none for here. Nothing was changed."
        : error.message);
    }
  }

  for (const button of document.querySelectorAll("button[data-passkey]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      if (button.form.reportValidity()) {
        use(button);
      }
    });
  }
  for (const part of document.querySelectorAll("[data-with-passkey]")) {
    part.hidden = false;
  }
})();
