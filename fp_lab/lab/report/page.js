const button = document.getElementById("play");
if (button) {
  const videos = [...document.querySelectorAll("video")];
  let playing = false;
  button.addEventListener("click", () => {
    playing = !playing;
    button.textContent = playing ? "Pause" : "Play all";
    for (const video of videos) {
      if (playing) { video.currentTime = 0; video.play(); } else { video.pause(); }
    }
  });
}
