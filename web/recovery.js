// What losing the connection cost: how long it was away, which records were made up for, and
// whether an offset is missing that nobody spoke of. Knows neither the client nor the page, so it
// is tested alone. Times are seconds of the page's own clock.

export class Recovery {
  losses = 0;
  made_up = 0;  // records that were published while there was no connection, and came after all
  told = 0;     // records that the server said do not come
  missing = 0;  // offsets that were left out without a word: a right server leaves out none
  away = [];    // [from, to] of each loss; `to` is undefined while it lasts

  #places = new Map(); // topic: {epoch, offset}
  #lag_s = 0;          // our clock less the server's, and the way: as of the last live record
  #back_s = 0;         // when the connection was back, 0 while it is away

  lost(now_s) {
    if (this.is_away) return;
    this.losses += 1;
    this.away.push([now_s, undefined]);
    this.#back_s = 0;
  }

  back(now_s) {
    if (this.is_away) this.away.at(-1)[1] = now_s;
    this.#back_s = now_s;
  }

  get is_away() {
    return this.away.length > 0 && this.away.at(-1)[1] === undefined;
  }

  // Seconds of the last loss, so far if it lasts.
  away_s(now_s) {
    const [from, to] = this.away.at(-1) ?? [now_s];
    return (to ?? now_s) - from;
  }

  // True: it was published while there was no connection.
  record({ topic, epoch, offset, timestamp }, now_s) {
    const place = this.#places.get(topic);
    if (place?.epoch === epoch) this.missing += Math.max(0, offset - place.offset - 1);
    this.#places.set(topic, { epoch, offset });
    const late = this.losses > 0 && timestamp + this.#lag_s < this.#back_s;
    if (late) this.made_up += 1;
    else this.#lag_s = now_s - timestamp;
    return late;
  }

  gap({ topic, epoch, from, to }) {
    this.told += Math.max(0, to - from + 1);
    this.#places.set(topic, { epoch, offset: to });
  }
}

// The loss as one reads it, `made_up` and `told` since it began.
export function outcome_text(away_s, made_up, told) {
  const records = (count) => `${count} record${count === 1 ? "" : "s"}`;
  const back = `Back after ${away_s.toFixed(1)} s: ${records(made_up)} made up for, `;
  return back + (told > 0 ? `${records(told)} told to be gone.` : "none missing.");
}
