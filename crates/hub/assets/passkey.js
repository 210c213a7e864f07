// Passkeys need a script: only the browser can ask the authenticator. Everything else on these pages works without one.
// A form with `data-passkey` fetches what is asked, lets the browser's own dialogue answer, writes the answer into its hidden
// fields, and is sent like any other form.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

async function asked(form) {
  const body = new URLSearchParams({ form_token: form.elements.form_token.value });
  const answer = await fetch(form.dataset.options, { method: "POST", body, redirect: "error" });
  if (!answer.ok) throw new Error("refused");
  const options = await answer.json();
  options.challenge = bytes(options.challenge);
  for (const known of options.excludeCredentials ?? []) known.id = bytes(known.id);
  if (options.user) options.user.id = bytes(options.user.id);
  return options;
}

function fill(form, fields) {
  for (const [name, value] of Object.entries(fields)) form.elements[name].value = value;
  form.submit();
}

async function add(form) {
  const made = await navigator.credentials.create({ publicKey: await asked(form) });
  fill(form, { client_data: text(made.response.clientDataJSON), attestation: text(made.response.attestationObject) });
}

async function use(form) {
  const got = await navigator.credentials.get({ publicKey: await asked(form) });
  const { clientDataJSON, authenticatorData, signature } = got.response;
  fill(form, {
    credential: text(got.rawId), client_data: text(clientDataJSON), data: text(authenticatorData), signature: text(signature),
  });
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  for (const waiting of document.querySelectorAll("[data-with-passkeys]")) waiting.hidden = false;
  for (const instead of document.querySelectorAll("[data-without-passkeys]")) instead.hidden = true;
  const state = form.querySelector("[role=status]");
  const button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    state.textContent = "Your browser asks you now.";
    try {
      await (form.dataset.passkey === "add" ? add(form) : use(form));
    } catch (error) {
      const why = {
        NotAllowedError: "Nothing was done: it was cancelled, took too long, or there is no passkey for this page here.",
        InvalidStateError: "This device has a passkey for you already.",
        SecurityError: "The browser allows no passkey under this address.",
      };
      state.textContent = why[error.name] ?? "That did not work. Load the page anew and try again.";
      button.disabled = false;
    }
  });
}
