// A file that somebody chooses is read into the field that it is for, by the browser: nothing is sent by choosing it. Without this
// script the field is there to paste into, and the choice is not.
"use strict";

for (const chooser of document.querySelectorAll("input[type=file][data-into]")) {
  const into = document.getElementById(chooser.dataset.into);
  const tooLong = chooser.parentElement.querySelector(".wrong");
  chooser.parentElement.hidden = false;
  chooser.addEventListener("change", async () => {
    const [file] = chooser.files;
    tooLong.hidden = !file || file.size <= into.maxLength;
    if (file && tooLong.hidden) into.value = await file.text();
  });
}
