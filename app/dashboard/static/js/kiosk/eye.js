// The device's camera: its picture on the screen, as small grey frames, and as JPEG.
import { COLUMNS, ROWS } from "./presence.js";

const WIDE = { width: { ideal: 1280 }, height: { ideal: 720 } };
const MOST_SIDE_PX = 1280;
const JPEG_QUALITY = 0.9;

export class Eye {
  #video;
  #stream = null;
  #small = canvasOf(COLUMNS, ROWS);
  #detector = null;
  #turn = 0;

  constructor(video) {
    this.#video = video;
    if ("FaceDetector" in window) this.#detector = new window.FaceDetector({ maxDetectedFaces: 1, fastMode: true });
  }

  get isOpen() {
    return this.#stream !== null && this.#video.videoWidth > 0;
  }

  /** Opens a camera: this one (an id), or the one that faces the user. False: it was closed before it was open, as
   *  when nobody has answered the browser's question yet. Throws what getUserMedia and play throw. */
  async open(lens) {
    const turn = (this.#turn += 1);
    const wanted = lens ? { deviceId: { exact: lens } } : { facingMode: "user" };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...wanted, ...WIDE } });
    if (turn !== this.#turn) {
      stop(stream);
      return false;
    }
    this.#stream = stream;
    this.#video.srcObject = stream;
    try {
      await this.#video.play();
    } catch (error) {
      if (turn !== this.#turn) return false;
      this.close();
      throw error;
    }
    return turn === this.#turn;
  }

  close() {
    this.#turn += 1;
    if (this.#stream) stop(this.#stream);
    this.#stream = null;
    this.#video.srcObject = null;
  }

  /** Whether the camera was taken away: unplugged, or used by another program. */
  get isLost() {
    return this.#stream !== null && this.#stream.getVideoTracks().every((track) => track.readyState === "ended");
  }

  /** The frame as 32 x 24 grey levels. */
  cells() {
    const context = this.#small.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.#video, 0, 0, COLUMNS, ROWS);
    const { data } = context.getImageData(0, 0, COLUMNS, ROWS);
    return Float32Array.from({ length: COLUMNS * ROWS }, (_, index) => (data[4 * index] * 3 + data[4 * index + 1] * 6 + data[4 * index + 2]) / 10);
  }

  /** Whether the browser itself sees a face; true where it cannot tell. */
  async mayHoldFace() {
    if (this.#detector === null) return true;
    try {
      return (await this.#detector.detect(this.#video)).length > 0;
    } catch {
      this.#detector = null;
      return true;
    }
  }

  /** The frame as JPEG, not mirrored. */
  async jpeg() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const ratio = Math.min(1, MOST_SIDE_PX / Math.max(width, height));
    const canvas = canvasOf(Math.round(width * ratio), Math.round(height * ratio));
    canvas.getContext("2d").drawImage(this.#video, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
    return blob.arrayBuffer();
  }
}

/** The cameras that there are, as [id, name]. */
export async function lenses() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((device) => device.kind === "videoinput").map((device, index) => [device.deviceId, device.label || String(index + 1)]);
}

function stop(stream) {
  stream.getTracks().forEach((track) => track.stop());
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}
