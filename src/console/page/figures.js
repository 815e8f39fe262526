// Messages a second, drawn by hand, and how long a message takes there and back.

const SECONDS_SHOWN = 60;
const LATENCIES_KEPT = 200;
/** The plot's top is never below this, so that one message does not fill it. */
const RATE_SHOWN_MIN = 5;

const format = new Intl.NumberFormat('en');
const inMilliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

/** A line of bars, one for each of the last sixty seconds. */
export class Figures {
  #seconds = new Array(SECONDS_SHOWN).fill(0);
  #received = 0;
  #latencies = [];
  #parts;

  /** `parts`: canvas, rate, received, latency, median. */
  constructor(parts) {
    this.#parts = parts;
    setInterval(() => this.#turn(), 1_000);
    new ResizeObserver(() => this.#draw()).observe(parts.canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
  }

  /** A message arrived. */
  count() {
    this.#seconds[SECONDS_SHOWN - 1] += 1;
    this.#received += 1;
  }

  /** A message of our own came back after `milliseconds`. */
  cameBack(milliseconds) {
    this.#latencies.push(milliseconds);
    if (this.#latencies.length > LATENCIES_KEPT) this.#latencies.shift();
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    this.#parts.latency.textContent = inMilliseconds(milliseconds);
    this.#parts.median.textContent = inMilliseconds(sorted[Math.floor(sorted.length / 2)]);
  }

  #turn() {
    this.#parts.rate.textContent = format.format(this.#seconds[SECONDS_SHOWN - 1]);
    this.#parts.received.textContent = format.format(this.#received);
    this.#draw();
    this.#seconds.shift();
    this.#seconds.push(0);
  }

  #draw() {
    const { canvas } = this.#parts;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext('2d');
    pen.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const top = Math.max(RATE_SHOWN_MIN, ...this.#seconds);
    const step = width / SECONDS_SHOWN;
    const floor = height - 1;

    pen.fillStyle = style.getPropertyValue('--line');
    for (const part of [0, 0.5, 1]) pen.fillRect(0, Math.round(floor * part), width, 1);
    pen.fillStyle = style.color;
    for (const [n, rate] of this.#seconds.entries()) {
      if (rate === 0) continue;
      const tall = Math.max(2, (rate / top) * (height - 6));
      pen.beginPath();
      pen.roundRect(n * step + 0.75, floor - tall, Math.max(1, step - 1.5), tall, [2, 2, 0, 0]);
      pen.fill();
    }
  }
}
